// In which state a binding or a route is, in one word, one shape and one sentence.

import { plain } from "./words.js";

const STATES = {
  suspended: { rank: 0, label: "Suspended", icon: "suspended", tone: "bad" },
  off: { rank: 1, label: "Off", icon: "off", tone: "idle" },
  drained: { rank: 2, label: "Drained", icon: "off", tone: "idle" },
  probation: { rank: 3, label: "Probation", icon: "probation", tone: "trial" },
  throttled: { rank: 4, label: "Throttled", icon: "throttled", tone: "warn" },
  full: { rank: 5, label: "Cap used up", icon: "full", tone: "warn" },
  warm: { rank: 6, label: "Warm-up used up", icon: "full", tone: "warn" },
  active: { rank: 9, label: "Active", icon: "active", tone: "good" },
  idle: { rank: 10, label: "No mail", icon: "idle", tone: "idle" },
};

export const ORDER = Object.keys(STATES);

export function stateOf(key) {
  return { key, ...(STATES[key] || { rank: 0, label: plain(key), icon: "unknown", tone: "idle" }) };
}

// The state of a binding; `weight` is what it has in the pool that is looked at.
export function ofBinding(binding, weight) {
  if (binding.health === "suspended") return stateOf("suspended");
  if (binding.is_off) return stateOf("off");
  if (weight === 0) return stateOf("drained");
  if (binding.health !== "active") return stateOf(binding.health);
  const whole = binding.warmup.find((ladder) => !ladder.provider);
  if (whole && whole.accepted >= whole.allowance) return stateOf("warm");
  const cap = binding.cap;
  if (cap && cap.used + cap.reserved >= cap.limit) return stateOf("full");
  return stateOf("active");
}

// What holds a binding back, for a sentence; null where nothing does.
export function reasonOf(binding, state) {
  if (state.key === "off") return "switched off in the configuration";
  if (state.key === "drained") return "gets no new mail in this pool";
  if (state.key === "full") return "until the day ends";
  if (state.key === "warm") return "until the day ends";
  return binding.reason ? plain(binding.reason) : null;
}

// Whether somebody should look at it.
export function isTrouble(binding, weight) {
  return ofBinding(binding, weight).rank < 9 || binding.routes.some((route) => route.health !== "active") || binding.listings.listed.length > 0 || binding.reverse === false;
}

export const OTHER = "other";

// The state of a binding at a destination label, with what is known of it there; `weight` is its heaviest in any pool.
export function ofRoute(binding, destination, providers, weight) {
  const routes = binding.routes.filter((route) => route.destination === destination || (destination === OTHER && !providers.has(route.destination)));
  const worst = routes.filter((route) => route.health !== "active").sort((a, b) => stateOf(a.health).rank - stateOf(b.health).rank)[0];
  const past = binding.past.find((past) => past.destination === destination);
  const whole = ofBinding(binding, weight);
  const ladder = binding.warmup.find((ladder) => ladder.provider === destination);
  if (["suspended", "off", "drained"].includes(whole.key)) return { state: whole, routes, past, everywhere: true };
  if (worst) return { state: stateOf(worst.health), routes, worst, past };
  if (whole.key !== "active") return { state: whole, routes, past, everywhere: true };
  if (ladder && ladder.accepted >= ladder.allowance) return { state: stateOf("warm"), routes, past };
  return { state: stateOf(past ? "active" : "idle"), routes, past };
}
