// What the classifier has read of the call: how many tokens, and the caller's words as these divide them.

import { element } from "./drawing.js";

const HUES = 4;
const NAMES = {
  latest: "the latest turn",
  before: "what was said before",
  conversation: "the conversation, as the prompt has it",
  routes: "routes and instructions",
};

/** Show what was read by the classifier that answered, and by the others of a cascade below it. */
export function showReadings(readings, answered, part) {
  const main = readings.find(({ classifier }) => classifier === answered) ?? readings[0];
  part("reading").hidden = !main;
  part("tokens").replaceChildren(...(main ? [counted(main), element("small", {}, ` of ${main.limit}`)] : ["–"]));
  part("read").replaceChildren(...readings.flatMap(({ classifier, parts, is_estimate: isEstimate }) => (
    parts.flatMap((one) => shownPart(one, readings.length > 1 ? `${classifier}: ` : "", isEstimate)))));
}

const counted = ({ tokens, is_estimate: isEstimate }) => `${isEstimate ? "≈ " : ""}${tokens}`;

function shownPart(one, whose, isEstimate) {
  const many = counted({ ...one, is_estimate: isEstimate });
  const told = `${whose}${NAMES[one.name] ?? one.name}, ${many}${one.limit ? ` of ${one.limit}` : ""} tokens`;
  const pieces = one.pieces.map((piece, index) => (
    piece === null ? left() : element("span", { class: `t-${index % HUES}` }, piece)));
  return [element("h3", {}, told), ...(pieces.length ? [element("p", { class: "pieces mono" }, ...pieces)] : [])];
}

const left = () => element("span", { class: "left-out" }, " … left out … ");
