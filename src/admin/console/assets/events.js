// What happened, newest first; new ones come by themselves.

import { get, name as escape } from "./api.js";
import { h, show } from "./dom.js";
import { hear, KINDS, state } from "./live.js";
import { button, empty, field, select } from "./parts.js";
import { exact, onClock, plain } from "./words.js";

const KEPT = 500;
const SHOWN = 100;
const AGAIN = 5000;
const TONES = { suspended: "bad", listed: "bad", throttled: "warn", probation: "trial", active: "good", held: "warn", released: "good" };

export function events(main, to) {
  const filter = { kind: to.parameters.get("kind") || "", text: to.parameters.get("filter") || "" };
  let all = [];
  let failed = "";
  let loaded = false;
  let shown = SHOWN;
  let paused = false;
  let at = 0;
  const kind = select([["", "all kinds"], ...KINDS.map((name) => [name, plain(name)])], filter.kind, { on: { change: () => { filter.kind = kind.value; load(); } } });
  const text = h("input", { type: "search", placeholder: "binding, tenant, word …", value: filter.text, autocomplete: "off", on: { input: () => { filter.text = text.value; shown = SHOWN; draw(); } } });
  const pause = h("button", { type: "button", "aria-pressed": "false", on: { click: () => { paused = !paused; pause.setAttribute("aria-pressed", String(paused)); if (!paused) load(); } } }, "Pause");
  const list = h("div", {});
  show(main, h("div", { class: "screen" }, h("div", { class: "screen-head" }, h("h1", { tabindex: -1 }, "Events"), h("div", { class: "filters", role: "search" }, field("Kind", kind), field("Holds", text), pause)), list));

  async function load() {
    at = Date.now();
    try {
      all = (await get("/api/v1/events", { kind: filter.kind, limit: KEPT })).events.reverse();
      failed = "";
    } catch (error) {
      failed = error.message;
    }
    loaded = true;
    draw();
  }

  const deaf = hear((event) => {
    if (!event) return paused ? undefined : load();
    if (paused || (filter.kind && event.kind !== filter.kind) || all.some((known) => same(known, event))) return;
    all.unshift(event);
    all.length = Math.min(all.length, KEPT);
    draw();
  });

  function draw() {
    if (!loaded) return show(list, h("p", { class: "soft" }, "…"));
    const wanted = filter.text.trim().toLowerCase();
    const fitting = all.filter((event) => !wanted || Object.values(event).some((value) => String(value).toLowerCase().includes(wanted)));
    const groups = grouped(fitting);
    const some = groups.slice(0, shown);
    show(list, failed ? h("p", { class: "notice bad" }, failed) : null,
      some.length ? h("ol", { class: "events" }, some.map(eventRow)) : empty("Nothing of that kind yet."),
      groups.length > some.length ? h("p", { class: "more" }, `${some.length} of ${groups.length}. `, button("Show more", () => { shown += 2 * SHOWN; draw(); })) : null);
  }

  load();
  return {
    // Without a stream, by asking.
    update: () => { if (!paused && !state.streams && Date.now() - at > AGAIN) load(); },
    close: deaf,
  };
}

function same(one, other) {
  if (one.seq !== undefined && other.seq !== undefined) return String(one.seq) === String(other.seq);
  return JSON.stringify(one) === JSON.stringify(other);
}

const OWN = new Set(["also", "at", "kind", "seq", "binding", "destination", "tenant", "pool", "to", "from", "evidence", "reason", "act", "actor", "what", "until", "zone"]);

// One cause that moved many bindings at once is one line: the first event, with the others in `also`.
export function grouped(all) {
  const groups = [];
  for (const event of all) {
    const last = groups.at(-1);
    if (last && event.kind === "health" && ["kind", "destination", "from", "to", "reason"].every((name) => last[name] === event[name]) && Math.abs(Date.parse(last.at) - Date.parse(event.at)) < 2000) last.also.push(event);
    else groups.push({ ...event, also: [] });
  }
  return groups;
}

export function eventRow(event) {
  const bindings = [event, ...(event.also || [])].map((one) => one.binding).filter(Boolean);
  const subject = [...bindings.slice(0, 20).map((name) => h("a", { href: `#/binding/${escape(name)}` }, name)), bindings.length > 20 ? `and ${bindings.length - 20} more` : null, event.zone ? h("b", {}, event.zone) : null, event.tenant ? h("span", {}, event.tenant) : null, event.pool && !event.binding ? h("span", {}, event.pool) : null].filter(Boolean);
  const place = event.destination && event.destination !== "*" ? h("span", { class: "soft" }, ` at ${event.destination}`) : null;
  const move = event.to ? h("span", { class: `flag ${TONES[event.to] || ""}` }, event.from ? `${plain(event.from)} → ` : "", plain(event.to)) : null;
  const what = event.act || event.what || event.note || event.change;
  const small = event.kind === "access";
  const rest = Object.entries(event).filter(([name]) => !OWN.has(name) && name !== "note" && name !== "change");
  return h("li", { class: `event ${event.kind} ${small ? "small" : ""}`, key: event.seq ?? `${event.at} ${event.kind} ${event.binding || ""} ${event.destination || ""} ${event.zone || ""} ${event.to || ""} ${what || ""}` },
    h("time", { datetime: event.at, title: exact(event.at) }, onClock(event.at)),
    h("span", { class: "kind" }, plain(event.kind)),
    h("div", { class: "event-body" },
      h("p", { class: "event-line" }, event.actor ? h("b", {}, `${event.actor} `) : null, what ? h("span", {}, `${plain(what)} `) : null, subject.map((part, n) => [n ? " · " : "", part]), place, move ? [" ", move] : null, event.reason ? h("span", { class: "soft" }, ` ${plain(event.reason)}`) : null, event.until ? h("span", { class: "soft" }, ` until ${exact(event.until)}`) : null),
      event.evidence ? h("p", { class: "soft said-long" }, event.evidence) : null,
      rest.length ? h("p", { class: "soft rest" }, rest.map(([name, value]) => [h("span", { class: "name" }, plain(name)), " ", String(value), "  "])) : null));
}
