// Signing in: a token goes over once and becomes a cookie that no script can read.

import { post } from "./api.js";
import { h, show } from "./dom.js";
import { mark } from "./icons.js";
import { again, state, wantSignIn } from "./live.js";
import { button, field } from "./parts.js";

export function signIn(main) {
  const token = h("input", { type: "password", name: "token", id: "token", required: true, autocomplete: "current-password", spellcheck: "false" });
  const said = h("div", { class: "answer", role: "alert" });
  const submit = h("button", { type: "submit", class: "primary" }, "Sign in");
  const run = async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      await post("/api/v1/session", { token: token.value.trim() });
      token.value = "";
      await again();
    } catch (error) {
      show(said, h("p", { class: "notice bad" }, error.status === 401 ? "The relay knows no such token." : error.message));
      token.select();
    }
    submit.disabled = false;
  };
  show(main, h("div", { class: "door" }, mark(), h("h1", { tabindex: -1 }, "Remuda"),
    h("form", { on: { submit: run } }, h("input", { type: "text", name: "username", autocomplete: "username", value: "remuda", hidden: true }), field("Token", token, "One that the relay's configuration knows; remuda token makes them."), said, h("div", { class: "buttons" }, submit, state.mustSignIn ? null : button("Only look", () => wantSignIn(false))))));
  token.focus();
  return { needsNoBoard: true };
}
