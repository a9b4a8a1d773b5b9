// One route in a panel: how it is there and why, its window, what waits, which limits hold and who set them.

import { h } from "./dom.js";
import { heaviest } from "./frame.js";
import { mayAct, state, subscribe } from "./live.js";
import { actWith, limitsOf } from "./acts.js";
import { badge, button, empty, fact, hourOf, panel, quote, refusalLine, table } from "./parts.js";
import { ofRoute, OTHER } from "./states.js";
import { exact, exactly, plain, plural, time, why } from "./words.js";
import { name as escape } from "./api.js";

export function routePanel(name, destination) {
  const shown = panel(`${name} at ${destination}`);
  let limits = null;
  let failed = "";
  const draw = () => {
    const binding = state.byName.get(name);
    if (!binding) return shown.show(empty("There is no such binding any more."));
    shown.show(content(binding, destination, limits, failed));
  };
  shown.onClose(subscribe(draw));
  draw();
  limitsOf({ binding: name, provider: destination === OTHER ? "" : destination }).then((found) => { limits = found; draw(); }, (error) => { failed = error.message; draw(); });
}

function until(at) {
  return at ? [time(at, "left"), h("span", { class: "soft" }, ` (${exact(at)})`)] : "the cause is gone";
}

function content(binding, destination, limits, failed) {
  const board = state.board;
  const { state: of, routes, past, everywhere } = ofRoute(binding, destination, new Set(board.destinations), heaviest(board, binding.name));
  const waiting = board.queue.waiting.filter((group) => group.destination === destination || (destination === OTHER && !board.destinations.includes(group.destination)));
  const pools = new Set(board.pools.filter((pool) => pool.tiers.flat().some((seat) => seat.binding === binding.name)).map((pool) => pool.name));
  const there = waiting.filter((group) => pools.has(group.pool));
  const hour = past ? hourOf(past.hour) : null;
  return [
    h("p", {}, badge(of), everywhere ? h("span", { class: "soft" }, " at every receiver") : null),
    everywhere ? h("dl", { class: "facts" }, fact("Why", plain(binding.reason || of.label)), of.key === "suspended" || binding.until ? fact("Until", until(binding.until)) : null, binding.evidence ? fact("Evidence", quote(binding.evidence)) : null) : null,
    routes.map((route) => h("dl", { class: "facts" }, destination === OTHER ? fact("Receiver", route.destination) : null,
      fact("Verdict", `${plain(route.health)}${route.reason ? `: ${plain(route.reason)}` : ""}`),
      route.health !== "active" ? fact("Until", until(route.until)) : null,
      route.evidence ? fact("Evidence", quote(route.evidence)) : null,
      route.window ? fact("Window", `${route.window.in_use} in use of ${route.window.limit} (at most ${route.window.ceiling})`, route.window.paused_until ? [", paused, ", time(route.window.paused_until, "left")] : null) : null,
      // The buttons below are for all of them at once.
      destination === OTHER && route.health !== "active" ? fact("This one", button(`Resume at ${route.destination} …`, () => actWith(binding.name, "resume", route.destination), { disabled: !mayAct() })) : null)),
    h("h3", {}, "Last hour"),
    hour ? h("p", {}, `${exactly(hour.all)} attempts: ${hour.share} delivered, ${exactly(past.hour.deferred)} deferred, ${exactly(past.hour.bounced)} bounced.`) : h("p", { class: "soft" }, "No attempt."),
    past?.refusal ? [h("h3", {}, "Last refusal"), refusalLine(past.refusal, time(past.refusal.at, "ago", true)), h("p", { class: "soft" }, `Rule ${past.refusal.rule}; its fault: ${plain(past.refusal.scope)}`)] : null,
    h("h3", {}, "Waiting for it in its pools"),
    there.length ? h("ul", { class: "plain-list" }, there.slice(0, 12).map((group) => h("li", {}, h("a", { href: `#/queue?pool=${escape(group.pool)}&destination=${escape(group.destination)}&reason=${escape(group.reason)}` }, plural(group.recipients, "recipient")), ` in ${group.pool}: ${why(group.reason)}`, group.next_at ? [", next ", time(group.next_at)] : null))) : h("p", { class: "soft" }, "Nothing."),
    h("h3", {}, "Limits"),
    limits ? table(`Limits of ${binding.name} at ${destination}`, [{ name: "Limit" }, { name: "Value" }, { name: "Set by" }], limits.map((limit) => h("tr", {}, h("th", { scope: "row" }, plain(limit.name)), h("td", {}, limit.value), h("td", { class: "soft" }, limit.key ? `${limit.key}${limit.at ? ` (${limit.at})` : ""}` : "default")))) : h("p", { class: "soft" }, failed || "…"),
    h("div", { class: "buttons" },
      button(destination === OTHER ? "Suspend everywhere …" : `Suspend at ${destination} …`, () => actWith(binding.name, "suspend", destination === OTHER ? "" : destination), { disabled: !mayAct() }),
      button(destination === OTHER ? "Resume everywhere …" : "Resume …", () => actWith(binding.name, "resume", destination === OTHER || everywhere ? "" : destination), { disabled: !mayAct() }),
      h("a", { class: "button", href: `#/binding/${escape(binding.name)}` }, "The binding")),
  ];
}

