// The list of answers, and their scores on one scale.

const SVG = "http://www.w3.org/2000/svg";
const THUMBNAIL = 224;  // pixels, twice what is shown
const MOST_CARDS = 500;  // older ones leave the page; their answers still count

export class Answers {
  /** Answers so far, each {little, big, truth}. */
  known = [];
  /** How many pictures the server refused. */
  refused = 0;
  #list;
  #template;

  constructor(list, template) {
    this.#list = list;
    this.#template = template;
  }

  /** Add a card for a picture that is being asked, and return it. */
  add(file) {
    const card = this.#template.content.cloneNode(true).firstElementChild;
    card.querySelector("h3").textContent = file.name;
    this.#list.prepend(card);
    if (this.#list.children.length > MOST_CARDS) this.#forget(this.#list.lastElementChild);
    thumbnail(file).then(url => url && (card.querySelector("img").src = url));
    return card;
  }

  #forget(card) {
    URL.revokeObjectURL(card.querySelector("img").src);
    card.remove();
  }

  /** Fill a picture's card. */
  show({ card }, answer, served) {
    if (answer.error) {
      this.refused += 1;
      const line = card.querySelector(".error");
      line.hidden = false;
      line.textContent = answer.error;
      return;
    }
    this.known.push(answer);
    card.querySelector(".answer").hidden = false;
    card.querySelector("strong").textContent = answer.name;
    const stage = card.querySelector(".stage");
    stage.textContent = answer.stage;
    stage.classList.toggle("big", answer.stage === "big");
    card.querySelector(".answer .soft").textContent = `${answer.milliseconds.toFixed(0)} ms${verdict(answer)}`;
    card.querySelector("table").hidden = false;
    fill(card.querySelectorAll("tr")[0], answer.little);
    fill(card.querySelectorAll("tr")[1], answer.big);
    if (answer.little) showScore(card.querySelector("svg.score"), answer.little[served.score], served);
  }

  /** Draw all scores and the threshold. */
  draw(svg, scoreOf, threshold) {
    const width = svg.clientWidth || 600;
    const height = 72;
    const stacks = new Map();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const parts = this.known.filter(answer => answer.little && answer.big).map(answer => {
      const x = Math.round(scoreOf(answer) * width / 6) * 6;
      const level = stacks.get(x) ?? 0;
      stacks.set(x, level + 1);
      const agree = answer.little.label === answer.big.label;
      const y = height - 4 - Math.min(level, 10) * 6.5;
      return agree ? part("circle", { class: "agree", cx: x, cy: y, r: 3 })
        : part("rect", { class: "differ", x: x - 3, y: y - 3, width: 6, height: 6 });
    });
    parts.push(part("line", { x1: threshold * width, x2: threshold * width, y1: 0, y2: height }));
    svg.replaceChildren(...parts);
  }
}

function verdict(answer) {
  if (answer.truth === null) return "";
  return answer.truth === answer.label ? ", right" : ", wrong";
}

function fill(row, prediction) {
  const [name, confidence] = row.querySelectorAll("td");
  name.textContent = prediction ? prediction.name : "the server lets callers choose no policy";
  confidence.textContent = prediction ? prediction.confidence.toFixed(3) : "";
  if (prediction) row.title = prediction.top.map(([other, probability]) => `${other} ${probability.toFixed(3)}`).join("\n");
}

function showScore(svg, score, served) {
  svg.hidden = false;
  svg.removeAttribute("hidden");
  svg.setAttribute("aria-label", `${served.score} ${score.toFixed(3)}, threshold ${served.threshold}`);
  svg.querySelector(".unsure").setAttribute("width", 100 * served.threshold);
  svg.querySelector(".mark").setAttribute("x", Math.min(100 * score, 99));
}

function part(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}

/** A small copy of a picture, so that a thousand large ones fit in memory; null where the browser cannot show it. */
async function thumbnail(file) {
  try {
    const image = await createImageBitmap(file, { resizeWidth: THUMBNAIL, resizeQuality: "medium" });
    const canvas = document.createElement("canvas");
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.getContext("2d").drawImage(image, 0, 0);
    image.close();
    return URL.createObjectURL(await new Promise(resolve => canvas.toBlob(resolve, "image/jpeg")));
  } catch {
    return null;
  }
}
