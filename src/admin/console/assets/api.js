// Questions to the relay. Every failure becomes an Error with words for people.

export class Failed extends Error {
  constructor(status, detail, matched) {
    super(detail);
    this.status = status;
    this.matched = matched;
  }
}

const PATIENCE = 20000;

async function ask(method, path, body) {
  const init = { method, credentials: "same-origin", headers: { accept: "application/json" }, signal: AbortSignal.timeout(PATIENCE) };
  if (body !== undefined) {
    init.headers["content-type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, init);
  } catch (error) {
    throw new Failed(0, error.name === "TimeoutError" ? "The relay did not answer in time." : "The relay cannot be reached.");
  }
  const text = await answer.text();
  const data = parse(text);
  if (answer.ok) return data;
  const said = data && typeof data === "object" ? data.detail || data.title : text.trim();
  throw new Failed(answer.status, said || `The relay answered ${answer.status}.`, data?.matched);
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
