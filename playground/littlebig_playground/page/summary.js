// What a threshold would do to the pictures already asked. No part of the page is touched here.

const LOGIT_CLIP = 1e-6;  // as in the gate

function logit(confidence) {
  const clipped = Math.min(Math.max(confidence, LOGIT_CLIP), 1 - LOGIT_CLIP);
  return Math.log(clipped / (1 - clipped));
}

/** Little's score of an answer, or null where little's answer is not known. */
export function scoreOf(answer, served) {
  return answer.little ? answer.little[served.score] : null;
}

/** The class that the cascade would answer at a threshold. */
function labelAt(answer, served, threshold) {
  const { little, big } = answer;
  if (!(scoreOf(answer, served) < threshold)) return little.label;
  const keepsLittle = served.answer === "arbitrate" && logit(little.confidence) - logit(big.confidence) > served.offset;
  return keepsLittle ? little.label : big.label;
}

/**
 * Summarise answers at a threshold.
 * @param answers each {little, big, truth}: both predictions, and the label or null.
 * @param served the cascade's settings.
 * @param threshold escalate below it.
 * @param cost little's computing time as a share of big's, or null.
 * @returns {count, share, cost, agreement, labelled, accuracy: {cascade, little, big}}; null where nothing is known.
 */
export function summarise(answers, served, threshold, cost) {
  const known = answers.filter(answer => answer.little && answer.big);
  const share = mean(known, answer => scoreOf(answer, served) < threshold);
  const labelled = known.filter(answer => answer.truth !== null);
  return {
    count: known.length,
    share,
    cost: cost === null || share === null ? null : cost + share,
    agreement: mean(known, answer => labelAt(answer, served, threshold) === answer.big.label),
    labelled: labelled.length,
    accuracy: {
      cascade: mean(labelled, answer => labelAt(answer, served, threshold) === answer.truth),
      little: mean(labelled, answer => answer.little.label === answer.truth),
      big: mean(labelled, answer => answer.big.label === answer.truth),
    },
  };
}

function mean(answers, holds) {
  return answers.length ? answers.filter(holds).length / answers.length : null;
}

/**
 * A function from a picture's path to its label: the class that the folder is named after, or null.
 * A class is found by its name, by one of its names that commas separate, or by its number.
 */
export function labeller(classes) {
  const byName = new Map();
  const add = (name, label) => byName.set(name, byName.has(name) && byName.get(name) !== label ? null : label);
  classes.forEach((name, label) => {
    new Set([plain(name), ...name.split(",").map(plain), String(label)]).forEach(alias => add(alias, label));
  });
  return path => byName.get(plain(path.split("/").at(-2) ?? "")) ?? null;
}

function plain(name) {
  return name.toLowerCase().replace(/[_\s-]+/g, " ").trim();
}
