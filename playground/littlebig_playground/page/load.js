// The running cascade: server-sent events, one a second.

const SECONDS_SHOWN = 60;
const MS = milliseconds => milliseconds === null || milliseconds === undefined ? "–" : `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;

/**
 * Show the load as it comes.
 * @param element finds a part of the page by its id.
 * @param percent writes a share.
 * @param changed is called with each event.
 * @param back is called when metrics come again after a break: another server may answer.
 */
export function watchLoad(element, percent, changed, back) {
  const rates = [];
  let broken = false;
  const events = new EventSource("load");
  events.onmessage = event => {
    const now = JSON.parse(event.data);
    element("no-metrics").hidden = !now.error;
    element("no-metrics").textContent = now.error ?? "";
    if (broken && !now.error) back();
    broken = Boolean(now.error);
    const rate = now.images_per_second ?? null;
    element("rate").textContent = rate === null ? "–" : rate.toFixed(rate < 10 ? 1 : 0);
    element("escalated").textContent = percent(now.escalated ?? null);
    element("little-ms").textContent = MS(now.little_ms);
    element("big-ms").textContent = MS(now.big_ms);
    rates.push(rate ?? 0);
    if (rates.length > SECONDS_SHOWN) rates.shift();
    draw(element("rates").firstElementChild, rates);
    changed(now);
  };
  events.onerror = () => {
    broken = true;
    element("no-metrics").hidden = false;
    element("no-metrics").textContent = "the playground does not answer";
  };
}

function draw(line, rates) {
  const highest = Math.max(...rates, 1);
  const first = SECONDS_SHOWN - rates.length;
  line.setAttribute("points", rates.map((rate, index) => `${first + index},${15 - 14 * rate / highest}`).join(" "));
}
