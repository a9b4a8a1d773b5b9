// Acts on what waits: which entries, why, and how many that are before it is done.

import { post } from "./api.js";
import { h, show } from "./dom.js";
import { refreshSoon, state } from "./live.js";
import { button, field, panel, say, select } from "./parts.js";
import { exactly, plain, plural } from "./words.js";

const ACTS = {
  retry: { label: "Retry now", done: "tried now", means: "Their next try is due at once; caps, rates and suspensions still hold." },
  hold: { label: "Hold", done: "held", span: true, means: "They wait until they are released." },
  release: { label: "Release", done: "released", means: "What was held goes on." },
  move: { label: "Move", done: "moved", means: "They wait in another pool from now on, and leave over its bindings.", pool: true },
  bounce: { label: "Bounce", done: "bounced", means: "They are given up and reported to their senders, with your reason. This cannot be undone.", danger: true },
};

const SPANS = [["", "until released"], ["30m", "30 minutes"], ["2h", "2 hours"], ["8h", "8 hours"], ["1d", "a day"]];

// What came of it, with all that was otherwise.
function came(answer, act) {
  const others = [["unchanged", "were so before"], ["on_the_wire", "on the wire: when that ends"], ["another", "have another act before them, promised already"], ["held", "are held"], ["stranded", "have no pool or tenant any more"], ["gone", "were gone already"], ["unread", "could not be read"]];
  const rest = others.filter(([key]) => answer[key]).map(([key, words]) => `${exactly(answer[key])} ${words}`);
  const why = (answer.reasons || []).filter(({ reason }) => reason !== "ready" && reason !== "in_flight").slice(0, 3).map(({ reason, count }) => `${exactly(count)} wait still: ${plain(reason)}`);
  return [`${plural(answer.done, "entry", "entries")} ${act.done}.`, [...rest, ...why].join(", "), answer.stopped].filter(Boolean).join(" ");
}

export const NAMES = Object.entries(ACTS).map(([key, act]) => [key, act.label]);

// `what` is `{ids: [...]}` or `{filter: {...}}` or `{all: true}`; `words` says that to people.
export function actOnQueue(key, what, words, done) {
  const act = ACTS[key];
  const shown = panel(`${act.label}: ${words}`, "middle");
  const reason = h("input", { type: "text", required: true, maxlength: 500, autocomplete: "off" });
  const pool = act.pool ? select(state.board.pools.map((pool) => [pool.name, pool.name]), "", {}) : null;
  const span = act.span ? select(SPANS, "", {}) : null;
  const said = h("div", { class: "answer", role: "alert" });
  const submit = h("button", { type: "submit", class: `primary ${act.danger ? "danger" : ""}` }, act.label);
  let confirm;
  const body = () => ({ ...what, reason: reason.value.trim(), ...(pool ? { to: pool.value } : {}), ...(span?.value ? { for: span.value } : {}), ...(confirm === undefined ? {} : { confirm }) });
  // How many it would be is asked first; only one that was pointed at is done at once.
  const ask = (matched, reasons = []) => {
    confirm = matched;
    submit.textContent = `${act.label} ${plural(matched, "entry", "entries")}`;
    const why = reasons.slice(0, 5).map(({ reason, count }) => `${exactly(count)} ${plain(reason)}`).join(", ");
    show(said, h("p", { class: "notice warn" }, h("b", {}, `${exactly(matched)} ${matched === 1 ? "entry is" : "entries are"} concerned.`), why ? ` They wait for: ${why}.` : "", matched ? " Press once more to do it." : ""));
    submit.focus();
  };
  const run = async () => {
    submit.disabled = true;
    try {
      if (confirm === undefined && what.ids?.length !== 1) {
        const { matched, reasons } = await post(`/api/v1/queue/${key}`, { ...body(), dry_run: true });
        submit.disabled = false;
        return ask(matched, reasons);
      }
      const answer = await post(`/api/v1/queue/${key}`, body());
      shown.close();
      say(came(answer, act), answer.stopped || answer.unread ? "warn" : "good");
      refreshSoon();
      done?.();
    } catch (error) {
      submit.disabled = false;
      if (error.matched !== undefined && error.matched !== confirm) return ask(error.matched);
      show(said, h("p", { class: "notice bad" }, error.message));
    }
    submit.disabled = false;
  };
  shown.show(h("form", { on: { submit: (event) => { event.preventDefault(); run(); } } },
    h("p", { class: "soft" }, act.means),
    pool ? field("To the pool", pool) : null,
    span ? field("For how long", span) : null,
    field("Reason", reason, "Goes into the record with your name."),
    said,
    h("div", { class: "buttons" }, submit, button("Cancel", () => shown.close()))));
  reason.focus();
}
