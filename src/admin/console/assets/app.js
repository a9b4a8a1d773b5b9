// Which screen is shown, and when it is drawn anew.

import { show } from "./dom.js";
import { frame } from "./frame.js";
import { isAtDoor, start, state, subscribe } from "./live.js";
import { signIn } from "./session.js";
import { tick } from "./words.js";
import { pools } from "./pools.js";
import { matrix } from "./matrix.js";
import { binding } from "./binding.js";
import { queue } from "./queue.js";
import { orders } from "./orders.js";
import { events } from "./events.js";
import { monitor } from "./monitor.js";
import { explain } from "./explain.js";

const SCREENS = { pools, matrix, binding, queue, orders, events, monitor, explain };
const TITLES = { pools: "Pools", matrix: "Matrix", binding: "Binding", queue: "Queue", orders: "Orders", events: "Events", monitor: "Lists", explain: "Explain" };

const main = document.getElementById("main");
let shown = null;
let address = null;

// `#/queue?pool=a` → screen, what follows it, parameters.
function where() {
  const [path, parameters] = location.hash.replace(/^#\/?/, "").split("?");
  const [screen, rest] = path.split("/");
  let argument = "";
  try {
    argument = decodeURIComponent(rest || "");
  } catch {
    // A link that was cut; the screen says that there is no such thing.
  }
  return { screen: SCREENS[screen] ? screen : "pools", argument, parameters: new URLSearchParams(parameters || "") };
}

function go() {
  if (location.hash === "#main") return main.focus();
  const to = where();
  const moved = address !== null && address !== location.hash;
  address = location.hash;
  shown?.close?.();
  show(main);
  document.title = `${to.argument || TITLES[to.screen]} · Remuda`;
  shown = isAtDoor() ? signIn(main) : SCREENS[to.screen](main, to);
  shown.isSignIn = isAtDoor();
  frame(to.screen);
  update();
  if (moved) {
    scrollTo(0, 0);
    main.querySelector("h1")?.focus({ preventScroll: true });
  }
}

function update() {
  frame(where().screen);
  if (!shown) return;
  if (isAtDoor() !== shown.isSignIn) return go();
  if (state.board || shown.needsNoBoard) shown.update?.(state);
}

subscribe(update);
addEventListener("hashchange", go);
setInterval(() => {
  tick();
  frame(where().screen);
}, 1000);
start().then(go, go);
