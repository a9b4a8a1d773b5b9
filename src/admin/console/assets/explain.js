// Why a message goes or waits: one that is in the queue, or one that might come.

import { get, name as escape, query } from "./api.js";
import { h, show } from "./dom.js";
import { state } from "./live.js";
import { empty, fact, field, table } from "./parts.js";
import { exact, exactly, plain, time, why } from "./words.js";

export function explain(main, to) {
  const given = (name) => to.parameters.get(name) || "";
  const id = h("input", { type: "text", value: given("id"), autocomplete: "off", spellcheck: "false", placeholder: "entry or message id" });
  const tenant = h("input", { type: "text", value: given("tenant"), autocomplete: "off", list: "tenants", required: true });
  const domain = h("input", { type: "text", value: given("to"), autocomplete: "off", required: true, placeholder: "example.org" });
  const stream = h("input", { type: "text", value: given("stream"), autocomplete: "off", placeholder: "default" });
  const from = h("input", { type: "text", value: given("from"), autocomplete: "off", placeholder: "not asked" });
  const tenants = h("datalist", { id: "tenants" });
  const answer = h("div", { "aria-live": "polite" });
  show(main, h("div", { class: "screen" }, h("div", { class: "screen-head" }, h("h1", { tabindex: -1 }, "Explain")),
    h("div", { class: "columns" },
      h("form", { class: "box", "aria-labelledby": "sec-one", on: { submit: (event) => { event.preventDefault(); one(); } } }, h("h2", { id: "sec-one" }, "A message that waits"), field("Id", id, "As logs, events and the client's 250 name it."), h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Explain"))),
      h("form", { class: "box", "aria-labelledby": "sec-two", on: { submit: (event) => { event.preventDefault(); two(); } } }, h("h2", { id: "sec-two" }, "A message that might come"), tenants, h("div", { class: "filter-grid" }, field("Tenant", tenant), field("Recipient domain", domain), field("Stream", stream), field("Sender domain", from)), h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Suppose")))),
    answer));

  async function ask(path, fields, address) {
    history.replaceState(null, "", `#/explain${query(address)}`);
    show(answer, h("p", { class: "soft" }, "…"));
    try {
      const { entries } = await get(path, { ...fields, limits: true });
      show(answer, entries.length ? entries.map((entry) => explained(entry, true)) : empty("Nothing to explain."));
    } catch (error) {
      show(answer, h("p", { class: "notice bad", role: "alert" }, error.message));
    }
  }
  const one = () => id.value.trim() && ask(`/api/v1/explain/${escape(id.value.trim())}`, {}, { id: id.value.trim() });
  const two = () => {
    const fields = { tenant: tenant.value.trim(), to: domain.value.trim(), stream: stream.value.trim(), from: from.value.trim() };
    ask("/api/v1/explain", fields, fields);
  };
  if (id.value) one();
  else if (tenant.value && domain.value) two();

  return { update: () => show(tenants, (state.board?.tenants || []).slice(0, 500).map((one) => h("option", { value: one.name }))) };
}

// What was said of one entry; `whole` with its facts and limits.
export function explained(entry, whole) {
  const rows = entry.bindings.map((said) => h("tr", { key: said.binding, class: said.verdict === "eligible" ? "yes" : "" },
    h("th", { scope: "row" }, h("a", { href: `#/binding/${escape(said.binding)}` }, said.binding)),
    h("td", {}, said.tier === 0 ? "active" : `backup ${said.tier}`),
    h("td", {}, h("span", { class: `flag ${said.verdict === "eligible" ? "good" : "warn"}` }, plain(said.verdict)), h("span", { class: "soft" }, ` ${said.words}`)),
    h("td", { class: "n" }, said.until ? time(said.until, "in") : "–"),
    h("td", { class: "n" }, said.left_today === null || said.left_today === undefined ? "–" : exactly(said.left_today))));
  const verdicts = table("What each binding says", [{ name: "Binding" }, { name: "Tier" }, { name: "Verdict" }, { name: "Changes", class: "n" }, { name: "Left today", class: "n" }], rows);
  if (!whole) return verdicts;
  return h("section", { class: "box", "aria-label": `To ${entry.domain}` },
    h("dl", { class: "facts" }, entry.id ? fact("Entry", h("span", { class: "mono" }, entry.id), h("span", { class: "soft" }, ` of message ${entry.message}`)) : null, fact("Tenant", entry.tenant), fact("Pool", entry.pool), fact("To", entry.domain, entry.destination ? h("span", { class: "soft" }, ` → ${entry.destination}`) : null), entry.id ? fact("Tries", exactly(entry.attempts)) : null, entry.expires ? fact("Given up", time(entry.expires, "in", true), h("span", { class: "soft" }, ` (${exact(entry.expires)})`)) : null, entry.waits_for ? fact("Waits, because", why(entry.waits_for), entry.waits_until ? [", ", time(entry.waits_until, "in", true)] : null) : null),
    verdicts,
    entry.bindings.filter((said) => said.predicted).slice(0, 8).map((said) => h("p", { class: "soft" }, h("b", {}, said.binding), `: ${said.predicted.words}`)),
    h("details", {}, h("summary", {}, "Limits and who set them"), [["The tenant", entry.limits || []], ...entry.bindings.slice(0, 20).map((said) => [said.binding, said.limits || []])].filter(([, limits]) => limits.length).map(([name, limits]) => [h("h3", {}, name), table(`Limits of ${name}`, [{ name: "Limit" }, { name: "Value" }, { name: "Set by" }], limits.map((limit) => h("tr", {}, h("th", { scope: "row" }, plain(limit.name)), h("td", {}, limit.value), h("td", { class: "soft" }, limit.key ? `${limit.key}${limit.at ? ` (${limit.at})` : ""}` : "default"))))])));
}

