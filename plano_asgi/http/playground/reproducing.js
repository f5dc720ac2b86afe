// The same decision from elsewhere: as curl, as Python, and as the configuration that makes it everybody's.

const LINE = 64;

export function curl(url, body) {
  const data = laidOut(body, JSON_WORDS).replaceAll("'", "'\\''");
  return `curl -s ${quoted(url)} \\\n  -H 'Content-Type: application/json' \\\n  -d '${data}'`;
}

export function python(url, body) {
  return [
    "import httpx",
    "",
    `call = ${laidOut(body, PYTHON_WORDS)}`,
    `decision = httpx.post(${laidOut(url, PYTHON_WORDS)}, json=call).raise_for_status().json()`,
    'print(decision["route"], decision["would_use"], decision["confidence"])',
  ].join("\n");
}

export function yaml(routes, models, defaultModel) {
  const used = [...new Set([...models, ...routes.flatMap((route) => route.models)])];
  const lines = ["model_providers:"];
  for (const model of used) {
    lines.push(`  - model: ${scalar(model)}`);
    if (model === defaultModel) lines.push("    default: true");
  }
  if (routes.length) lines.push("routing_preferences:");
  for (const route of routes) {
    lines.push(`  - name: ${scalar(route.name)}`, `    description: ${scalar(route.description)}`);
    lines.push(`    models: [${route.models.map(scalar).join(", ")}]`);
    if (route.prefer !== "none") lines.push(`    selection_policy: {prefer: ${route.prefer}}`);
  }
  return lines.join("\n");
}

const quoted = (text) => (/^[\w:/.@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

// Words that YAML takes for something else than text, and whatever has a sign of YAML's in it, are quoted.
function scalar(text) {
  const isPlain = /^[A-Za-z]([\w /.()-]*[\w)])?$/.test(text);
  const isWord = /^(true|false|yes|no|on|off|null|y|n)$/i.test(text);
  return isPlain && !isWord ? text : ascii(JSON.stringify(text));
}

const JSON_WORDS = { null: "null", true: "true", false: "false" };
const PYTHON_WORDS = { null: "None", true: "True", false: "False" };

// What fits on a line stays on one.
function laidOut(value, words, indent = "") {
  if (value === null || typeof value === "boolean") return words[String(value)];
  if (typeof value === "string") return ascii(JSON.stringify(value));
  if (typeof value === "number") return String(value);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const deeper = `${indent}  `;
  const parts = Array.isArray(value)
    ? value.map((item) => laidOut(item, words, deeper))
    : Object.entries(value).map(([key, item]) => `${laidOut(key, words)}: ${laidOut(item, words, deeper)}`);
  const line = open + parts.join(", ") + close;
  if (indent.length + line.length <= LINE && !line.includes("\n")) return line;
  return `${open}\n${parts.map((item) => deeper + item).join(",\n")}\n${indent}${close}`;
}

// JSON's \u escapes of half a character are another thing in Python and YAML: control signs alone are escaped there.
function ascii(json) {
  return json.replace(/[\u007f-\u009f\u2028\u2029\ufeff]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
