"use strict";
// Rows hold whatever people wrote: they are set as text, never as markup.
(() => {
  const { $, made, shown, say, send } = page;
  const nonce = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");

  let item = null, undo = null, began = 0, busy = false, skipped = [], answers = [];

  // The same nonce makes it one label, however often it arrives.
  const post = async (path, body) => {
    busy = true;
    const state = await send(path, { ...body, who: $("who").value, skipped });
    busy = false;
    return state;
  };

  const turns = (list) => list.flatMap((turn) => {
    const text = made("div", shown(turn.text), "turn");
    text.dir = "auto";
    const found = [made("p", turn.role, "role"), text];
    if (turn.parts) found.push(made("p", shown(turn.parts), "parts"));
    return found;
  });
  const names = (count) => (count === 2 ? ["left", "right"] : Array.from({ length: count }, (_, k) => `${k + 1}`));

  const choices = () => {
    if (item.question === "rating") {
      return Array.from({ length: item.scale }, (_, k) => [String(k + 1), item.words[k] ?? String(k + 1), { decision: "rating", value: k + 1 }]);
    }
    if (item.question === "fate") return [["k", "keep", { decision: "keep" }], ["d", "drop", { decision: "drop" }]];
    if (item.kind === "unpaired") return [["y", "good", { decision: "chosen", value: true }], ["n", "bad", { decision: "chosen", value: false }]];
    const last = [["t", "tie", { decision: "chosen", value: "tied" }], ["b", item.answers.length === 2 ? "both are bad" : "all are bad", { decision: "drop" }]];
    if (item.answers.length === 2) return [["f", "left", { decision: "chosen", value: 0 }], ["j", "right", { decision: "chosen", value: 1 }], ...last];
    return [...item.answers.map((_, k) => [String(k + 1), `answer ${k + 1}`, { decision: "chosen", value: k }]), ...last];
  };

  const show = (state) => {
    if (!state) return;
    item = state.item;
    undo = state.undo;
    began = performance.now();
    $("comment").value = "";
    $("progress").textContent = `${state.done} of ${state.rows} rows${state.rows < state.of ? `, chosen of ${state.of}` : ""}`;
    $("undo").disabled = undo === null;
    const agree = state.agreement, percent = (x) => `${(100 * x).toFixed(1)} %`;
    const many = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
    const said = [many(agree.labels, "label")];
    if (agree.alike !== null) said.push(`people agree in ${percent(agree.alike)} on ${many(agree.rows_shared, "row")}`);
    if (agree.alpha !== null) said.push(`Krippendorff's alpha ${agree.alpha.toFixed(3)}`);
    if (agree.with_run !== null) said.push(`people and the run agree in ${percent(agree.with_run)}${agree.kappa === null ? "" : ` (Cohen's kappa ${agree.kappa.toFixed(3)})`}`);
    if (agree.rho !== null) said.push(`ratings and ${state.judge}: Spearman's rho ${agree.rho.toFixed(3)}`);
    $("agreement").textContent = said.join("; ");
    $("told").replaceChildren();
    if (state.told) {
      const others = state.told.others.map((one) => `${one.who}: ${one.decision}${one.value === null ? "" : ` ${one.value}`}`);
      $("told").append(made("p", shown(`Of the last row the run says: ${state.told.run}${others.length ? `; ${others.join(", ")}` : ""}`)));
    }
    $("row").replaceChildren();
    $("answers").replaceChildren();
    answers = [];
    if (!item) {
      $("row").append(made("p", skipped.length ? "Nothing is left but the rows you skipped: load the page again for them." : "Nothing is left for you. Thank you."));
      return;
    }
    $("row").dataset.id = item.id;
    $("row").append(...turns(item.turns));
    if (item.answers.length) {
      const sides = made("div", undefined, "sides");
      item.answers.forEach((answer, k) => {
        const side = made("section");
        side.append(...(item.answers.length > 1 ? [made("h2", names(item.answers.length)[k])] : []), ...turns(answer));
        sides.append(side);
      });
      $("row").append(sides);
    }
    answers = choices();
    for (const [key, name, label] of answers) {
      const button = made("button");
      button.append(made("kbd", key), ` ${name}`);
      button.addEventListener("click", () => answer(label));
      $("answers").append(button);
    }
    $("main").focus();
  };

  const answer = async (label) => {
    if (busy || !item) return;
    const seconds = Math.round(performance.now() - began) / 1000;
    show(await post("/label", { ...label, item: item.id, comment: $("comment").value, seconds, nonce: nonce() }));
  };
  const takeBack = async () => {
    if (busy || undo === null) return;
    show(await post("/undo", { item: undo, nonce: nonce() }));
  };
  const next = async () => {
    const query = new URLSearchParams({ who: $("who").value, skipped: skipped.join(",") });
    const response = await fetch(`/next?${query}`);
    const state = await response.json();
    if (!response.ok) { say(state.error, true); return; }
    say("");
    show(state);
  };
  const skip = () => {
    if (busy || !item) return;
    skipped.push(item.id);
    next();
  };

  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input");
    if (event.key === "Escape" && field) { field.blur(); $("main").focus(); return; }
    if (event.key === "Enter" && field === $("who")) { field.blur(); return; }
    if (field || event.repeat || event.ctrlKey || event.altKey || event.metaKey || $("keys").open) return;
    if (event.key === " " && event.target.closest("button")) return;
    const found = answers.find(([key]) => key === event.key);
    if (found) answer(found[2]);
    else if (event.key === " ") skip();
    else if (event.key === "u") takeBack();
    else if (event.key === "c") $("comment").focus();
    else if (event.key === "?") $("keys").showModal();
    else return;
    event.preventDefault();
  });
  $("skip").addEventListener("click", skip);
  $("undo").addEventListener("click", takeBack);
  $("say").addEventListener("click", () => $("comment").focus());
  $("help").addEventListener("click", () => $("keys").showModal());
  $("close").addEventListener("click", () => $("keys").close());
  $("who").addEventListener("change", () => {
    sessionStorage.setItem("who", $("who").value);
    skipped = [];
    next();
  });
  $("who").value = sessionStorage.getItem("who") ?? "";
  if ($("who").value) next(); else { say("say who you are to begin"); $("who").focus(); }
})();
