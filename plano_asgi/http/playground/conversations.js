// What is typed, as the body of a call: in plain text or in one of three APIs.

export const PATHS = {
  text: "v1/chat/completions",
  chat: "v1/chat/completions",
  messages: "v1/messages",
  responses: "v1/responses",
};

const NAMES = { text: "plain text", chat: "Chat Completions", messages: "Anthropic Messages", responses: "Responses" };

export const nameOf = (format) => NAMES[format];

/** Return the format of a pasted body, null where it is none. */
export function recognised(text) {
  const body = parsed(text);
  if (!body) return null;
  if ("input" in body || "instructions" in body) return "responses";
  if (!Array.isArray(body.messages)) return null;
  const isMessages = "system" in body || "max_tokens" in body && String(body.model ?? "").includes("claude");
  const roles = new Set(body.messages.map((message) => message?.role));
  return isMessages && !roles.has("system") && !roles.has("tool") ? "messages" : "chat";
}

/** Return the body that a text stands for; throws an Error for people where it stands for none. */
export function bodyOf(format, text) {
  if (format === "text") return { messages: [{ role: "user", content: text }] };
  let body;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new Error(`Not JSON yet: ${error.message}`);
  }
  if (body === null || typeof body !== "object" || Array.isArray(body)) {
    throw new Error("The body of a call is a JSON object: {\"messages\": [...]}");
  }
  return body;
}

/** Return the same conversation written in another format, as far as its words go. */
export function rewritten(text, from, to) {
  const turns = from === "text" ? [{ role: "user", text }] : turnsOf(parsed(text));
  if (to === "text") return turns.filter((turn) => turn.role === "user").at(-1)?.text ?? "";
  return JSON.stringify(written(turns, to), null, 2);
}

function written(turns, format) {
  const spoken = turns.filter((turn) => turn.role !== "system");
  const messages = spoken.map(({ role, text }) => ({ role, content: text }));
  const system = turns.filter((turn) => turn.role === "system").map((turn) => turn.text).join("\n");
  if (format === "responses") return { ...(system && { instructions: system }), input: messages };
  if (format === "messages") return { max_tokens: 1024, ...(system && { system }), messages };
  return { messages: [...(system ? [{ role: "system", content: system }] : []), ...messages] };
}

function turnsOf(body) {
  if (!body) return [];
  const before = body.system ?? body.instructions;
  const said = body.messages ?? (typeof body.input === "string" ? [{ role: "user", content: body.input }] : body.input);
  const turns = (Array.isArray(said) ? said : [])
    .filter((message) => message && typeof message === "object")
    .map((message) => ({ role: roleOf(message.role), text: textOf(message.content) }));
  return [...(before ? [{ role: "system", text: textOf(before) }] : []), ...turns].filter((turn) => turn.text);
}

function roleOf(role) {
  if (role === "system" || role === "developer") return "system";
  return role === "assistant" ? "assistant" : "user";
}

function textOf(content) {
  if (typeof content === "string") return content;
  const parts = Array.isArray(content) ? content : [];
  return parts.map((part) => (typeof part === "string" ? part : part?.text ?? "")).filter(Boolean).join("\n");
}

function parsed(text) {
  if (!text.trimStart().startsWith("{")) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
