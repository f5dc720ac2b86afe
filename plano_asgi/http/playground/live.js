// The decision log as it grows: a table of the newest, the routes' shares, and how long decisions took.

import { element, latencyChart, quantile, shareChart, shown } from "./drawing.js";

const LOG = "v1/decisions";
const MOST = 200;
const MOST_ROWS = 40;
const NONE = "none of these";

const part = (id) => document.getElementById(id);

export async function follow(colour) {
  const live = { decisions: [], isPaused: false, colour };
  part("live").hidden = false;
  part("pause").addEventListener("click", () => {
    live.isPaused = !live.isPaused;
    part("pause").setAttribute("aria-pressed", String(live.isPaused));
    part("live").classList.toggle("paused", live.isPaused);
    if (!live.isPaused) draw(live);
  });
  const page = await (await fetch(`${LOG}?limit=${MOST}`)).json();
  live.decisions = page.decisions.reverse();
  const whose = page.worker === null ? "of all workers" : `of worker ${page.worker}`;
  part("live-note").textContent = `the latest ${MOST}, ${whose}`;
  draw(live);
  const last = live.decisions.at(-1)?.id ?? "0";
  const events = new EventSource(`${LOG}?follow=true&after=${encodeURIComponent(last)}`);
  events.addEventListener("decision", (event) => {
    live.decisions = [...live.decisions, JSON.parse(event.data)].slice(-MOST);
    if (!live.isPaused) soon(live);
  });
}

function soon(live) {
  live.frame ??= requestAnimationFrame(() => {
    live.frame = null;
    draw(live);
  });
}

function draw({ decisions, colour }) {
  const times = decisions.map((decision) => decision.latency_ms);
  const counts = new Map();
  for (const { route } of decisions) counts.set(route ?? NONE, (counts.get(route ?? NONE) ?? 0) + 1);
  part("routes-total").textContent = decisions.length ? `of ${decisions.length}` : "";
  part("share-chart").replaceChildren(decisions.length ? shareChart(counts, colour) : nothing());
  const [median, high] = [quantile(times, 0.5), quantile(times, 0.95)];
  part("latency-figures").textContent = decisions.length ? `p50 ${shown(median)} · p95 ${shown(high)}` : "";
  part("latency-chart").replaceChildren(decisions.length ? latencyChart(decisions.slice(-100), median, high, colour) : nothing());
  part("decisions").replaceChildren(...decisions.slice(-MOST_ROWS).reverse().map((decision) => row(decision, colour)));
}

const nothing = () => element("p", { class: "hint" }, "Nothing has been decided yet.");

function row(decision, colour) {
  const route = decision.route ?? NONE;
  const confidence = decision.confidence === null ? "–" : decision.confidence.toFixed(2);
  const time = new Date(decision.at);
  return element("tr", {},
    element("td", {}, element("time", { datetime: decision.at }, time.toLocaleTimeString([], { hour12: false }))),
    element("td", {}, element("span", { class: `dot ${colour(route)}`, "aria-hidden": "true" }), route),
    element("td", { class: "mono" }, decision.served_by ?? decision.model ?? "–"),
    element("td", { class: "number" }, confidence),
    element("td", {}, String(decision.reason).replaceAll("_", " ")),
    element("td", {}, String(decision.source)),
    element("td", { class: "number" }, shown(decision.latency_ms)));
}
