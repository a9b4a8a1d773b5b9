// One binding as a card: how it is, why, until when, and what it has left today.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { mayAct } from "./live.js";
import { badge, capLine, capOf, refusalLine, spark, warmLine } from "./parts.js";
import { ofBinding, reasonOf, stateOf } from "./states.js";
import { actOn } from "./acts.js";
import { name as escape } from "./api.js";
import { count, exactly, plain, plural, time } from "./words.js";

export function ordersOf(board, name) {
  return board.orders_in_force.filter((order) => order.binding === name);
}

// The address the world sees, or both.
export function addresses(binding) {
  return [binding.public_address, binding.second_public_address].filter(Boolean).join(", ");
}

export function orderWords(order) {
  switch (order.act) {
    case "drain": return "drained";
    case "remove": return order.draining === false ? "removed" : "goes when it is off the wire";
    case "set-cap": return order.cap === null || order.cap === undefined ? "no cap" : `cap ${exactly(order.cap)}`;
    case "move-tier": return `tier ${order.tier} of ${order.pool}`;
    case "hold-tenant": return "held";
    case "assign-tenant": return `stream ${order.stream} through ${order.pool}`;
    default: return plain(order.act);
  }
}

export function listingLine({ listings, reverse }) {
  const said = [];
  for (const listed of listings.listed) said.push(h("span", { class: "flag bad", title: `${listed.text} ${listed.codes}`.trim() }, icon("suspended"), `listed by ${listed.zone}`));
  if (reverse === false) said.push(h("span", { class: "flag bad" }, icon("suspended"), "reverse DNS broken"));
  const asked = listings.clean + listings.unknown + listings.listed.length;
  if (asked === 0) said.push(h("span", { class: "soft" }, "asks no lists"));
  else if (listings.listed.length === 0) said.push(h("span", { class: listings.clean ? "flag good" : "soft" }, listings.clean ? icon("active") : icon("unknown"), listings.clean ? `clean on ${listings.clean}` : "no list has answered"));
  if (listings.unknown && listings.clean) said.push(h("span", { class: "soft" }, `${listings.unknown} unknown`));
  return h("div", { class: "flags" }, said);
}

export function stateLine(binding, state) {
  const why = reasonOf(binding, state);
  if (!why && !binding.until) return null;
  return h("p", { class: "because" }, why ? h("b", {}, why) : null, binding.until ? h("span", {}, why ? " · " : "", time(binding.until, "left")) : null);
}

function troubles(binding) {
  const out = binding.routes.filter((route) => route.health !== "active");
  if (!out.length) return null;
  const shown = out.slice(0, 3).map((route) => {
    const state = stateOf(route.health);
    const until = route.until ? ` until ${new Date(route.until).toLocaleTimeString("en-GB")}` : "";
    return h("a", { class: `flag ${state.tone}`, href: `#/matrix?binding=${escape(binding.name)}&at=${escape(route.destination)}`, title: `${state.label} at ${route.destination}: ${plain(route.reason || "")}${until}` }, icon(state.icon), `${route.health === "suspended" ? "out" : state.label.toLowerCase()} at ${route.destination}`);
  });
  return h("div", { class: "flags" }, shown, out.length > 3 ? h("span", { class: "soft" }, `+${out.length - 3}`) : null);
}

export function card(binding, seat, pool, board, minutes) {
  const state = ofBinding(binding, seat.weight);
  const orders = ordersOf(board, binding.name);
  const label = `${binding.name}: ${state.label}`;
  const connections = `${count(binding.in_use)}${binding.connections ? ` / ${count(binding.connections)}` : ""}`;
  return h("article", { class: `card ${state.tone}`, key: binding.name, "aria-label": label },
    h("header", { class: "card-head" },
      h("h4", {}, h("a", { href: `#/binding/${escape(binding.name)}` }, binding.name)),
      badge(state),
      h("button", { type: "button", class: "plain act", "aria-label": `Act on ${binding.name}`, "aria-haspopup": "dialog", disabled: !mayAct(), on: { click: () => actOn(binding.name) } }, icon("more"))),
    h("p", { class: "address" }, h("span", {}, addresses(binding)), seat.weight > 1 ? h("span", { class: "soft", title: "Its share relative to the others of the tier" }, `weight ${seat.weight}`) : null, h("span", { class: "soft wires", title: "Attempts on the wire, and how many there may be" }, `${connections} in use`)),
    stateLine(binding, state),
    binding.health !== "active" && binding.evidence ? h("p", { class: "evidence soft" }, binding.evidence) : null,
    capOf(binding) ? capLine(binding.cap, pool.pace) : null,
    binding.warmup.slice(0, 2).map(warmLine),
    h("div", { class: "hour" }, spark(minutes, `${binding.name}, last hour`), h("span", { class: "soft" }, hourWords(binding.hour))),
    listingLine(binding),
    troubles(binding),
    binding.refusal ? refusalLine(binding.refusal, time(binding.refusal.at, "ago")) : null,
    orders.length ? h("ul", { class: "orders" }, orders.map((order) => h("li", { title: `${order.reason} (${order.actor})` }, icon("order"), h("b", {}, orderWords(order)), order.until ? [" ", time(order.until, "left")] : null))) : null);
}

export function hourWords(hour) {
  const all = hour.delivered + hour.deferred + hour.bounced;
  if (all === 0) return "no mail this hour";
  const rest = [hour.deferred ? `${count(hour.deferred)} deferred` : "", hour.bounced ? `${count(hour.bounced)} bounced` : ""].filter(Boolean);
  return [plural(hour.delivered, "delivered", "delivered"), ...rest].join(", ");
}
