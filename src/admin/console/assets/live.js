// What is known now, and how it stays so: the board every few seconds, and at once when the relay says that something
// happened (server-sent events). Who shows something subscribes and is told.

import { get, whenRefused } from "./api.js";
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
let retry = 0;
let isBehind = false; // events may have been missed

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
    const wasLost = state.failed !== null;
    state.board = board;
    state.byName = new Map(board.herd.map((binding) => [binding.name, binding]));
    state.received = Date.now();
    state.failed = null;
    state.mustSignIn = false;
    setServerTime(board.at);
    // It may be another relay process, which knows nobody's session.
    if (wasLost) whoAmI();
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

// A browser keeps six connections to one place for all its tabs, and a stream holds one: a tab that nobody sees has none.
function listen() {
  clearTimeout(retry);
  if (source || state.mustSignIn || document.hidden) return;
  const own = new EventSource("/api/v1/events/stream");
  let opened = false;
  source = own;
  own.onopen = () => {
    // What happened in between is asked for, and who one is as well: the relay may have forgotten.
    if (opened) missed();
    opened = true;
    streams(true);
  };
  own.onerror = () => {
    if (source !== own) return;
    streams(false);
    // A browser tries again by itself, unless the answer was no stream at all.
    if (own.readyState !== EventSource.CLOSED) return;
    source = null;
    isBehind = true;
    retry = setTimeout(listen, RETRY_STREAM);
  };
  if (isBehind) missed();
  isBehind = false;
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
  for (const kind of KINDS) own.addEventListener(kind, take);
  own.addEventListener("lagged", lag);
}

// Something in between is lost: everybody looks for themselves.
function lag() {
  for (const f of [...heard]) f(null);
  refreshSoon();
}

function missed() {
  whoAmI();
  lag();
}

function hush() {
  source?.close();
  source = null;
  clearTimeout(retry);
  clearTimeout(timer);
  isBehind = true;
  streams(false);
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
    // A relay that cannot be reached says so by its board, and may know one still.
    if (error.status === 401) Object.assign(state, { session: null, mustSignIn: true });
  }
  if (state.mustSignIn) hush();
  tell();
}

// Many questions may be refused at once: one asks why.
let wondering = null;
function wonder() {
  wondering ||= whoAmI().finally(() => { wondering = null; });
}

export function start() {
  whenRefused(wonder);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return hush();
    refresh();
    listen();
  });
  addEventListener("online", refresh);
  return again();
}

// At first, and whenever somebody signed in or out: what was seen before was seen by another.
export async function again() {
  hush();
  isBehind = false;
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
