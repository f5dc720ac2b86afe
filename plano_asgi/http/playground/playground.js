// The page: what is typed is decided by the service's own decision endpoint, with the routes as they stand here.

import { bodyOf, nameOf, PATHS, recognised, rewritten } from "./conversations.js";
import { element } from "./drawing.js";
import { follow } from "./live.js";
import { showReadings } from "./reading.js";
import * as reproducing from "./reproducing.js";

const DEBOUNCE_MS = 180;
const NONE = "none of these";
const COLOURS = 7;
const EXAMPLES = [
  "Write a parser for ISO dates in Kotlin",
  "Prove that the square root of two is irrational",
  "What is the capital of Australia?",
  "Why does this regular expression match the empty string? ^(a*)*$",
];

const part = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

const page = { facts: null, routes: [], format: "text", timer: null, asked: 0, coloured: new Map() };

start();

async function start() {
  page.facts = await (await fetch("playground/configuration.json")).json();
  const { version, classifier, is_inline_allowed: isInlineAllowed } = page.facts;
  part("facts").replaceChildren(element("span", {}, classifier), element("span", {}, version));
  part("add").hidden = !isInlineAllowed || !page.facts.models.length;
  takeRoutes();
  part("examples").append(...EXAMPLES.map(exampleButton));
  part("conversation").addEventListener("input", takeText);
  part("conversation").addEventListener("paste", () => setTimeout(takePasted));
  part("formats").addEventListener("change", takeFormat);
  part("languages").addEventListener("change", showCode);
  part("add").addEventListener("click", addRoute);
  part("reset").addEventListener("click", () => { takeRoutes(); part("add").focus(); decideSoon(); });
  part("copy").addEventListener("click", copyCode);
  part("conversation").value ||= EXAMPLES[0];
  await decide();
  if (page.facts.has_decision_log) await follow(colourOf);
}

// The conversation

function exampleButton(text) {
  const button = element("button", { type: "button" }, text);
  button.addEventListener("click", () => {
    part("conversation").value = page.format === "text" ? text : rewritten(text, "text", page.format);
    decideSoon();
  });
  return button;
}

function takeText() {
  decideSoon();
}

function takePasted() {
  const format = recognised(part("conversation").value);
  if (page.format !== "text" || !format) return;
  useFormat(format);
  part("hint").textContent = `Recognised as a body of ${nameOf(format)}.`;
}

function takeFormat() {
  const text = part("conversation").value;
  const isOther = recognised(text) === null || chosen("format") !== recognised(text);
  if (isOther) part("conversation").value = rewritten(text, page.format, chosen("format"));
  useFormat(chosen("format"));
}

function useFormat(format) {
  page.format = format;
  document.querySelector(`input[name=format][value=${format}]`).checked = true;
  part("conversation").classList.toggle("mono", format !== "text");
  part("hint").textContent = format === "text"
    ? "Plain text is one user message. A pasted body is recognised."
    : `The JSON body of a call to ${nameOf(format)}, as a client sends it.`;
  decideSoon();
}

// The routes

function takeRoutes() {
  page.routes = page.facts.routes.map((route) => ({ ...route, models: [...route.models] }));
  drawRoutes();
}

function addRoute() {
  const taken = new Set(page.routes.map((route) => route.name));
  let number = page.routes.length + 1;
  while (taken.has(`route_${number}`)) number += 1;
  const models = [page.facts.models[0]];
  page.routes.push({ name: `route_${number}`, description: "", models, prefer: "none" });
  drawRoutes();
  part("routes").lastElementChild.querySelector("input").select();
  decideSoon();
}

function drawRoutes() {
  part("routes").replaceChildren(...page.routes.map(routeItem));
  for (const area of part("routes").querySelectorAll("textarea")) fit(area);
  showPolicy();
}

function routeItem(route, index) {
  const item = part("route-template").content.firstElementChild.cloneNode(true);
  const [name, description, models] = ["input", "textarea", "select"].map((kind) => item.querySelector(kind));
  const isFixed = !page.facts.is_inline_allowed;
  const tell = () => {
    name.setAttribute("aria-label", `Name of route ${index + 1}`);
    description.setAttribute("aria-label", `Description of route ${route.name}`);
    models.setAttribute("aria-label", `Model of route ${route.name}`);
    item.querySelector(".bar").setAttribute("aria-label", `Probability of ${route.name}`);
    item.querySelector(".remove").setAttribute("aria-label", `Remove route ${route.name}`);
    item.querySelector(".dot").className = `dot ${colourOf(route.name)}`;
    item.querySelector(".bar i").className = colourOf(route.name);
  };
  name.value = route.name;
  description.value = route.description;
  description.placeholder = "When to take it, in plain English: “writing and fixing code”";
  models.append(...page.facts.models.map((model) => element("option", { value: model }, model)));
  const showModels = () => {
    models.value = route.models[0];
    const rest = route.models.slice(1);
    item.querySelector(".rest").textContent = rest.length ? `, then ${rest.join(", ")}` : "";
  };
  const change = (event, make) => event.addEventListener("input", () => { make(); tell(); showPolicy(); decideSoon(); });
  change(name, () => { route.name = name.value; });
  change(description, () => { route.description = description.value; fit(description); });
  change(models, () => {
    route.models = [models.value, ...route.models.slice(1).filter((model) => model !== models.value)];
    showModels();
  });
  item.querySelector(".remove").addEventListener("click", () => {
    page.routes.splice(index, 1);
    drawRoutes();
    part("add").focus();
    decideSoon();
  });
  for (const field of [name, description, models]) field.disabled = isFixed;
  item.querySelector(".remove").hidden = isFixed;
  showModels();
  tell();
  return item;
}

function fit(area) {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + 2}px`;
}

// A route takes part once it has a description, and a name that no other has.
function finishedRoutes() {
  const isFinished = ({ name, description }, index) => name && name !== "other" && description.trim()
    && page.routes.findIndex((route) => route.name === name) === index;
  return page.routes.filter(isFinished);
}

const isEdited = () => JSON.stringify(page.routes) !== JSON.stringify(page.facts.routes);

function showPolicy() {
  const edited = isEdited();
  part("reset").hidden = !edited;
  const isWaiting = finishedRoutes().length < page.routes.length;
  const changed = isWaiting ? "a route wants a name of its own and a description" : "changed here, for you alone";
  part("policy-note").textContent = edited ? changed : "as configured";
  if (!page.facts.is_inline_allowed) part("policy-note").textContent = "as configured; routing.inline: deny";
}

function colourOf(route) {
  if (route === NONE) return "c-none";
  if (!page.coloured.has(route)) {
    const at = page.routes.findIndex(({ name }) => name === route);
    page.coloured.set(route, (at < 0 ? page.coloured.size : at) % COLOURS);
  }
  return `c-${page.coloured.get(route)}`;
}

// The decision

function decideSoon() {
  clearTimeout(page.timer);
  page.timer = setTimeout(decide, DEBOUNCE_MS);
}

function callToMake() {
  const body = bodyOf(page.format, part("conversation").value);
  if (!isEdited()) return body;
  const routes = finishedRoutes().map(({ name, description, models, prefer }) => (
    { name, description, models, ...(prefer === "none" ? {} : { selection_policy: { prefer } }) }));
  return { ...body, routing_preferences: routes };
}

async function decide() {
  page.asked += 1;
  const mine = page.asked;
  if (!part("conversation").value.trim()) {
    showFault("");
    return;
  }
  try {
    const body = JSON.stringify(callToMake());
    showCode();
    const headers = { "content-type": "application/json", "x-plano-explain": "true" };
    const answer = await fetch(PATHS[page.format], { method: "POST", headers, body, credentials: "omit" });
    const told = await answer.json();
    if (mine !== page.asked) return;
    if (!answer.ok) throw new Error(told.error?.message ?? `The service answers ${answer.status}.`);
    showFault("");
    showDecision(told);
  } catch (error) {
    if (mine === page.asked) showFault(error instanceof TypeError ? "The service cannot be reached." : error.message);
  }
}

function showFault(message) {
  part("fault").textContent = message;
  part("conversation").setAttribute("aria-invalid", String(Boolean(message)));
  document.querySelector("main").classList.toggle("stale", Boolean(message));
}

function showDecision(decision) {
  const [classifier] = [decision.stage ?? decision.classifier];
  part("model").textContent = decision.would_use ?? "the model that the caller names";
  part("why").textContent = why(decision);
  part("milliseconds").replaceChildren(decision.latency_ms.toFixed(1), element("small", {}, " ms"));
  part("confidence").textContent = decision.confidence?.toFixed(2) ?? "–";
  part("threshold").textContent = decision.threshold?.toFixed(2) ?? "–";
  part("source").textContent = decision.source === "classifier" ? classifier : decision.source;
  showReadings(decision.read ?? [], classifier, part);
  const best = bestOf(decision.scores);
  page.routes.forEach(({ name }, index) => {
    const item = part("routes").children[index];
    item.classList.toggle("won", name === decision.route);
    showChance(item, decision.scores[name], name === best ? decision.threshold : null);
  });
  part("none").classList.toggle("won", decision.route === null);
  showChance(part("none"), decision.scores.other, null);
  const fallback = page.facts.default_model;
  part("none-model").textContent = fallback ? `→ ${fallback}` : "→ the model that the caller names";
}

function showChance(item, chance, threshold) {
  const percent = 100 * (chance ?? 0);
  const bar = item.querySelector(".bar");
  item.querySelector("output").textContent = chance === undefined ? "–" : chance.toFixed(2);
  bar.setAttribute("aria-valuenow", percent.toFixed(0));
  bar.querySelector("i").style.width = `${percent}%`;
  const mark = bar.querySelector("b");
  if (!mark) return;
  mark.hidden = threshold === null || threshold === undefined;
  mark.style.left = `${100 * (threshold ?? 0)}%`;
}

function bestOf(scores) {
  const routes = Object.entries(scores).filter(([name]) => name !== "other");
  return routes.reduce((best, one) => (one[1] > (best?.[1] ?? -1) ? one : best), null)?.[0];
}

function why(decision) {
  const confidence = decision.confidence?.toFixed(2);
  const threshold = decision.threshold?.toFixed(2);
  const reasons = {
    matched: `${decision.route} matches: ${confidence} reaches the threshold of ${threshold}.`,
    no_match: confidence ? `No route matches: the best has ${confidence}, below ${threshold}.` : "There is nothing to choose between.",
    bypassed: "The call asks not to be routed.",
    not_applicable: "The call names a model that is not routed.",
    error: "The classifier had no answer; routing.on_error decides.",
  };
  return reasons[decision.reason] ?? String(decision.reason).replaceAll("_", " ");
}

// The same from elsewhere

function codeNow() {
  if (chosen("language") === "yaml") return reproducing.yaml(finishedRoutes(), page.facts.models, page.facts.default_model);
  const url = new URL(PATHS[page.format], document.baseURI).href;
  return reproducing[chosen("language")](url, callToMake());
}

function showCode() {
  try {
    part("code").textContent = codeNow();
  } catch {
    part("code").textContent = "";
  }
}

async function copyCode() {
  const isCopied = await copied(part("code").textContent);
  part("copy").textContent = isCopied ? "Copied" : "Press Ctrl+C";
  setTimeout(() => { part("copy").textContent = "Copy"; }, 1_500);
}

// Browsers lend the clipboard to https and this machine only; elsewhere the text is selected for the reader.
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(part("code"));
    return false;
  }
}
