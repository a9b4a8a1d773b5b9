// Acts on bindings, pools and tenants: what, why, for how long. No act without a reason; each says what came of it.

import { get, name as escape, post, remove } from "./api.js";
import { h, show } from "./dom.js";
import { refreshSoon, state } from "./live.js";
import { button, field, panel, say, select } from "./parts.js";

const SPANS = [["30m", "30 minutes"], ["2h", "2 hours"], ["8h", "8 hours"], ["1d", "a day"], ["7d", "a week"], ["", "until taken back"], ["other", "another span …"]];

// What may be done with a binding: which fields it needs, and what it means in a sentence.
const ACTS = {
  suspend: { label: "Suspend", means: "No mail leaves over it; what waits goes over the others or waits.", at: true, span: "2h", dry: true, done: "is suspended" },
  resume: { label: "Resume", means: "Ends a suspension, whatever its cause, and a drain. With a span: automation does not take it out again for so long.", at: true, span: "", spans: [["", "may be taken out again"], ["2h", "spared for 2 hours"], ["1d", "spared for a day"], ["other", "another span …"]], dry: true, done: "is resumed" },
  drain: { label: "Drain", means: "No new attempt; what is on the wire ends as it would.", span: "", dry: true, done: "drains" },
  "set-cap": { label: "Set the daily cap", means: "Another daily cap, from now on; what was used today stays used.", span: "1d", cap: true, dry: true, done: "has another cap" },
  "set-stage": { label: "Set the warm-up stage", means: "Its ladder goes on from another stage.", stage: true, done: "is at another stage" },
  remove: { label: "Remove", means: "It takes no more mail, what is on the wire ends as it would, and then it is gone. What waits leaves by the others.", span: "", dry: true, done: "is removed", danger: true },
};

function spanField(value, spans = SPANS) {
  const choice = select(spans, value, {});
  const text = h("input", { type: "text", placeholder: "such as 90m or 3d", "aria-label": "Another span", pattern: "\\s*([0-9]+\\s*(ms|s|sec|m|min|h|d|w)\\s*)+", title: "A whole number and a unit: 90m, 2h, 3d", autocomplete: "off" });
  const wanted = () => choice.value === "other";
  const change = () => asked(text, wanted());
  choice.addEventListener("change", () => {
    change();
    if (wanted()) text.focus();
  });
  change();
  return { element: h("div", { class: "span" }, field("For how long", choice), text), read: () => (wanted() ? text.value.trim() : choice.value) };
}

// A control that is asked for has to be filled in; one that is not is out of sight, and what stands in it stops nothing.
function asked(control, is) {
  control.hidden = !is;
  control.disabled = !is;
  control.required = is;
}

// What an act changed, in words.
function outcome(answer) {
  const changes = answer?.changes || [];
  const warnings = answer?.warnings || [];
  const line = ({ key, from, to }) => h("li", {}, h("b", {}, key), `: ${from ?? "not there"} → ${to ?? "gone"}`);
  return [
    h("p", {}, answer?.message || "Nothing."),
    answer?.delete?.length ? [h("p", {}, "To make it last, delete from the file:"), h("ul", { class: "changes" }, answer.delete.map((line) => h("li", {}, line)))] : null,
    changes.length ? h("ul", { class: "changes" }, changes.map(line)) : null,
    warnings.map((warning) => h("p", { class: "notice warn" }, String(warning))),
  ];
}

// A dialog that carries out `send(body)` with a reason and, where `span` is given, an expiry.
function form(title, { means, fields = [], span, spans, submit, danger, send, dry, done }) {
  const shown = panel(title, "middle");
  const reason = h("input", { type: "text", required: true, maxlength: 500, autocomplete: "off" });
  const time = span === undefined ? null : spanField(span, spans);
  const said = h("div", { class: "answer", role: "alert" });
  const act = h("button", { type: "submit", class: danger ? "primary danger" : "primary" }, submit);
  // What is taken back has no end that could be chosen.
  const endless = () => fields.some((part) => part.endless?.());
  const read = (isDry) => {
    const body = { reason: reason.value.trim() };
    for (const part of fields) Object.assign(body, part.read());
    const lasts = endless() ? "" : time?.read();
    if (lasts) body.for = lasts;
    if (isDry) body.dry_run = true;
    return body;
  };
  const run = async (isDry) => {
    if (!element.reportValidity()) return;
    act.disabled = true;
    try {
      const answer = await send(read(isDry));
      if (isDry) show(said, outcome(answer));
      else {
        refreshSoon();
        // What one has to copy is not shown for some seconds only.
        if (answer?.delete?.length) return finished(shown, answer);
        shown.close();
        const warnings = answer?.warnings || [];
        say([`${answer?.message || done}.`.replace("..", "."), ...warnings].join(" "), warnings.length ? "warn" : "good");
      }
    } catch (error) {
      show(said, h("p", { class: "notice bad" }, error.message));
    }
    act.disabled = false;
  };
  const element = h("form", { on: { submit: (event) => { event.preventDefault(); run(false); } } },
    h("p", { class: "soft" }, means),
    fields.map((part) => part.element),
    field("Reason", reason, "Goes into the record with your name."),
    time?.element,
    said,
    h("div", { class: "buttons" }, act, dry ? button("What would change?", () => run(true)) : null, button("Cancel", () => shown.close())));
  if (time) element.addEventListener("change", () => { time.element.hidden = endless(); });
  shown.show(element);
  (fields[0]?.element.querySelector("select, input") || reason).focus();
  return shown;
}

function finished(shown, answer) {
  const close = button("Close", () => shown.close(), { class: "primary" });
  shown.show(h("div", { class: "answer", role: "status" }, outcome(answer)), h("div", { class: "buttons" }, close));
  close.focus();
}

// Everywhere, the providers, and the sites without a provider where something is known of this binding.
function destinations(chosen, binding) {
  const providers = (state.board?.destinations || []).filter((name) => name !== "other");
  const sites = [...(binding?.routes || []).map((route) => route.destination), ...(chosen ? [chosen] : [])];
  const names = [...new Set([...providers, ...sites])];
  const control = select([["", "everywhere"], ...names.map((name) => [name, name])], chosen || "", {});
  return { element: field("Where", control), read: () => (control.value ? { destination: control.value } : {}) };
}

function capField(binding) {
  // What is configured: today's limit may be that of a warm-up, which is something else.
  const control = h("input", { type: "number", min: 1, step: 1, inputmode: "numeric", value: binding?.configured_cap ?? "" });
  const kind = select([["count", "this many recipients a day"], ["none", "no cap"], ["default", "as the file says"]], "count", {});
  const number = field("Recipients a day", control);
  const change = () => {
    asked(control, kind.value === "count");
    number.hidden = control.hidden;
  };
  kind.addEventListener("change", change);
  change();
  return { element: h("div", { class: "span" }, field("Daily cap", kind), number), endless: () => kind.value === "default", read: () => ({ cap: kind.value === "count" ? Number(control.value) : kind.value }) };
}

function stageFields(binding) {
  const ladders = binding?.warmup || [];
  const stage = h("input", { type: "number", min: 1, max: 99, step: 1, required: true, inputmode: "numeric" });
  const where = select(ladders.map((ladder) => [ladder.provider || "", ladder.provider ? `at ${ladder.provider}` : "as a whole"]), ladders[0]?.provider || "", {});
  const element = field("Stage", stage, " ");
  const change = () => {
    const ladder = ladders.find((ladder) => (ladder.provider || "") === where.value);
    stage.value = ladder ? ladder.stage + 1 : "";
    element.querySelector("small").textContent = ladder ? `Counted from 1; it stands on ${ladder.stage + 1} of ${ladder.stages}.` : "Counted from 1.";
  };
  where.addEventListener("change", change);
  change();
  return [
    { element: field("Ladder", where), read: () => (where.value ? { provider: where.value } : {}) },
    { element, read: () => ({ stage: Number(stage.value) - 1 }) },
  ];
}

// Which act first; then its dialog.
export function actOn(binding, at) {
  const known = state.byName.get(binding);
  const shown = panel(`Act on ${binding}`, "middle");
  const one = ([key, act]) => h("li", {}, h("button", { type: "button", class: `choice ${act.danger ? "danger" : ""}`, on: { click: () => { shown.close(); actWith(binding, key, at); } } }, h("b", {}, act.label), h("span", { class: "soft" }, act.means)));
  const fitting = Object.entries(ACTS).filter(([key]) => key !== "set-stage" || known?.warmup.length);
  const pools = (state.board?.pools || []).filter((pool) => pool.tiers.flat().some((seat) => seat.binding === binding));
  shown.show(h("ul", { class: "choices" }, fitting.map(one), pools.map((pool) => h("li", {}, h("button", { type: "button", class: "choice", on: { click: () => { shown.close(); moveTier(pool, binding); } } }, h("b", {}, `Move in ${pool.name}`), h("span", { class: "soft" }, "Into another tier of this pool, or with another weight."))))));
}

export function actWith(binding, key, at) {
  const act = ACTS[key];
  const known = state.byName.get(binding);
  const fields = [...(act.at ? [destinations(at, known)] : []), ...(act.cap ? [capField(known)] : []), ...(act.stage ? stageFields(known) : [])];
  form(`${act.label}: ${binding}`, { ...act, fields, submit: act.label, done: `${binding} ${act.done}.`, send: (body) => post(`/api/v1/bindings/${escape(binding)}/${key}`, body) });
}

function moveTier(pool, binding) {
  const weight = pool.tiers.flat().find((seat) => seat.binding === binding)?.weight;
  const tier = h("input", { type: "number", min: 0, step: 1, required: true, inputmode: "numeric", value: Math.max(0, pool.tiers.findIndex((tier) => tier.some((seat) => seat.binding === binding))) });
  const share = h("input", { type: "number", min: 0, max: 65535, step: 1, inputmode: "numeric", placeholder: weight === undefined ? "1" : `now ${weight}` });
  const fields = [{ element: field("Tier", tier, "0 is active, 1 the first backup."), read: () => ({ binding, tier: Number(tier.value) }) }, { element: field("Weight", share, "Empty: as the file has it."), read: () => (share.value === "" ? {} : { weight: Number(share.value) }) }];
  form(`Move ${binding} in ${pool.name}`, { means: "New attempts follow at once; what is on the wire ends as it would.", fields, span: "", submit: "Move", dry: true, done: `${binding} stands elsewhere in ${pool.name}.`, send: (body) => post(`/api/v1/pools/${escape(pool.name)}/move-tier`, body) });
}

export function holdTenant(tenant) {
  form(`Hold ${tenant}`, { means: "Its mail is taken in and waits.", span: "2h", submit: "Hold", dry: true, done: `${tenant} is held.`, send: (body) => post(`/api/v1/tenants/${escape(tenant)}/hold`, body) });
}

export function releaseTenant(tenant) {
  form(`Release ${tenant}`, { means: "Its mail goes on: the operator's hold ends, and those for what a receiver refused.", submit: "Release", dry: true, done: `${tenant} is released.`, send: (body) => post(`/api/v1/tenants/${escape(tenant)}/release`, body) });
}

export function assignTenant(tenant) {
  const pool = select((state.board?.pools || []).map((pool) => [pool.name, pool.name]), "", {});
  const stream = h("input", { type: "text", placeholder: "default", maxlength: 255, autocomplete: "off", pattern: "[^\\s:]+", title: "The name of a stream, without spaces or colons" });
  const fields = [{ element: field("Through the pool", pool), read: () => ({ pool: pool.value }) }, { element: field("Stream", stream, "Empty: default."), read: () => (stream.value ? { stream: stream.value } : {}) }];
  form(`Another pool for ${tenant}`, { means: "New mail of the stream goes through this pool, without a split; what waits stays where it is.", fields, span: "", submit: "Assign", dry: true, done: `${tenant} goes through another pool.`, send: (body) => post(`/api/v1/tenants/${escape(tenant)}/assign`, body) });
}

// Takes an order back, after asking.
export function cancelOrder(order, words) {
  const shown = panel(`Take back: ${words}`, "middle");
  const said = h("div", { class: "answer", role: "alert" });
  const run = async () => {
    try {
      const answer = await remove(`/api/v1/orders/${escape(order.id)}`);
      shown.close();
      const warnings = answer?.warnings || [];
      say([`${answer?.message || "The order is taken back"}.`, ...warnings].join(" "), warnings.length ? "warn" : "good");
      refreshSoon();
    } catch (error) {
      show(said, h("p", { class: "notice bad" }, error.message));
    }
  };
  shown.show(h("p", {}, `Ordered by ${order.actor}: ${order.reason}`), said, h("div", { class: "buttons" }, button("Take it back", run, { class: "primary" }), button("Cancel", () => shown.close())));
}

export async function limitsOf(fields) {
  return (await get("/api/v1/limits", fields)).limits;
}

export { ACTS };
