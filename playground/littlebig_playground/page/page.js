// Connects the page's parts: pictures come in, answers and the load are shown, the threshold is moved.

import { takePicture } from "./camera.js";
import { Answers } from "./answers.js";
import { droppedFiles, isPicture, pathOf } from "./files.js";
import { watchLoad } from "./load.js";
import { Queue } from "./queue.js";
import { labeller, scoreOf, summarise } from "./summary.js";

const element = id => document.getElementById(id);
const percent = share => share === null ? "–" : `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)}\u00a0%`;
const slider = element("threshold");
const answers = new Answers(element("answers"), element("card"));
let served = null;
let labelOf = () => null;
let cost = null;
let asked = 0;

const queue = new Queue((item, answer) => {
  answers.show(item, { ...answer, truth: labelOf(item.path) }, served);
  refresh();
}, text => trouble(text));

function trouble(text) {
  element("trouble").hidden = text === null;
  if (text !== null && element("trouble").textContent !== text) element("trouble").textContent = text;
}

async function readSettings() {
  let response;
  try {
    response = await fetch("served");
  } catch {
    return trouble("the playground has stopped");
  }
  const body = await response.json();
  if (!response.ok) {
    trouble(body.error);
    setTimeout(readSettings, 2000);
    return;
  }
  trouble(null);
  const first = served === null;
  served = body;
  labelOf = labeller(served.classes);
  element("served").textContent = `${served.classes.length} classes, threshold ${served.threshold.toFixed(3)} on little's ${served.score}` +
    (served.policy === "cascade" ? "" : `, but the policy is ${served.policy}: the threshold is not used`);
  element("score-name").textContent = `Little's ${served.score}`;
  if (first) slider.value = served.threshold;
  refresh();
}

/** Show what the slider's threshold does to the pictures asked. */
function refresh() {
  const waiting = queue.length;
  element("progress").textContent = waiting ? `${asked - waiting} of ${asked} pictures asked` :
    asked ? `${asked} ${asked === 1 ? "picture" : "pictures"} asked` + (answers.refused ? `, ${answers.refused} refused` : "") : "";
  element("none").hidden = asked > 0;
  if (!served) return;
  const threshold = Number(slider.value);
  const summary = summarise(answers.known, served, threshold, cost);
  element("value").textContent = threshold.toFixed(3);
  element("reset").hidden = Math.abs(threshold - served.threshold) < 0.0006;
  element("share").textContent = percent(summary.share);
  element("cost").textContent = percent(summary.cost);
  const labels = summary.labelled > 0;
  element("quality-name").textContent = labels ? "accuracy of the cascade" : "agrees with big";
  element("quality").textContent = percent(labels ? summary.accuracy.cascade : summary.agreement);
  element("quality-detail").textContent = labels
    ? `on ${summary.labelled} labelled pictures; little ${percent(summary.accuracy.little)}, big ${percent(summary.accuracy.big)}`
    : "";
  slider.setAttribute("aria-valuetext", `${threshold.toFixed(3)}, ${percent(summary.share)} would escalate`);
  answers.draw(element("dots"), answer => scoreOf(answer, served), threshold);
}

function ask(files) {
  const pictures = files.filter(isPicture);
  const skipped = files.length - pictures.length;
  asked += pictures.length;
  queue.add(pictures.map(file => ({ file, path: pathOf(file), card: answers.add(file) })));
  refresh();
  if (skipped) element("progress").textContent += ` (${skipped} files that are no pictures were skipped)`;
}

for (const id of ["pictures", "folder"]) {
  element(id).addEventListener("change", event => {
    ask([...event.target.files]);
    event.target.value = "";  // so that the same file can be chosen again
  });
}
document.addEventListener("paste", event => ask([...event.clipboardData.files]));
document.addEventListener("dragover", event => {
  event.preventDefault();
  element("drop").classList.add("over");
});
document.addEventListener("dragleave", () => element("drop").classList.remove("over"));
document.addEventListener("drop", async event => {
  event.preventDefault();
  element("drop").classList.remove("over");
  ask(await droppedFiles(event.dataTransfer));
});
element("camera").addEventListener("click", () => takePicture(element("viewfinder"), ask, trouble));
slider.addEventListener("input", refresh);
element("reset").addEventListener("click", () => {
  slider.value = served.threshold;
  slider.focus();
  refresh();
});
watchLoad(element, percent, now => {
  cost = now.cost ?? cost;
  refresh();
}, readSettings);
readSettings();
