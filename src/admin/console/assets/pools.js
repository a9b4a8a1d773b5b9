// The board: every pool with its tiers, every binding as a card, and the herd of each pool as a row of marks.

import { get, name as escape } from "./api.js";
import { card } from "./card.js";
import { h, show } from "./dom.js";
import { icon } from "./icons.js";
import { state } from "./live.js";
import { empty, more } from "./parts.js";
import { isTrouble, ofBinding } from "./states.js";
import { count, plain, plural, time } from "./words.js";

const CARDS = 60; // on the screen at once, before one asks for more
const MARKS = 400; // of one pool
const PAST_EVERY = 10000;

export function pools(main, to) {
  const filter = { text: to.parameters.get("filter") || "", trouble: to.parameters.get("show") === "trouble", cards: CARDS };
  const past = { minutes: new Map(), names: "", at: 0, asking: false };
  const input = h("input", { type: "search", id: "filter-pools", placeholder: "Pool, binding or address", value: filter.text, autocomplete: "off", on: { input: () => { filter.text = input.value; filter.cards = CARDS; draw(); } } });
  const trouble = h("input", { type: "checkbox", id: "only-trouble", checked: filter.trouble, on: { change: () => { filter.trouble = trouble.checked; filter.cards = CARDS; draw(); } } });
  const place = h("div", { class: "pools" });
  show(main, h("div", { class: "screen" },
    h("div", { class: "screen-head" }, h("h1", { tabindex: -1 }, "Pools"),
      h("div", { class: "filters", role: "search" }, h("label", { class: "unseen", for: "filter-pools" }, "Filter pools and bindings"), input,
        h("label", { class: "check" }, trouble, " Only what needs a look"))),
    place));

  const fits = (binding, pool) => {
    const text = filter.text.trim().toLowerCase();
    return !text || [pool.name, binding.name, binding.public_address, binding.second_public_address ?? "", binding.ehlo].some((of) => of.toLowerCase().includes(text));
  };

  function draw() {
    const board = state.board;
    if (!board) return;
    let left = filter.cards;
    let wanted = 0;
    const names = [];
    const drawn = board.pools.map((pool) => {
      const tiers = pool.tiers.map((seats) => seats.map((seat) => ({ seat, binding: state.byName.get(seat.binding) })).filter(({ seat, binding }) => binding && fits(binding, pool) && (!filter.trouble || isTrouble(binding, seat.weight))));
      const all = tiers.reduce((n, tier) => n + tier.length, 0);
      wanted += all;
      if (all === 0) return null;
      if (left <= 0) return null;
      const cut = tiers.map((tier) => {
        const some = tier.slice(0, Math.max(0, left));
        left -= some.length;
        return some;
      });
      for (const { binding } of cut.flat()) names.push(binding.name);
      return section(pool, cut, board, past.minutes);
    });
    const shown = filter.cards - Math.max(0, left);
    const nothing = filter.trouble && !filter.text ? empty(icon("active", "good"), " Nothing needs a look.") : empty("Nothing fits.");
    show(place, wanted ? drawn : board.pools.length ? nothing : empty("No pool is configured."), more(shown, wanted, () => { filter.cards += 2 * CARDS; draw(); }));
    fetchPast(names);
  }

  // The minutes behind the sparklines: of what is on the screen, and not more often than they change much.
  async function fetchPast(names) {
    const asked = [...new Set(names)].slice(0, 500).join(" ");
    if (past.asking || (asked === past.names && Date.now() - past.at < PAST_EVERY) || !asked) return;
    Object.assign(past, { asking: true, names: asked, at: Date.now() });
    try {
      const answer = await get("/api/v1/console/past", { bindings: asked });
      past.minutes = new Map(Object.entries(answer.bindings));
      past.asking = false;
      draw();
    } catch {
      // The board itself says that the relay cannot be reached.
      past.asking = false;
    }
  }

  return { update: draw };
}

function section(pool, tiers, board, minutes) {
  const waiting = board.queue.waiting.filter((group) => group.pool === pool.name);
  const recipients = waiting.reduce((n, group) => n + group.recipients, 0);
  const oldest = waiting.map((group) => group.oldest).sort()[0];
  const out = Object.entries(pool.out).map(([verdict, n]) => `${n} ${plain(verdict)}`).join(", ");
  const all = pool.tiers.flat().length;
  const bad = pool.eligible === 0 ? "bad" : pool.eligible < pool.min_active ? "warn" : "";
  const id = `pool-${pool.name}`;
  return h("section", { class: `pool ${bad}`, key: pool.name, "aria-labelledby": id },
    h("header", { class: "pool-head" },
      h("h2", { id }, pool.name),
      h("span", { class: `able ${bad}`, title: out ? `Out: ${out}` : "None is out" }, h("b", {}, count(pool.eligible)), ` of ${count(all)} may carry mail`),
      pool.on_backup ? h("span", { class: "badge warn" }, icon("throttled"), "on backup") : null,
      h("a", { class: "soft wait", href: `#/queue?pool=${escape(pool.name)}` }, recipients ? [plural(recipients, "waits", "wait"), ", oldest ", time(oldest, "age")] : "nothing waits"),
      h("span", { class: "soft how" }, `${pool.spread}${pool.pace === "none" ? "" : `, pace ${pool.pace}`}`)),
    herd(pool),
    h("div", { class: "cards" }, tiers.map((cards, tier) => tierOf(cards, tier, pool, board, minutes))));
}

// Every binding of the pool as one mark, a gap between tiers.
function herd(pool) {
  const all = pool.tiers.flat().length;
  if (all < 6 || all > MARKS) return null;
  const one = (seat) => {
    const binding = state.byName.get(seat.binding);
    if (!binding) return null;
    const known = ofBinding(binding, seat.weight);
    return h("a", { class: known.tone, key: seat.binding, href: `#/binding/${escape(seat.binding)}`, title: `${seat.binding}: ${known.label}`, "aria-label": `${seat.binding}: ${known.label}` }, icon(known.icon));
  };
  return h("div", { class: "herd" }, pool.tiers.map((tier) => h("span", { class: "herd-tier" }, tier.map(one))));
}

function tierOf(cards, tier, pool, board, minutes) {
  const open = tier === 0 || (pool.on_backup && tier === 1);
  const name = tier === 0 ? "Active" : pool.tiers.length > 2 ? `Backup ${tier}` : "Backup";
  const standing = tier === 0 ? "" : open ? "open" : "in reserve";
  // One grid for all tiers; the first card of each stands under its name.
  return cards.map(({ seat, binding }, n) => h("div", { class: `seat ${open ? "" : "reserve"}`, key: binding.name },
    n === 0 ? h("h3", { class: "tier-name" }, name, standing ? h("span", { class: "soft" }, ` ${standing}`) : null) : h("div", { class: "tier-name" }),
    card(binding, seat, pool, board, minutes.get(binding.name))));
}

