// One binding: everything known of it on one page.

import { get, name as escape } from "./api.js";
import { actWith, ACTS, cancelOrder, limitsOf } from "./acts.js";
import { addresses, hourWords, listingLine, orderWords, ordersOf, stateLine } from "./card.js";
import { h, show } from "./dom.js";
import { eventRow, grouped } from "./events.js";
import { heaviest } from "./frame.js";
import { hear, mayAct, state } from "./live.js";
import { badge, button, capLine, capOf, empty, fact, hourOf, refusalLine, spark, table, warmLine } from "./parts.js";
import { routePanel } from "./route.js";
import { ofBinding, stateOf } from "./states.js";
import { count, exact, exactly, plain, time } from "./words.js";

export function binding(main, to) {
  const name = to.argument;
  let limits = null;
  let minutes = null;
  let events = null;
  let closed = false;
  const fetchPast = () => get("/api/v1/console/past", { bindings: name }).then((answer) => { minutes = answer.bindings[name] || null; draw(); }, () => {});
  const fetchEvents = () => get("/api/v1/events", { binding: name, limit: 100 }).then((answer) => { events = answer.events.filter((event) => event.binding === name).slice(-30).reverse(); draw(); }, () => {});
  const timer = setInterval(fetchPast, 10000);
  const deaf = hear((event) => (!event || event.binding === name) && fetchEvents());
  limitsOf({ binding: name }).then((found) => { limits = found; draw(); }, () => {});
  fetchPast();
  fetchEvents();

  function draw() {
    const board = state.board;
    if (!board || closed) return;
    const of = state.byName.get(name);
    show(main, of ? page(of, board, { limits, minutes, events }) : h("div", { class: "screen" }, h("h1", { tabindex: -1 }, name || "Binding"), empty("There is no such binding. ", h("a", { href: "#/pools" }, "All bindings")), inForce(ordersOf(board, name))));
  }

  return { update: draw, close: () => { closed = true; deaf(); clearInterval(timer); } };
}

function page(of, board, { limits, minutes, events }) {
  const known = ofBinding(of, heaviest(board, of.name));
  const pools = board.pools.filter((pool) => pool.tiers.flat().some((seat) => seat.binding === of.name));
  const pace = pools.find((pool) => pool.pace !== "none")?.pace || "none";
  const orders = ordersOf(board, of.name);
  return h("div", { class: "screen binding-page" },
    h("div", { class: "screen-head" }, h("h1", { tabindex: -1 }, of.name), badge(known),
      h("div", { class: "buttons" }, ["suspend", "resume", "drain", "set-cap", "set-stage", "remove"].filter((key) => key !== "set-stage" || of.warmup.length).map((key) => button(`${ACTS[key].label} …`, () => actWith(of.name, key), { disabled: !mayAct(), class: key === "remove" ? "danger" : "" })))),
    stateLine(of, known),
    of.evidence ? h("p", { class: "soft" }, of.evidence) : null,
    h("div", { class: "columns" },
      h("section", { "aria-labelledby": "sec-now" }, h("h2", { id: "sec-now" }, "Now"),
        capOf(of) ? capLine(of.cap, pace) : of.cap ? null : h("p", { class: "soft" }, "No daily cap."),
        of.warmup.map(warmLine),
        h("div", { class: "hour" }, spark(minutes, `${of.name}, last hour`, 48), h("span", { class: "soft" }, hourWords(of.hour))),
        listingLine(of),
        of.refusal ? [h("h3", {}, "Last refusal"), refusalLine(of.refusal, time(of.refusal.at, "ago", true)), h("p", { class: "soft" }, `Rule ${of.refusal.rule}; fault of: ${plain(of.refusal.scope)}`)] : null,
        h("dl", { class: "facts" }, fact("Source address", [of.bind_address, of.second_bind_address].filter(Boolean).join(", ")), fact("Public address", addresses(of)), fact("EHLO", of.ehlo), fact("Reverse DNS", of.reverse === null ? "unknown" : of.reverse ? "confirmed" : "broken"), of.region ? fact("Region", of.region) : null, fact("On the wire", `${exactly(of.in_use)}${of.connections ? ` of ${exactly(of.connections)}` : ""}`), of.cap ? fact("Cap starts anew", exact(of.cap.resets_at)) : null,
          fact("Pools", pools.map((pool, n) => [n ? ", " : "", h("a", { href: `#/pools?filter=${escape(pool.name)}` }, pool.name), h("span", { class: "soft" }, place(pool, of.name))])))),
      h("section", { "aria-labelledby": "sec-routes" }, h("h2", { id: "sec-routes" }, "Receivers"), routes(of, board),
        inForce(orders),
        of.feedback.length ? [h("h2", {}, "Came back by mail, seven days"), table("Complaints and late bounces", [{ name: "Receiver" }, { name: "Accepted", class: "n" }, { name: "Complaints", class: "n" }, { name: "Late bounces", class: "n" }], of.feedback.map((row) => h("tr", {}, h("th", { scope: "row" }, row.destination), h("td", { class: "n" }, exactly(row.accepted)), h("td", { class: "n" }, exactly(row.complaints)), h("td", { class: "n" }, exactly(row.late_bounces)))))] : null)),
    h("section", { "aria-labelledby": "sec-events" }, h("h2", { id: "sec-events" }, "What happened"), events === null ? h("p", { class: "soft" }, "…") : events.length ? h("ol", { class: "events" }, grouped(events).map(eventRow)) : h("p", { class: "soft" }, "Nothing since the relay began to remember.")),
    h("section", { "aria-labelledby": "sec-limits" }, h("h2", { id: "sec-limits" }, "Limits"), limits ? table(`Limits of ${of.name}`, [{ name: "Limit" }, { name: "Value" }, { name: "Set by" }], limits.map((limit) => h("tr", {}, h("th", { scope: "row" }, plain(limit.name)), h("td", {}, limit.value), h("td", { class: "soft" }, limit.key ? `${limit.key}${limit.at ? ` (${limit.at})` : ""}` : "default")))) : h("p", { class: "soft" }, "…")));
}

// Also of a binding that is gone: then only its order knows of it.
function inForce(orders) {
  const line = (order) => h("li", { class: "order-line" }, h("b", {}, orderWords(order)), h("span", { class: "soft" }, ` by ${order.actor}: ${order.reason}`), order.until ? [" ", time(order.until, "left", true)] : null, " ", button("Take back …", () => cancelOrder(order, orderWords(order)), { disabled: !mayAct() }));
  return orders.length ? [h("h2", {}, "Orders in force"), h("ul", { class: "plain-list" }, orders.map(line))] : null;
}

function place(pool, name) {
  const tier = pool.tiers.findIndex((seats) => seats.some((seat) => seat.binding === name));
  const weight = pool.tiers.flat().find((seat) => seat.binding === name)?.weight;
  return ` ${tier === 0 ? "active" : `backup ${tier}`}, weight ${weight}`;
}

function routes(of, board) {
  const named = new Set([...of.routes.map((route) => route.destination), ...of.past.map((past) => past.destination)]);
  const all = [...board.destinations.filter((name) => named.has(name)), ...[...named].filter((name) => !board.destinations.includes(name))];
  if (!all.length) return h("p", { class: "soft" }, "No mail to anybody in the last hour, and nothing held against it.");
  const row = (destination) => {
    const route = of.routes.find((route) => route.destination === destination);
    const past = of.past.find((past) => past.destination === destination);
    const known = stateOf(route?.health || "active");
    const hour = past ? hourOf(past.hour) : null;
    return h("tr", { key: destination },
      h("th", { scope: "row" }, h("button", { type: "button", class: "link", on: { click: () => routePanel(of.name, board.destinations.includes(destination) ? destination : "other") } }, destination)),
      h("td", {}, badge(known), route?.reason ? h("span", { class: "soft" }, ` ${plain(route.reason)}`) : null, route?.until ? [" ", time(route.until, "left")] : null),
      h("td", { class: "n" }, hour ? count(hour.all) : "–"), h("td", { class: "n" }, hour ? hour.share : "–"),
      h("td", { class: "said" }, past?.refusal ? past.refusal.text : ""));
  };
  return table(`Receivers of ${of.name}`, [{ name: "Receiver" }, { name: "State" }, { name: "Attempts", class: "n" }, { name: "Delivered", class: "n" }, { name: "Last refusal" }], all.map(row));
}
