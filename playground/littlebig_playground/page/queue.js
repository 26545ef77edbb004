// Asks for one picture after another, a few at a time. A server that goes away costs a wait and no picture.

const AT_A_TIME = 4;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5000;

export class Queue {
  #waiting = [];
  #asking = 0;
  #wait = FIRST_WAIT_MS;
  #paused = false;

  /**
   * @param done (item, answer) when the server has answered; answer is {error} for a picture that it refuses.
   * @param trouble (text or null) when the server cannot be asked, and when it can again.
   */
  constructor(done, trouble) {
    this.done = done;
    this.trouble = trouble;
  }

  get length() {
    return this.#waiting.length + this.#asking;
  }

  add(items) {
    this.#waiting.push(...items);
    this.#next();
  }

  #next() {
    while (!this.#paused && this.#asking < AT_A_TIME && this.#waiting.length) this.#ask(this.#waiting.shift());
  }

  async #ask(item) {
    this.#asking += 1;
    let answer;
    try {
      answer = await ask(item.file);
    } catch (failure) {
      this.#asking -= 1;
      this.#waiting.unshift(item);
      this.#pause(failure.message);
      return;
    }
    this.#asking -= 1;
    this.#wait = FIRST_WAIT_MS;
    this.trouble(null);
    this.done(item, answer);
    this.#next();
  }

  #pause(reason) {
    this.trouble(reason);
    if (this.#paused) return;
    this.#paused = true;
    setTimeout(() => {
      this.#paused = false;
      this.#next();
    }, this.#wait);
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
  }
}

/** The answer to a picture, or {error} where asking again is useless. Throws where it is not. */
async function ask(file) {
  let picture;
  try {
    picture = await file.arrayBuffer();
  } catch {
    return { error: "the browser cannot read this file" };
  }
  let response;
  try {
    response = await fetch("classify", { method: "POST", body: picture, headers: { "x-littlebig": "1" } });
  } catch {
    throw new Error("the playground has stopped; its page asks again until it is back");
  }
  const answer = await response.json();
  if (response.status >= 500) throw new Error(answer.error);
  return answer;
}
