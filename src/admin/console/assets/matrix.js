// Binding × provider, coloured by health. Arrow keys walk; Enter opens what is known of one route.

import { h, show } from "./dom.js";
import { icon } from "./icons.js";
import { state } from "./live.js";
import { empty, hourOf, more } from "./parts.js";
import { routePanel } from "./route.js";
import { ofBinding, ofRoute, isTrouble, ORDER, stateOf } from "./states.js";
import { heaviest } from "./frame.js";
import { name as escape } from "./api.js";
import { count, exactly, plain } from "./words.js";

const ROWS = 60;
const KEYS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

export function matrix(main, to) {
  const filter = { text: to.parameters.get("binding") || "", trouble: false, rows: ROWS };
  const place = { row: 0, column: 0 };
  let asked = to.parameters.get("at");
  const input = h("input", { type: "search", id: "filter-matrix", placeholder: "Binding or address", value: filter.text, autocomplete: "off", on: { input: () => { filter.text = input.value; filter.rows = ROWS; draw(); } } });
  const trouble = h("input", { type: "checkbox", on: { change: () => { filter.trouble = trouble.checked; filter.rows = ROWS; draw(); } } });
  const body = h("div", { class: "matrix-place" });
  show(main, h("div", { class: "screen" },
    h("div", { class: "screen-head" }, h("h1", { tabindex: -1 }, "Matrix"),
      h("div", { class: "filters", role: "search" }, h("label", { class: "unseen", for: "filter-matrix" }, "Filter bindings"), input, h("label", { class: "check" }, trouble, " Only what needs a look"))),
    h("p", { class: "legend" }, ORDER.filter((key) => key !== "off").reverse().map((key) => { const known = stateOf(key); return h("span", { class: `key ${known.tone}` }, icon(known.icon), known.label); })),
    body));

  function rows() {
    const text = filter.text.trim().toLowerCase();
    const fits = (binding) => (!text || [binding.name, binding.public_address, binding.second_public_address ?? ""].some((of) => of.toLowerCase().includes(text))) && (!filter.trouble || isTrouble(binding, heaviest(state.board, binding.name)));
    return state.board.herd.filter(fits);
  }

  function draw() {
    const board = state.board;
    if (!board) return;
    const all = rows();
    const shown = all.slice(0, filter.rows);
    const providers = new Set(board.destinations);
    place.row = Math.min(place.row, Math.max(0, shown.length - 1));
    const head = h("tr", {}, h("th", { scope: "col" }, "Binding"), board.destinations.map((name) => h("th", { scope: "col", class: "at" }, name)));
    const line = (binding, row) => {
      const whole = ofBinding(binding, heaviest(board, binding.name));
      return h("tr", { key: binding.name },
        h("th", { scope: "row" }, h("a", { href: `#/binding/${escape(binding.name)}`, class: whole.tone }, icon(whole.icon), binding.name, h("span", { class: "unseen" }, ` ${whole.label}`))),
        board.destinations.map((destination, column) => h("td", {}, cell(binding, destination, row, column, providers))));
    };
    show(body, shown.length ? h("div", { class: "scroll tall" }, h("table", { class: "matrix", role: "grid", "aria-label": "Health by binding and provider", on: { keydown: walk, focusin: follow } }, h("thead", {}, head), h("tbody", {}, shown.map(line)))) : empty("No binding fits."),
      more(shown.length, all.length, () => { filter.rows += 2 * ROWS; draw(); }));
    if (asked) {
      const [binding, at] = [filter.text, asked];
      asked = null;
      if (state.byName.has(binding)) routePanel(binding, board.destinations.includes(at) ? at : "other");
    }
  }

  function cell(binding, destination, row, column, providers) {
    const known = ofRoute(binding, destination, providers, heaviest(state.board, binding.name));
    const { state: of, past, worst, everywhere } = known;
    const share = past ? hourOf(past.hour) : null;
    const why = worst?.reason || (everywhere ? binding.reason : "");
    const words = [`${binding.name} at ${destination}: ${of.label}`, why ? plain(why) : "", past ? `${exactly(share.all)} attempts this hour, ${share.share} delivered` : ""].filter(Boolean).join(", ");
    const at = row === place.row && column === place.column;
    return h("button", { type: "button", class: `cell ${of.tone} ${everywhere ? "whole" : ""}`, tabindex: at ? 0 : -1, "data-row": row, "data-column": column, title: words, "aria-label": words, "aria-haspopup": "dialog", on: { click: () => routePanel(binding.name, destination) } },
      icon(of.icon), share ? h("span", { class: 2 * past.hour.delivered < share.all ? "low" : undefined }, of.key === "active" ? share.share : count(share.all)) : null);
  }

  function follow(event) {
    const { row, column } = event.target.dataset || {};
    if (row === undefined) return;
    Object.assign(place, { row: Number(row), column: Number(column) });
    for (const other of body.querySelectorAll('.cell[tabindex="0"]')) other.tabIndex = -1;
    event.target.tabIndex = 0;
  }

  function walk(event) {
    if (!event.target.classList.contains("cell")) return;
    const columns = state.board.destinations.length;
    const last = body.querySelectorAll("tbody tr").length - 1;
    let [row, column] = [place.row, place.column];
    if (KEYS[event.key]) [row, column] = [row + KEYS[event.key][0], column + KEYS[event.key][1]];
    else if (event.key === "Home") [row, column] = [event.ctrlKey ? 0 : row, 0];
    else if (event.key === "End") [row, column] = [event.ctrlKey ? last : row, columns - 1];
    else if (event.key === "PageDown") row += 10;
    else if (event.key === "PageUp") row -= 10;
    else return;
    event.preventDefault();
    row = Math.min(last, Math.max(0, row));
    column = Math.min(columns - 1, Math.max(0, column));
    body.querySelector(`.cell[data-row="${row}"][data-column="${column}"]`)?.focus();
  }

  return { update: draw };
}
