// What is known now, and how it stays so: the board every few seconds, and at once when the relay says that something
// happened (server-sent events). Who shows something subscribes and is told.

import { get } from "./api.js";
import { setServerTime } from "./words.js";

export const KINDS = ["health", "note", "listing", "report", "warmup", "feed", "spf", "audit", "config", "access"];

const EVERY = 3000;
const RETRY_STREAM = 10000;
const AFTER_EVENT = 550;

export const state = {
  board: null, // the last one
  received: 0, // when, by this machine's clock
  failed: null, // why there is no newer one
  session: null, // who is signed in
  mustSignIn: false, // one may not even look
  wantsSignIn: false, // one may look, and wants to do more
  streams: false, // events come by themselves
  byName: new Map(),
};

const told = new Set();
const heard = new Set();
let timer = 0;
let soon = 0;
let asking = false;
let source = null;

// Calls `f` whenever `state` changed; gives back how to stop that.
export function subscribe(f) {
  told.add(f);
  return () => told.delete(f);
}

// Calls `f` with each event as it happens.
export function hear(f) {
  heard.add(f);
  return () => heard.delete(f);
}

function tell() {
  for (const f of [...told]) {
    try {
      f(state);
    } catch (error) {
      // What cannot be drawn must not stop what is fetched.
      console.error(error);
    }
  }
}

// How often: a board of a thousand bindings is not fetched as often as one of ten.
function pause() {
  const size = state.board?.herd.length || 0;
  return size > 500 ? EVERY * 4 : size > 100 ? EVERY * 2 : EVERY;
}

export async function refresh() {
  if (asking || document.hidden) return;
  asking = true;
  clearTimeout(timer);
  try {
    const board = await get("/api/v1/console/board");
    state.board = board;
    state.byName = new Map(board.herd.map((binding) => [binding.name, binding]));
    state.received = Date.now();
    state.failed = null;
    state.mustSignIn = false;
    setServerTime(board.at);
  } catch (error) {
    state.failed = error.message;
    if (error.status === 401) state.mustSignIn = true;
  }
  asking = false;
  tell();
  if (!state.mustSignIn) timer = setTimeout(refresh, pause());
}

export function refreshSoon() {
  clearTimeout(soon);
  soon = setTimeout(refresh, AFTER_EVENT);
}

function listen() {
  if (source || state.mustSignIn) return;
  source = new EventSource("/api/v1/events/stream");
  source.onopen = () => streams(true);
  source.onerror = () => {
    streams(false);
    // A browser tries again by itself, unless the answer was no stream at all.
    if (source?.readyState !== EventSource.CLOSED) return;
    source = null;
    setTimeout(listen, RETRY_STREAM);
  };
  const take = (message) => {
    let event = null;
    try {
      event = JSON.parse(message.data);
    } catch {
      return;
    }
    if (event.seq === undefined && message.lastEventId) event.seq = message.lastEventId;
    for (const f of [...heard]) f(event);
    refreshSoon();
  };
  for (const kind of KINDS) source.addEventListener(kind, take);
  // Something in between is lost: everybody looks for themselves.
  source.addEventListener("lagged", () => { for (const f of [...heard]) f(null); refreshSoon(); });
}

function streams(on) {
  if (state.streams === on) return;
  state.streams = on;
  tell();
}

export async function whoAmI() {
  try {
    state.session = await get("/api/v1/session");
    state.mustSignIn = state.session.sign_in_needed === true && !state.session.role;
  } catch (error) {
    state.session = null;
    // A relay that cannot be reached says so by its board.
    if (error.status === 401) state.mustSignIn = true;
  }
  tell();
}

export function start() {
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh();
  });
  addEventListener("online", refresh);
  return again();
}

// At first, and whenever somebody signed in or out: what was seen before was seen by another.
export async function again() {
  source?.close();
  source = null;
  clearTimeout(timer);
  Object.assign(state, { board: null, byName: new Map(), session: null, streams: false, wantsSignIn: false });
  await whoAmI();
  if (state.mustSignIn) return;
  await refresh();
  listen();
}

// Somebody who may look asks to sign in, or no longer does.
export function wantSignIn(wants) {
  state.wantsSignIn = wants;
  tell();
}

export function isAtDoor() {
  return state.mustSignIn || state.wantsSignIn;
}

export function mayAct() {
  const role = state.session?.role;
  return role === "operate" || role === "admin";
}
