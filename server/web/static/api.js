// The server's JSON, and its event streams read by fetch, which can send a key and be aborted.

import { store } from "./dom.js";

const KEY = "hub-key";
let key = store(() => sessionStorage, KEY) ?? "";

/** What the server said no to. */
export class Refusal extends Error {
  constructor(status, body) {
    super(body?.message ?? `HTTP ${status}`);
    this.status = status;
    this.reason = body?.reason ?? "";
  }
}

/** Use a key for all that follows, in this tab alone. */
export function useKey(text) {
  key = text;
  store(() => sessionStorage, KEY, text || null);
}

async function call(path, body, signal) {
  const headers = { accept: "application/json" };
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const response = await fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
    credentials: "omit",
    cache: "no-store",
  });
  if (response.ok) return response;
  let told;
  try {
    told = (await response.json()).error;
  } catch {
    told = undefined;
  }
  throw new Refusal(response.status, told);
}

/** Ask for JSON; a body makes it a POST. */
export async function ask(path, body, signal) {
  return (await call(path, body, signal)).json();
}

/** Yield [event, data] of an event stream. */
export async function* listen(path, body, signal) {
  const response = await call(path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const event = parse(text.slice(0, end));
      text = text.slice(end + 2);
      if (event) yield event;
    }
  }
}

function parse(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data.push(line.slice(6));
  }
  return data.length ? [name, JSON.parse(data.join("\n"))] : null;
}
