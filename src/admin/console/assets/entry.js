// One entry in a panel: where it goes, what was said, which bindings say what, and what may be done with it.

import { get, name as escape } from "./api.js";
import { actOnQueue, NAMES } from "./ask.js";
import { h } from "./dom.js";
import { mayAct } from "./live.js";
import { button, fact, panel, quote } from "./parts.js";
import { explained } from "./explain.js";
import { exact, exactly, plural, time, why } from "./words.js";

export function entryPanel(entry, changed) {
  const shown = panel(`Entry ${entry.id}`);
  let known = entry;
  let explanation = null;
  let failed = "";
  const draw = () => shown.show(
    h("dl", { class: "facts" },
      fact("Message", h("span", { class: "mono" }, known.message || "–")),
      fact("Tenant", known.tenant, known.stream ? h("span", { class: "soft" }, ` stream ${known.stream}`) : null),
      known.sender !== undefined ? fact("From", known.sender || "<> (a report)") : null,
      fact("To", known.domain, known.destination ? h("span", { class: "soft" }, ` → ${known.destination}`) : null, `, ${plural(known.recipients, "recipient")}`),
      fact("Pool", known.pool),
      fact("Arrived", time(known.arrived, "ago", true), h("span", { class: "soft" }, ` (${exact(known.arrived)})`)),
      known.expires ? fact("Given up", time(known.expires, "in", true), h("span", { class: "soft" }, ` (${exact(known.expires)})`)) : null,
      known.held ? fact("Held", `by ${known.held.actor}: ${known.held.reason}`, known.held.until ? [", ", time(known.held.until, "left", true)] : ", until released") : null,
      fact("Tries", exactly(known.attempts)),
      fact("Waits, because", why(known.reason), known.next_at ? [", next ", time(known.next_at, "in", true), h("span", { class: "soft" }, ` (${exact(known.next_at)})`)] : null),
      known.last_reply ? fact("Last reply", quote(known.last_reply)) : null,
      known.blamed?.length ? fact("Blamed for it", known.blamed.join(", ")) : null,
      known.excluded?.length ? fact("Avoids", known.excluded.map(({ binding, until }, n) => [n ? ", " : "", binding, " ", time(until, "left", true)])) : null),
    known.waiting?.length ? [h("h3", {}, "Recipients that wait"), h("ul", { class: "plain-list" }, known.waiting.slice(0, 50).map((one) => h("li", {}, h("span", { class: "mono" }, one.address), one.last_reply && known.waiting.length > 1 ? h("div", {}, quote(one.last_reply)) : null)), known.waiting.length > 50 ? h("li", { class: "soft" }, `and ${exactly(known.waiting.length - 50)} more`) : null)] : null,
    h("h3", {}, "What each binding says"),
    failed ? h("p", { class: "soft" }, failed) : explanation ? explanation.entries.map((one) => explained(one, false)) : h("p", { class: "soft" }, "…"),
    h("div", { class: "buttons" }, NAMES.map(([key, label]) => button(`${label} …`, () => actOnQueue(key, { ids: [entry.id] }, `entry ${entry.id}`, () => { shown.close(); changed?.(); }), { disabled: !mayAct(), class: key === "bounce" ? "danger" : "" }))));
  draw();
  get(`/api/v1/explain/${escape(entry.id)}`).then((answer) => { explanation = answer; draw(); }, (error) => { failed = error.status === 404 ? "It is not in the queue any more." : error.message; draw(); });
  // Where one entry can be asked for, there is more to know of it.
  get(`/api/v1/queue/${escape(entry.id)}`).then((answer) => { known = answer.entries?.find((one) => one.id === entry.id) || known; draw(); }, () => {});
}
