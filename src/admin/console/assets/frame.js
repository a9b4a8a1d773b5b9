// What stands above every screen: where one can go, how things are as a whole, whether what is shown is still true.

import { h, show } from "./dom.js";
import { icon, mark } from "./icons.js";
import { again, isAtDoor, state, wantSignIn } from "./live.js";
import { panel, rate, say, spark } from "./parts.js";
import { ORDER, ofBinding, stateOf } from "./states.js";
import { remove } from "./api.js";
import { count, exactly, onClock, plural, span, time } from "./words.js";

const PLACES = [["pools", "Pools"], ["matrix", "Matrix"], ["queue", "Queue"], ["orders", "Orders"], ["events", "Events"], ["monitor", "Lists"], ["explain", "Explain"]];
const STALE = 15000;

const view = { theme: document.documentElement.dataset.theme || "auto", wall: "wall" in document.documentElement.dataset };

function keep() {
  const root = document.documentElement;
  if (view.theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = view.theme;
  if (view.wall) root.dataset.wall = "";
  else delete root.dataset.wall;
  try {
    localStorage.setItem("remuda.view", JSON.stringify(view));
  } catch {
    // Then it is for this page only.
  }
}

const NEXT = { auto: "light", light: "dark", dark: "auto" };
const THEME = { auto: ["auto", "as the system has it"], light: ["sun", "light"], dark: ["moon", "dark"] };

function switches(draw) {
  const [picture, words] = THEME[view.theme];
  const theme = () => {
    view.theme = NEXT[view.theme];
    keep();
    draw();
  };
  const wall = () => {
    view.wall = !view.wall;
    keep();
    draw();
  };
  return [
    h("button", { type: "button", class: "plain", "aria-label": `Colours: ${words}. Change`, title: `Colours: ${words}`, on: { click: theme } }, icon(picture)),
    h("button", { type: "button", class: "plain wide-only", "aria-pressed": String(view.wall), "aria-label": "Wall view", title: "Wall view: larger, without controls", on: { click: wall } }, icon("wall")),
  ];
}

async function signOut() {
  try {
    await remove("/api/v1/session");
  } catch (error) {
    say(error.message, "bad");
    return;
  }
  await again();
}

function who() {
  const session = state.session;
  if (!session || isAtDoor()) return null;
  if (!session.name) return h("button", { type: "button", class: "sign-in", on: { click: () => wantSignIn(true) } }, "Sign in");
  return h("span", { class: "who" }, h("span", { class: "who-name", title: `Signed in as ${session.name}, who may ${session.role}` }, session.name),
    h("button", { type: "button", class: "plain", "aria-label": "Sign out", title: "Sign out", on: { click: signOut } }, icon("out")));
}

export function isStale() {
  return Boolean(state.board) && (state.failed !== null || Date.now() - state.received > STALE);
}

function beat() {
  if (!state.board) return null;
  const stale = isStale();
  const age = Math.max(0, Date.now() - state.received);
  const words = stale ? `old: ${span(age)}` : state.streams ? "live" : "polling";
  const title = `Data of ${onClock(state.received)}; ${state.streams ? "events come by themselves" : "no event stream, asked every few seconds"}`;
  return h("span", { class: `beat ${stale ? "stale" : ""} ${state.streams ? "streams" : ""}`, title }, h("i", {}), words);
}

export function frame(screen) {
  const top = document.getElementById("top");
  document.documentElement.classList.toggle("is-stale", isStale());
  const link = ([key, label]) => h("a", { href: `#/${key}`, "aria-current": key === screen || (screen === "binding" && key === "pools") ? "page" : undefined }, label);
  const draw = () => frame(screen);
  show(top,
    h("div", { class: "bar-top" },
      h("a", { class: "home", href: "#/pools", "aria-label": `Remuda at ${state.board?.hostname || "this relay"}` }, mark(), h("span", { class: "house" }, "Remuda"), h("span", { class: "host" }, state.board?.hostname || "")),
      isAtDoor() ? null : h("nav", { "aria-label": "Screens" }, PLACES.map(link)),
      h("div", { class: "tools" }, beat(), switches(draw), who())),
    state.board && !isAtDoor() ? strip(state.board) : null);
  lost();
}

function lost() {
  const place = document.getElementById("lost");
  const gone = isStale() && !isAtDoor();
  place.hidden = !gone;
  // Said once, not each second: only the clock in it goes on, and that is no text of this region's own.
  const words = state.failed || "No answer lately.";
  show(place, gone ? [h("b", {}, "Not up to date. "), words, " What you see is of ", h("span", {}, onClock(state.received)), "."] : null);
}

function tile(name, value, props = {}, ...more) {
  return h("div", { class: `tile ${props.tone || ""}` }, h("dt", {}, name), h("dd", {}, h("span", { class: "figure", title: props.title }, value), more));
}

// How things are, in one line.
function strip(board) {
  const { queue, minutes } = board;
  const oldest = queue.waiting.map((waiting) => waiting.oldest).sort()[0];
  const herd = new Map();
  for (const binding of board.herd) {
    const { key } = ofBinding(binding, heaviest(board, binding.name));
    herd.set(key, (herd.get(key) || 0) + 1);
  }
  const firing = board.alerts.filter((alert) => alert.state === "firing");
  const worst = firing.some((alert) => alert.severity === "critical") ? "bad" : firing.length ? "warn" : "";
  const states = ORDER.filter((key) => herd.has(key)).reverse().map((key) => {
    const known = stateOf(key);
    return h("span", { class: `headcount ${known.tone}`, title: known.label }, icon(known.icon), h("b", {}, count(herd.get(key))), h("span", { class: "unseen" }, ` ${known.label}`));
  });
  return h("dl", { class: "strip", "aria-label": "As a whole" },
    tile("Herd", h("span", { class: "heads" }, states)),
    tile("Waiting", count(queue.recipients), { title: `${exactly(queue.recipients)} recipients of ${exactly(queue.messages)} messages` }, h("span", { class: "soft" }, `${count(queue.in_flight)} on the wire`)),
    tile("Oldest", oldest ? time(oldest, "age") : "–"),
    tile("Delivered / min", count(rate(minutes.delivered)), {}, spark(minutes, "Last hour", 24)),
    tile("Deferred / min", count(rate(minutes.deferred)), { tone: rate(minutes.deferred) > rate(minutes.delivered) ? "warn" : "" }),
    tile("Bounced / min", count(rate(minutes.bounced))),
    h("div", { class: `tile ${worst}` }, h("dt", {}, "Alerts"), h("dd", {}, h("button", { type: "button", class: "figure quiet", "aria-haspopup": "dialog", on: { click: alerts } }, icon("bell"), h("span", {}, firing.length ? `${firing.length} firing` : "quiet")))));
}

let heavy = { board: null, weights: new Map() };

// The most weight a binding has in any pool: 0 is drained everywhere; undefined is in no pool.
function heaviest(board, name) {
  if (heavy.board !== board) {
    const weights = new Map();
    for (const seat of board.pools.flatMap((pool) => pool.tiers.flat())) weights.set(seat.binding, Math.max(seat.weight, weights.get(seat.binding) || 0));
    heavy = { board, weights };
  }
  return heavy.weights.get(name);
}

const TONES = { critical: "bad", warning: "warn", info: "idle" };

function alerts() {
  const shown = panel("Alerts", "side");
  const all = state.board.alerts;
  if (!all.length) return shown.show(h("p", { class: "empty" }, "Nothing fires and nothing is about to."));
  const row = (alert) => h("li", { class: "alert" },
    h("div", { class: "alert-head" }, h("span", { class: `badge ${TONES[alert.severity] || "idle"}` }, alert.severity), h("b", {}, alert.name), h("span", { class: "soft" }, alert.state, " since ", time(alert.fired_at || alert.since, "ago"))),
    h("p", {}, alert.summary), h("p", { class: "soft" }, alert.description));
  shown.show(h("p", { class: "soft" }, plural(all.length, "condition")), h("ul", { class: "plain-list" }, all.map(row)));
}

export { heaviest };
