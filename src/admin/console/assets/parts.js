// What several screens draw: badges, bars, sparklines, tables, panels, filters that stay.

import { h, s, show } from "./dom.js";
import { icon } from "./icons.js";
import { count, exactly, onClock, percent, plural, serverNow } from "./words.js";

export function badge(state, more) {
  return h("span", { class: `badge ${state.tone}` }, icon(state.icon), h("span", {}, state.label), more);
}

// A bar for what is used of what is allowed, with what is on the wire behind it and where the day stands.
export function bar({ used, reserved = 0, limit, at, label, tone = "" }) {
  const of = (n) => `${Math.min(100, limit > 0 ? (100 * n) / limit : 100)}%`;
  const vars = { "--used": of(used), "--held": of(used + reserved) };
  if (at !== undefined) vars["--at"] = `${100 * at}%`;
  const full = used + reserved >= limit ? " full" : "";
  return h("div", { class: `bar ${tone}${full}${at === undefined ? "" : " paced"}`, vars, role: "img", "aria-label": label });
}

// How much of the day has passed, 0 to 1; a day is taken for 24 hours long.
export function dayPassed(resetsAt) {
  const left = Date.parse(resetsAt) - serverNow();
  return Math.min(1, Math.max(0, 1 - left / 86400000));
}

export function capLine(cap, pace) {
  const at = pace === "none" ? undefined : dayPassed(cap.resets_at);
  const label = `Daily cap: ${exactly(cap.used)} of ${exactly(cap.limit)} used, ${exactly(cap.reserved)} on the wire`;
  return h("div", { class: "meter" },
    h("span", { class: "meter-name" }, "Cap"),
    bar({ ...cap, at, label }),
    h("span", { class: "meter-value", title: label }, h("b", {}, count(cap.used)), ` / ${count(cap.limit)}`, cap.reserved ? h("span", { class: "soft" }, ` +${count(cap.reserved)}`) : null));
}

// A binding in warm-up has its stage's allowance for a cap: then the stage says it all.
export function capOf(binding) {
  const whole = binding.warmup.find((ladder) => !ladder.provider);
  return binding.cap && !(whole && binding.cap.limit === whole.allowance) ? binding.cap : null;
}

export function warmLine(ladder) {
  const where = ladder.provider ? ` at ${ladder.provider}` : "";
  const label = `Warm-up${where}: stage ${ladder.stage + 1} of ${ladder.stages}, ${exactly(ladder.accepted)} of today's ${exactly(ladder.allowance)} used`;
  return h("div", { class: "meter" },
    h("span", { class: "meter-name", title: label }, `Stage ${ladder.stage + 1}/${ladder.stages}`, ladder.provider ? h("span", { class: "soft" }, ` ${ladder.provider}`) : null),
    bar({ used: ladder.accepted, limit: ladder.allowance, label, tone: "warm" }),
    h("span", { class: "meter-value", title: label }, h("b", {}, count(ladder.accepted)), ` / ${count(ladder.allowance)}`));
}

const KINDS = [["delivered", "good"], ["deferred", "warn"], ["bounced", "bad"]];

export function sum(numbers) {
  return numbers.reduce((all, n) => all + n, 0);
}

// Sixty minutes as stacked columns: what was delivered below, what was put off and refused on top.
export function spark(minutes, label, tall = 30) {
  const empty = !minutes || !KINDS.some(([kind]) => minutes[kind].some((n) => n > 0));
  const said = empty ? `${label}: nothing` : `${label}: ${KINDS.map(([kind]) => `${exactly(sum(minutes[kind]))} ${kind}`).join(", ")}`;
  const frame = (...inside) => s("svg", { class: "spark", viewBox: `0 0 240 ${tall}`, preserveAspectRatio: "none", role: "img", "aria-label": said }, s("title", {}, said), s("path", { class: "ground", d: `M0 ${tall - 0.5}H240` }), inside);
  if (empty) return frame();
  const steps = minutes.delivered.length;
  const wide = 240 / steps;
  const totals = minutes.delivered.map((_, n) => sum(KINDS.map(([kind]) => minutes[kind][n])));
  const most = Math.max(...totals);
  const height = (n) => (n / most) * (tall - 2);
  const below = new Array(steps).fill(0);
  const paths = KINDS.map(([kind, tone]) => {
    let d = "";
    minutes[kind].forEach((n, at) => {
      if (n === 0) return;
      const tallness = Math.max(1, height(n));
      const top = tall - 0.5 - below[at] - tallness;
      below[at] += tallness;
      d += `M${(at * wide + 0.4).toFixed(1)} ${Math.max(0, top).toFixed(1)}h${(wide - 0.8).toFixed(1)}v${tallness.toFixed(1)}h-${(wide - 0.8).toFixed(1)}z`;
    });
    return d ? s("path", { class: `column ${tone}`, d }) : null;
  });
  return frame(paths);
}

// How many a minute just now: the minute under way, and what is missing of it from the one before.
export function rate(numbers) {
  const [before, now] = numbers.slice(-2);
  const passed = (serverNow() % 60000) / 60000;
  return Math.round(now + before * (1 - passed));
}

export function hourOf(tally) {
  const all = tally.delivered + tally.deferred + tally.bounced;
  return { all, share: percent(tally.delivered, all) };
}

// A table that scrolls by itself where it does not fit; the keyboard can, too.
export function table(caption, columns, rows, props = {}) {
  const heads = columns.map((column) => h("th", { scope: "col", class: column.class }, column.name));
  return h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: 0 },
    h("table", props, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows)));
}

export function empty(...words) {
  return h("p", { class: "empty" }, words);
}

export function fact(name, ...value) {
  return h("div", { class: "fact" }, h("dt", {}, name), h("dd", {}, value));
}

// Text somebody else wrote: a reply, evidence.
export function quote(text) {
  return h("q", { class: "quote" }, text);
}

export function refusalLine(refusal, when) {
  return h("div", { class: "refusal" }, quote(refusal.text), h("span", { class: "soft" }, refusal.destination, " · ", when));
}

export function button(text, click, props = {}) {
  return h("button", { type: "button", ...props, on: { click } }, text);
}

// A panel over the page; Escape and a click outside close it, and focus goes back to where it came from.
export function panel(title, kind = "side") {
  const back = document.activeElement;
  const body = h("div", { class: "panel-body" });
  const id = `panel-${Math.random().toString(36).slice(2)}`;
  const close = h("button", { type: "button", class: "plain", "aria-label": "Close", on: { click: () => dialog.close() } }, icon("close"));
  const heading = h("h2", { id, tabindex: -1 }, title);
  const dialog = h("dialog", { class: `panel ${kind}`, "aria-labelledby": id, on: { click: (event) => event.target === dialog && dialog.close() } }, h("div", { class: "panel-frame" }, h("div", { class: "panel-head" }, heading, close), body));
  document.body.append(dialog);
  const ends = [];
  dialog.addEventListener("close", () => {
    ends.forEach((end) => end());
    dialog.remove();
    if (back instanceof HTMLElement && back.isConnected) back.focus();
  });
  dialog.showModal();
  heading.focus();
  return { dialog, body, show: (...children) => show(body, children), onClose: (end) => ends.push(end), close: () => dialog.close() };
}

// Says something to those who see and those who hear; it goes away by itself.
let silence = 0;
export function say(text, tone = "good") {
  const said = document.getElementById("said");
  show(said, h("p", { class: `toast ${tone}` }, text));
  clearTimeout(silence);
  silence = setTimeout(() => show(said), 7000);
}

// A labelled control.
let ids = 0;
export function field(label, control, hint) {
  control.id ||= `field-${++ids}`;
  const note = hint ? h("small", { id: `${control.id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note);
}

export function select(options, value, props = {}) {
  const one = ([key, label]) => h("option", { value: key, selected: key === value }, label);
  return h("select", props, options.map(one));
}

// At most `limit` of `items`, and a button for the rest.
export function more(shown, all, click) {
  if (shown >= all) return null;
  return h("p", { class: "more" }, `${plural(shown, "is", "are")} shown of ${count(all)}. `, button("Show more", click));
}

export function ageOf(received) {
  return onClock(received);
}
