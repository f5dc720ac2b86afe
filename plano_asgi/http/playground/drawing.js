// Small charts as SVG, made of elements: no text becomes markup.

const SVG = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** A bar for each name, the longest first; `colour` gives each the class of its colour. */
export function shareChart(counts, colour) {
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const list = element("ul", { class: "shares" });
  for (const [name, count] of [...counts].sort((one, other) => other[1] - one[1]).slice(0, 8)) {
    const share = count / total;
    const bar = drawn("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
      drawn("rect", { width: 100, height: 6, class: "track" }),
      drawn("rect", { width: Math.max(100 * share, 0.5), height: 6, class: colour(name) }));
    const told = element("span", { class: "told" }, `${Math.round(100 * share)} %`);
    list.append(element("li", {}, element("span", { class: "what" }, name), told, bar));
  }
  return list;
}

/** A dot for each decision, the newest at the right; a line at the median and one at the 95th percentile. */
export function latencyChart(decisions, median, high, colour) {
  const [width, height] = [600, 132];
  const most = Math.max(...decisions.map((decision) => decision.latency_ms), 1) * 1.15;
  const y = (value) => height - 6 - (height - 18) * Math.sqrt(value / most);
  const x = (index) => width - 10 - (decisions.length - 1 - index) * Math.min(12, (width - 20) / Math.max(decisions.length - 1, 1));
  const label = `Milliseconds of the latest ${decisions.length} decisions: median ${shown(median)}, 95th percentile ${shown(high)}`;
  const chart = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "dots" });
  for (const [value, name] of [[high, "p95"], [median, "p50"]]) {
    chart.append(drawn("line", { x1: 0, x2: width, y1: y(value), y2: y(value), class: `level ${name}` }));
  }
  decisions.forEach((decision, index) => {
    const dot = drawn("circle", { cx: x(index), cy: y(decision.latency_ms), r: 4, class: colour(decision.route ?? "none of these") });
    dot.append(drawn("title", {}, `${decision.route ?? "none of these"}: ${shown(decision.latency_ms)} ms`));
    chart.append(dot);
  });
  return chart;
}

export const shown = (value) => (value < 10 ? value.toFixed(1) : value.toFixed(0));

/** The value that a share of the numbers does not exceed. */
export function quantile(numbers, share) {
  const sorted = [...numbers].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
