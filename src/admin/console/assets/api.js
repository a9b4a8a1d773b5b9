// Questions to the relay. Every failure becomes an Error with words for people.

export class Failed extends Error {
  constructor(status, detail, matched) {
    super(detail);
    this.status = status;
    this.matched = matched;
  }
}

const PATIENCE = 20000;
// An act on the queue searches first and goes on from batch to batch: the relay gives it more time than any look.
const ACT_PATIENCE = 60000;

let refused = () => {};

// Calls `f` whenever the relay no longer takes who asks for whom they were.
export function whenRefused(f) {
  refused = f;
}

async function ask(method, path, body) {
  const patience = method === "GET" ? PATIENCE : ACT_PATIENCE;
  const init = { method, credentials: "same-origin", headers: { accept: "application/json" }, signal: AbortSignal.timeout(patience) };
  if (body !== undefined) {
    init.headers["content-type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, init);
  } catch (error) {
    throw new Failed(0, error.name === "TimeoutError" ? late(method) : "The relay cannot be reached.");
  }
  if ((answer.status === 401 || answer.status === 403) && path !== "/api/v1/session") refused();
  let text;
  try {
    text = await answer.text();
  } catch {
    throw new Failed(0, late(method));
  }
  const data = parse(text);
  if (answer.ok) return data;
  const said = data && typeof data === "object" ? data.detail || data.title : text.trim();
  throw new Failed(answer.status, said || `The relay answered ${answer.status}.`, data?.matched);
}

function late(method) {
  return method === "GET" ? "The relay did not answer in time." : "The relay did not answer in time; it may have done it all the same: look before you try again.";
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// `?a=1&b=2` of what is not empty.
export function query(fields) {
  const some = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return some.length ? `?${new URLSearchParams(some)}` : "";
}

export const get = (path, fields = {}) => ask("GET", path + query(fields));
export const post = (path, body) => ask("POST", path, body);
export const remove = (path) => ask("DELETE", path);
export const name = encodeURIComponent;
