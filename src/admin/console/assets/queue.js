// What waits: by receiver and reason, then entry by entry, with a search and acts on all that it finds.

import { get, query } from "./api.js";
import { holdTenant, releaseTenant } from "./acts.js";
import { actOnQueue, NAMES } from "./ask.js";
import { h, show } from "./dom.js";
import { entryPanel } from "./entry.js";
import { mayAct, state } from "./live.js";
import { button, empty, field, select, table } from "./parts.js";
import { count, exactly, plural, time, why } from "./words.js";

const PAGE = 100;
const FIELDS = ["tenant", "pool", "destination", "domain", "reason", "reply", "older_than"];
const GROUPS = 40;
const TYPING = 300;
const AGAIN = 5000;

export function queue(main, to) {
  const filter = Object.fromEntries(FIELDS.map((name) => [name, to.parameters.get(name) || ""]));
  const known = { entries: [], total: 0, next: null, failed: "", loaded: false, at: 0, asking: false, wishes: 0, pages: 1 };
  const chosen = new Set();
  let typing = 0;
  let closed = false;
  let allGroups = false;
  let byTenant = to.parameters.get("by") === "tenant";
  let tenants = null;
  let tenantsAt = 0;
  let tenantsAsking = false;
  let tenantsFailed = "";

  const changed = () => {
    chosen.clear();
    history.replaceState(null, "", `#/queue${query(filter)}`);
    draw();
    load(true);
  };
  const text = (name, label, placeholder) => {
    const control = h("input", { type: "search", placeholder, list: name === "reply" || name === "domain" ? undefined : `known-${name}`, value: filter[name], autocomplete: "off", on: { input: () => { filter[name] = control.value.trim(); clearTimeout(typing); typing = setTimeout(changed, TYPING); } } });
    controls[name] = control;
    return field(label, control);
  };
  const controls = {};
  const ages = select([["", "any"], ["5m", "over 5 minutes"], ["1h", "over an hour"], ["6h", "over 6 hours"], ["1d", "over a day"], ["3d", "over 3 days"]], filter.older_than, { on: { change: () => { filter.older_than = ages.value; changed(); } } });
  const clear = button("Clear", () => {
    for (const name of FIELDS) filter[name] = "";
    for (const control of Object.values(controls)) control.value = "";
    ages.value = "";
    changed();
  });
  const group = (label, tenant) => {
    const control = h("button", { type: "button", "aria-pressed": String(byTenant === tenant), on: { click: () => { byTenant = tenant; receivers.setAttribute("aria-pressed", String(!tenant)); owners.setAttribute("aria-pressed", String(tenant)); draw(); } } }, label);
    return control;
  };
  const receivers = group("By receiver", false);
  const owners = group("By tenant", true);
  const lists = h("div", { hidden: true });
  const groups = h("div", {});
  const acts = h("div", { class: "acts" });
  const list = h("div", {});
  show(main, h("div", { class: "screen" },
    h("div", { class: "screen-head" }, h("h1", { tabindex: -1 }, "Queue")),
    h("section", { "aria-labelledby": "sec-why" }, h("div", { class: "section-head" }, h("h2", { id: "sec-why" }, "Why mail waits"), h("div", { class: "switch", role: "group", "aria-label": "Grouped by" }, receivers, owners)), groups),
    h("section", { "aria-labelledby": "sec-entries" }, h("h2", { id: "sec-entries" }, "Entries"),
      h("div", { class: "filter-grid", role: "search", "aria-label": "Search the queue" },
        text("tenant", "Tenant", "whole name"), text("pool", "Pool", "whole name"), text("destination", "Receiver", "provider or site"), text("domain", "Recipient domain", "*.example.org"), text("reason", "Waits for", "retry, cap, …"), text("reply", "Last reply says", "part of its text"), field("Age", ages), h("div", { class: "field end" }, clear)),
      acts, list, lists)));

  // What the filter says, without what is empty.
  const wanted = () => Object.fromEntries(Object.entries(filter).filter(([, value]) => value));

  // One at a time: a search in replies may take the relay seconds. What is wished meanwhile follows, the last wish only.
  async function load(anew = false) {
    if (anew) known.pages = 1;
    known.wishes += 1;
    if (known.asking) return;
    known.asking = true;
    let served;
    do {
      served = known.wishes;
      await pages(() => served !== known.wishes);
    } while (served !== known.wishes && !closed);
    known.asking = false;
    draw();
  }

  async function pages(isStale) {
    try {
      const entries = [];
      let first;
      let answer;
      for (let page = 0; page < known.pages && !isStale(); page++) {
        answer = await get("/api/v1/queue", { ...wanted(), limit: PAGE, after: answer?.after });
        first ||= answer;
        entries.push(...answer.entries);
        if (!answer.after) break;
      }
      if (isStale()) return;
      Object.assign(known, { entries, total: first.total, stopped: answer.stopped || "", next: answer.after ?? null, failed: "", loaded: true, at: Date.now() });
    } catch (error) {
      if (!isStale()) Object.assign(known, { failed: error.message, loaded: true, at: Date.now() });
    }
  }

  // The next page alone: those before it stay as they are.
  async function more() {
    if (known.asking || !known.next) return;
    known.asking = true;
    const served = known.wishes;
    drawList();
    try {
      const answer = await get("/api/v1/queue", { ...wanted(), limit: PAGE, after: known.next });
      if (served === known.wishes) Object.assign(known, { entries: [...known.entries, ...answer.entries], stopped: answer.stopped || "", next: answer.after ?? null, failed: "", at: Date.now(), pages: known.pages + 1 });
    } catch (error) {
      if (served === known.wishes) known.failed = error.message;
    }
    known.asking = false;
    if (served !== known.wishes) return load();
    draw();
  }

  function narrow(fields) {
    for (const name of FIELDS) filter[name] = fields[name] || "";
    for (const [name, control] of Object.entries(controls)) control.value = filter[name];
    ages.value = filter.older_than;
    changed();
    document.getElementById("sec-entries")?.scrollIntoView({ block: "start" });
  }

  // What may be typed, for those who do not know it by heart.
  function drawLists() {
    const { tenants, pools, destinations, queue } = state.board;
    const names = { tenant: tenants.map((one) => one.name), pool: pools.map((one) => one.name), destination: [...new Set([...destinations.filter((name) => name !== "other"), ...queue.waiting.map((group) => group.destination)])], reason: [...new Set(queue.waiting.map((group) => group.reason))] };
    show(lists, Object.entries(names).map(([name, values]) => h("datalist", { id: `known-${name}` }, values.slice(0, 300).map((value) => h("option", { value })))));
  }

  async function loadTenants() {
    if (tenantsAsking) return;
    tenantsAsking = true;
    try {
      tenants = (await get("/api/v1/console/waiting")).groups;
      tenantsFailed = "";
    } catch (error) {
      tenantsFailed = error.message;
    }
    tenantsAt = Date.now();
    tenantsAsking = false;
    draw();
  }

  function drawTenants() {
    if (Date.now() - tenantsAt > AGAIN) loadTenants();
    if (tenantsFailed) return show(groups, h("p", { class: "notice bad" }, tenantsFailed));
    if (!tenants) return show(groups, h("p", { class: "soft" }, "…"));
    if (!tenants.length) return show(groups, empty("Nothing waits."));
    const shown = allGroups ? tenants : tenants.slice(0, GROUPS);
    const row = (of) => h("tr", { key: `${of.tenant} ${of.reason}` },
      h("th", { scope: "row" }, h("button", { type: "button", class: "link", on: { click: () => narrow({ tenant: of.tenant, reason: of.reason }) } }, of.tenant)),
      h("td", {}, why(of.reason)), h("td", { class: "n" }, exactly(of.recipients)), h("td", { class: "n" }, time(of.oldest, "age")), h("td", { class: "n" }, of.next_at ? time(of.next_at, "in") : "–"), h("td", { class: "n" }, exactly(of.attempts)),
      h("td", { class: "n" }, button("Hold …", () => holdTenant(of.tenant), { disabled: !mayAct() }), " ", button("Release …", () => releaseTenant(of.tenant), { disabled: !mayAct() })));
    show(groups, table("What waits, by tenant and reason", [{ name: "Tenant" }, { name: "Because" }, { name: "Recipients", class: "n" }, { name: "Oldest", class: "n" }, { name: "Next", class: "n" }, { name: "Most tries", class: "n" }, { name: h("span", { class: "unseen" }, "Acts"), class: "n" }], shown.map(row)),
      tenants.length > shown.length ? h("p", { class: "more" }, `${shown.length} of ${count(tenants.length)} groups. `, button("Show more", () => { allGroups = true; draw(); })) : null, held());
  }

  function drawGroups() {
    if (byTenant) return drawTenants();
    const waiting = [...state.board.queue.waiting].sort((a, b) => b.recipients - a.recipients);
    if (!waiting.length) return show(groups, empty("Nothing waits."));
    const shown = allGroups ? waiting.slice(0, 1000) : waiting.slice(0, GROUPS);
    const row = (group) => h("tr", { key: `${group.pool} ${group.destination} ${group.reason}` },
      h("th", { scope: "row" }, h("button", { type: "button", class: "link", on: { click: () => narrow({ pool: group.pool, destination: group.destination, reason: group.reason }) } }, group.destination)),
      h("td", {}, group.pool), h("td", {}, why(group.reason)), h("td", { class: "n" }, exactly(group.recipients)), h("td", { class: "n" }, time(group.oldest, "age")), h("td", { class: "n" }, group.next_at ? time(group.next_at, "in") : "–"), h("td", { class: "n" }, exactly(group.attempts)));
    show(groups, table("What waits, by receiver and reason", [{ name: "Receiver" }, { name: "Pool" }, { name: "Because" }, { name: "Recipients", class: "n" }, { name: "Oldest", class: "n" }, { name: "Next", class: "n" }, { name: "Most tries", class: "n" }], shown.map(row)),
      waiting.length > shown.length ? h("p", { class: "more" }, `${shown.length} of ${count(waiting.length)} groups. `, button("Show more", () => { allGroups = true; draw(); })) : null, held());
  }

  function held() {
    const holds = state.board.holds || [];
    const ordered = state.board.tenants.filter((tenant) => tenant.held);
    const own = ordered.length ? [h("h3", {}, "Held by the operator"), h("ul", { class: "plain-list" }, ordered.slice(0, GROUPS).map((tenant) => h("li", { class: "order-line" }, h("b", {}, tenant.name), h("a", { class: "soft", href: "#/orders" }, orderOf(tenant)), button("Release …", () => releaseTenant(tenant.name), { disabled: !mayAct() }))))] : null;
    if (!holds.length) return own;
    return [own, h("h3", {}, "Held for the sender's sake"), h("ul", { class: "plain-list" }, holds.map((hold) => h("li", {}, h("b", {}, hold.tenant), hold.sender_domain ? ` (${hold.sender_domain})` : "", ` at ${hold.destination}: ${hold.state}, `, time(hold.until, "left"), h("div", { class: "soft" }, hold.evidence))))];
  }

  function drawActs() {
    const filtered = Object.keys(wanted()).length > 0;
    const what = chosen.size ? { ids: [...chosen] } : filtered ? { filter: wanted() } : { all: true };
    const words = chosen.size ? plural(chosen.size, "chosen entry", "chosen entries") : filtered ? "all that the search finds" : "all that waits";
    show(acts, known.entries.length ? [h("span", { class: "soft" }, `With ${words}:`), NAMES.map(([key, label]) => button(`${label} …`, () => actOnQueue(key, what, words, () => { chosen.clear(); load(); }), { disabled: !mayAct(), class: key === "bounce" ? "danger" : "" }))] : null);
  }

  function drawList() {
    if (!known.loaded) return show(list, h("p", { class: "soft" }, "…"));
    if (known.failed) return show(list, h("p", { class: "notice bad", role: "alert" }, known.failed), again());
    if (!known.entries.length) return show(list, empty(known.stopped ? `No entry fits so far: ${known.stopped}.` : "No entry fits."), again(), known.next ? next() : null);
    const choose = (id) => h("input", { type: "checkbox", "aria-label": `Choose ${id}`, checked: chosen.has(id), on: { change: (event) => { if (event.target.checked) chosen.add(id); else chosen.delete(id); drawActs(); } } });
    const row = (entry) => h("tr", { key: entry.id },
      h("td", {}, choose(entry.id)),
      h("th", { scope: "row" }, h("button", { type: "button", class: "link mono", on: { click: () => entryPanel(entry, load) } }, entry.id)),
      h("td", {}, entry.tenant), h("td", {}, entry.domain, entry.destination && entry.destination !== entry.domain ? h("span", { class: "soft" }, ` → ${entry.destination}`) : null), h("td", {}, entry.pool), h("td", { class: "n" }, exactly(entry.recipients)), h("td", { class: "n" }, exactly(entry.attempts)), h("td", { class: "n" }, time(entry.arrived, "age")), h("td", {}, why(entry.reason), entry.held ? h("span", { class: "soft" }, ` ${entry.held.actor}: ${entry.held.reason}`) : null), h("td", { class: "n" }, entry.next_at ? time(entry.next_at, "in") : "–"), h("td", { class: "said" }, entry.last_reply || ""));
    const columns = [{ name: "" }, { name: "Entry" }, { name: "Tenant" }, { name: "To" }, { name: "Pool" }, { name: "Rcpt", class: "n" }, { name: "Tries", class: "n" }, { name: "Age", class: "n" }, { name: "Waits, because" }, { name: "Next", class: "n" }, { name: "Last reply" }].map((column) => (column.name ? column : { ...column, name: h("span", { class: "unseen" }, "Choose") }));
    show(list, h("p", { class: "soft", role: "status" }, `${count(known.entries.length)} of ${plural(known.total, "entry", "entries")}`, known.stopped ? `; ${known.stopped}` : null, known.asking && filter.reply ? ", searching …" : null), again(), table("Waiting entries", columns, known.entries.map(row), { class: "entries" }),
      known.next ? next() : null);
  }

  const next = () => h("p", { class: "more" }, button("Show more", more, { disabled: known.asking }));
  // A search in replies reads every record: it is done again when somebody asks.
  const again = () => (filter.reply ? h("p", { class: "more" }, button("Refresh", () => load(), { disabled: known.asking }), h("span", { class: "soft" }, known.at ? [" found ", time(new Date(known.at).toISOString(), "ago"), "; a search in replies is not repeated by itself."] : null)) : null);

  function draw() {
    if (!state.board) return;
    drawLists();
    drawGroups();
    drawActs();
    drawList();
    if (known.loaded && !known.asking && !filter.reply && Date.now() - known.at > AGAIN) load();
  }

  load();
  return { update: draw, close: () => { closed = true; clearTimeout(typing); } };
}

function orderOf(tenant) {
  const order = tenant.orders?.find((order) => order.act === "hold-tenant");
  return order ? `by ${order.actor}: ${order.reason}` : "by the file";
}
