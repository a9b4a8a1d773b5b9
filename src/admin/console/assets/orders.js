// What the operator ordered: everything that is in force beside the file, also on what is gone; and the tenants.

import { assignTenant, cancelOrder, holdTenant, releaseTenant } from "./acts.js";
import { name as escape } from "./api.js";
import { orderWords } from "./card.js";
import { h, show } from "./dom.js";
import { mayAct, state } from "./live.js";
import { button, empty, more, table } from "./parts.js";
import { count, exactly, time } from "./words.js";

const ROWS = 60;

export function orders(main, to) {
  const filter = { text: to.parameters.get("filter") || "", rows: ROWS };
  const input = h("input", { type: "search", id: "filter-orders", placeholder: "Binding, tenant, word …", value: filter.text, autocomplete: "off", on: { input: () => { filter.text = input.value; filter.rows = ROWS; draw(); } } });
  const body = h("div", {});
  show(main, h("div", { class: "screen" },
    h("div", { class: "screen-head" }, h("h1", { tabindex: -1 }, "Orders"), h("div", { class: "filters", role: "search" }, h("label", { class: "unseen", for: "filter-orders" }, "Filter orders and tenants"), input)),
    body));

  function draw() {
    const board = state.board;
    if (!board) return;
    const wanted = filter.text.trim().toLowerCase();
    const fits = (...words) => !wanted || words.some((word) => String(word ?? "").toLowerCase().includes(wanted));
    const given = board.orders_in_force.filter((order) => fits(order.binding, order.tenant, order.pool, order.actor, order.reason, orderWords(order)));
    const tenants = board.tenants.filter((tenant) => fits(tenant.name)).sort((a, b) => Number(Boolean(b.held)) - Number(Boolean(a.held)));
    const shown = tenants.slice(0, filter.rows);
    show(body,
      h("section", { "aria-labelledby": "sec-orders" }, h("h2", { id: "sec-orders" }, "In force"),
        given.length ? table("Orders in force", [{ name: "About" }, { name: "Order" }, { name: "Why" }, { name: "By", class: "wide-only" }, { name: "Since", class: "n wide-only" }, { name: "Ends", class: "n" }, { name: h("span", { class: "unseen" }, "Acts"), class: "n" }], given.map(line)) : empty(board.orders_in_force.length ? "No order fits." : "Everything is as the file says.")),
      h("section", { "aria-labelledby": "sec-tenants" }, h("h2", { id: "sec-tenants" }, "Tenants"),
        shown.length ? table("Tenants", [{ name: "Tenant" }, { name: "Its mail" }, { name: "Cap of today", class: "n wide-only" }, { name: h("span", { class: "unseen" }, "Acts"), class: "n" }], shown.map(tenantLine)) : empty("No tenant fits."),
        more(shown.length, tenants.length, () => { filter.rows += 2 * ROWS; draw(); })));
  }

  return { update: draw };
}

// A binding that is gone has a page as well: it says so, and shows what took it away.
function line(order) {
  const about = order.binding ? h("a", { href: `#/binding/${escape(order.binding)}` }, order.binding) : order.tenant;
  const words = orderWords(order);
  return h("tr", { key: order.id },
    h("th", { scope: "row" }, about), h("td", {}, words), h("td", { class: "why" }, order.reason), h("td", { class: "wide-only" }, order.actor),
    h("td", { class: "n wide-only" }, time(order.at, "age")), h("td", { class: "n" }, order.until ? time(order.until, "left") : h("span", { class: "soft" }, "when taken back")),
    h("td", { class: "n" }, button("Take back …", () => cancelOrder(order, `${order.binding || order.tenant}: ${words}`), { disabled: !mayAct(), "aria-label": `Take back ${words} of ${order.binding || order.tenant}` })));
}

function tenantLine(tenant) {
  const act = (words, does) => button(`${words} …`, () => does(tenant.name), { disabled: !mayAct(), "aria-label": `${words} ${tenant.name}` });
  return h("tr", { key: tenant.name },
    h("th", { scope: "row" }, h("a", { href: `#/queue?tenant=${escape(tenant.name)}` }, tenant.name)),
    h("td", {}, tenant.held ? h("span", { class: "flag warn" }, "waits: held by the operator") : h("span", { class: "soft" }, "goes")),
    h("td", { class: "n wide-only" }, tenant.cap ? `${count(tenant.cap.used)} / ${exactly(tenant.cap.limit)}` : "–"),
    h("td", { class: "n acts-of" }, act("Hold", holdTenant), act("Release", releaseTenant), act("Assign", assignTenant)));
}
