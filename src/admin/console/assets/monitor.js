// The lists: every zone with its health, and what each says of every binding and how old that is.

import { get, name as escape } from "./api.js";
import { h, show } from "./dom.js";
import { icon } from "./icons.js";
import { state } from "./live.js";
import { badge, empty, fact, more, panel, quote, table } from "./parts.js";
import { exact, exactly, plain, serverNow, span, time } from "./words.js";

const ROWS = 80;
const EVERY = 5000;
const ZONES = { healthy: ["active", "good"], probing: ["unknown", "idle"], blocked: ["off", "warn"], dead: ["off", "idle"], hollow: ["throttled", "warn"], unreachable: ["unknown", "warn"] };

function zoneState(health) {
  const [picture, tone] = ZONES[health] || ["unknown", "idle"];
  return { icon: picture, tone, label: plain(health) };
}

const SAYS = { 1: { icon: "suspended", tone: "bad", label: "Listed" }, 0: { icon: "active", tone: "good", label: "Not listed" }, "-1": { icon: "unknown", tone: "idle", label: "Unknown" } };

export function monitor(main) {
  let seen = null;
  let failed = "";
  let at = 0;
  let rows = ROWS;
  let wanted = "";
  const filter = h("input", { type: "search", id: "filter-lists", placeholder: "Binding", autocomplete: "off", on: { input: () => { wanted = filter.value.trim().toLowerCase(); rows = ROWS; draw(); } } });
  const body = h("div", {});
  show(main, h("div", { class: "screen" }, h("div", { class: "screen-head" }, h("h1", { tabindex: -1 }, "Lists"), h("div", { class: "filters", role: "search" }, h("label", { class: "unseen", for: "filter-lists" }, "Filter bindings"), filter)), body));

  async function load() {
    at = Date.now();
    try {
      seen = await get("/api/v1/monitor");
      failed = "";
    } catch (error) {
      failed = error.message;
    }
    draw();
  }

  function draw() {
    if (!seen) return show(body, failed ? h("p", { class: "notice bad" }, failed) : h("p", { class: "soft" }, "…"));
    const zones = seen.zones.filter((zone) => zone.kind !== "domain");
    const byBinding = new Map();
    for (const listing of seen.listings) {
      if (!byBinding.has(listing.binding)) byBinding.set(listing.binding, new Map());
      byBinding.get(listing.binding).set(listing.zone, listing);
    }
    const reverse = new Map(seen.reverse.map((one) => [one.binding, one]));
    const names = [...new Set([...byBinding.keys(), ...reverse.keys()])].filter((name) => !wanted || name.toLowerCase().includes(wanted));
    const worst = (name) => Math.max(-1, ...[...(byBinding.get(name)?.values() || [])].map((listing) => listing.state));
    names.sort((a, b) => worst(b) - worst(a) || a.localeCompare(b, "en", { numeric: true }));
    const shown = names.slice(0, rows);
    show(body,
      h("section", { "aria-labelledby": "sec-zones" }, h("h2", { id: "sec-zones" }, "Zones"), seen.zones.length ? h("div", { class: "cards small" }, seen.zones.map((zone) => zoneCard(zone, seen))) : empty("No zone is configured.")),
      h("section", { "aria-labelledby": "sec-listings" }, h("h2", { id: "sec-listings" }, "Bindings"),
        shown.length ? table("What each list says of each binding", [{ name: "Binding" }, ...zones.map((zone) => ({ name: zone.zone, class: "at" })), ...(reverse.size ? [{ name: "Reverse DNS", class: "at" }] : [])],
          shown.map((name) => h("tr", { key: name }, h("th", { scope: "row" }, h("a", { href: `#/binding/${escape(name)}` }, name)), zones.map((zone) => h("td", {}, said(byBinding.get(name)?.get(zone.zone)))), reverse.size ? h("td", {}, reverseSaid(reverse.get(name))) : null)), { class: "matrix lists" }) : empty("No binding is asked about."), more(shown.length, names.length, () => { rows += 2 * ROWS; draw(); })),
      seen.domains.length ? h("section", { "aria-labelledby": "sec-domains" }, h("h2", { id: "sec-domains" }, "Domains"), table("What the lists of domains say", [{ name: "Domain" }, { name: "Zone" }, { name: "State" }, { name: "Says" }, { name: "Answered", class: "n" }], seen.domains.map((one) => h("tr", { key: `${one.domain} ${one.zone}` }, h("th", { scope: "row" }, one.domain), h("td", {}, one.zone), h("td", {}, badge(SAYS[one.state])), h("td", { class: "said" }, `${one.codes} ${one.text}`.trim()), h("td", { class: "n" }, time(one.last_conclusive)))))) : null);
  }

  load();
  return { needsNoBoard: true, update: () => { if (Date.now() - at > EVERY) load(); } };
}

function zoneCard(zone, seen) {
  const known = zoneState(zone.health);
  const listed = seen.listings.filter((one) => one.zone === zone.zone && one.state === 1).length + seen.domains.filter((one) => one.zone === zone.zone && one.state === 1).length;
  const answers = zone.answers.map((answer) => `${exactly(answer.count)} ${plain(answer.outcome)}`).join(", ");
  return h("article", { class: `card ${known.tone}`, key: zone.zone, "aria-label": `${zone.zone}: ${known.label}` },
    h("header", { class: "card-head" }, h("h3", {}, zone.zone), badge(known)),
    zone.reason ? h("p", { class: "because" }, zone.reason) : null,
    h("p", { class: "soft" }, `${zone.kind === "domain" ? "domains" : "addresses"}, every ${span(zone.interval_seconds * 1000)}, since `, time(zone.since)),
    h("div", { class: "flags" }, listed ? h("span", { class: "flag bad" }, icon("suspended"), `lists ${listed} of ours`) : zone.health === "healthy" ? h("span", { class: "flag good" }, icon("active"), "lists none of ours") : h("span", { class: "flag idle" }, icon("unknown"), "says nothing that counts"), zone.probes.map((probe) => h("span", { class: `flag ${probe.ok ? "good" : "bad"}` }, icon(probe.ok ? "active" : "suspended"), `${probe.probe} ${probe.ok ? "right" : "wrong"}`))),
    zone.budget_left !== null && zone.budget_left !== undefined ? h("p", { class: "soft" }, `${exactly(zone.budget_left)} questions left of ${exactly(zone.queries_per_day)} a day`) : null,
    answers ? h("p", { class: "soft" }, answers) : null);
}

function said(listing) {
  if (!listing) return h("span", { class: "soft" }, "not asked");
  const known = SAYS[listing.state];
  const answered = listing.last_conclusive;
  const age = answered ? span(serverNow() - Date.parse(answered)) : "never";
  const words = `${listing.binding} on ${listing.zone}: ${known.label}${listing.pending ? ", a change waits for its confirmation" : ""}, answered ${answered ? `${age} ago` : "never"}`;
  return h("button", { type: "button", class: `cell ${known.tone}`, title: words, "aria-label": words, "aria-haspopup": "dialog", on: { click: () => listingPanel(listing) } }, icon(known.icon), h("span", {}, age), listing.pending ? h("span", {}, "…") : null);
}

function reverseSaid(reverse) {
  if (!reverse) return h("span", { class: "soft" }, "–");
  const known = reverse.confirmed === null ? { icon: "unknown", tone: "idle", label: "Unknown" } : reverse.confirmed ? { icon: "active", tone: "good", label: "Confirmed" } : { icon: "suspended", tone: "bad", label: "Broken" };
  return h("span", { class: `cell ${known.tone}`, title: reverse.detail }, icon(known.icon), h("span", {}, known.label));
}

function listingPanel(listing) {
  const shown = panel(`${listing.binding} on ${listing.zone}`);
  const zone = state.board?.zones.find((zone) => zone.name === listing.zone);
  const when = (at) => (at ? [time(at, "ago", true), h("span", { class: "soft" }, ` (${exact(at)})`)] : "never");
  shown.show(h("p", {}, badge(SAYS[listing.state]), listing.certain ? h("span", { class: "soft" }, " certain") : null),
    h("dl", { class: "facts" }, zone ? fact("The zone is", plain(zone.health), zone.reason ? h("span", { class: "soft" }, ` ${zone.reason}`) : null) : null, listing.codes ? fact("Codes", listing.codes) : null, listing.text ? fact("It says", quote(listing.text)) : null, fact("Weight", String(listing.weight)), fact("First seen", when(listing.first_seen)), fact("Confirmed", when(listing.confirmed_at)), fact("Last clean", when(listing.last_clean)), fact("Last answer that counts", when(listing.last_conclusive)), listing.pending ? fact("Pending", "a change waits for its confirmation") : null));
}
