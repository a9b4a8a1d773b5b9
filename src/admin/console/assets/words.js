// Numbers, times and names as people read them.

import { h } from "./dom.js";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

let skew = 0;

// The relay's clock decides what is past: browsers' are often wrong.
export function setServerTime(at) {
  skew = Date.parse(at) - Date.now();
}

export function serverNow() {
  return Date.now() + skew;
}

export function count(n) {
  return n >= 100000 ? short.format(n) : whole.format(n);
}

export function exactly(n) {
  return whole.format(n);
}

export function percent(part, all) {
  return all > 0 ? `${Math.floor((100 * part) / all)} %` : "–";
}

export function plural(n, one, many) {
  return `${count(n)} ${n === 1 ? one : many || `${one}s`}`;
}

// A span in its two largest units.
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = parts.findIndex(([, unit]) => seconds >= unit);
  if (first < 0) return "0 s";
  const [name, unit] = parts[first];
  const next = parts[first + 1];
  const rest = next ? Math.floor((seconds % unit) / next[1]) : 0;
  const big = Math.floor(seconds / unit);
  return rest > 0 && big < 10 ? `${big} ${name} ${rest} ${next[0]}` : `${big} ${name}`;
}

export function exact(at) {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? String(at) : day.format(date);
}

export function onClock(at) {
  return clock.format(new Date(at));
}

function relative(at, how) {
  const ms = Date.parse(at) - serverNow();
  if (how === "age") return span(-ms);
  if (how === "in") return ms > 0 ? `in ${span(ms)}` : "now";
  if (how === "left") return ms > 0 ? `${span(ms)} left` : "ending";
  return ms < -1500 ? `${span(-ms)} ago` : ms > 1500 ? `in ${span(ms)}` : "now";
}

// A moment in relative words that go on by themselves; exact on hover, and on focus where it stands alone.
export function time(at, how = "ago", focusable = false) {
  if (!at) return h("span", { class: "soft" }, "–");
  const said = exact(at);
  return h("time", { datetime: at, "data-how": how, title: said, "data-exact": said, tabindex: focusable ? 0 : undefined }, relative(at, how));
}

// Once a second: what has become later.
export function tick() {
  for (const element of document.querySelectorAll("time[data-how]")) {
    const text = relative(element.getAttribute("datetime"), element.dataset.how);
    if (element.textContent !== text) element.textContent = text;
  }
}

// `route_suspended` → `route suspended`
export function plain(text) {
  return String(text ?? "").replaceAll("_", " ");
}

const WAITS = {
  retry: "its next try is later",
  dns: "DNS gave no answer",
  slots: "its tenant or receiver has its share of the attempts under way",
  resolving: "the receiver is being looked up",
  in_flight: "on the wire",
  ready: "ready to go",
  cap: "the daily cap is used up",
  pace: "the cap is ahead of its pace",
  warmup: "today's warm-up is used up",
  reserved: "the rest of the warm-up is kept for engaged recipients",
  suspended: "every binding is suspended",
  route_suspended: "suspended at this receiver",
  operator_suspended: "taken out by the operator",
  operator_held: "held by the operator",
  held: "held by the operator",
  tenant_held: "the receiver refuses the sender",
  probation: "the trickle of this period is used up",
  back_off: "the receiver asked for less",
  window_full: "all connections are in use",
  rate_limited: "ahead of its rate",
  excluded: "the address was blamed for this mail",
  spf_not_covered: "the sender's SPF does not cover the free bindings",
  drained: "drained",
};

// Why something waits, in words; its stable name where there are none.
export function why(reason) {
  return WAITS[reason] || plain(reason);
}
