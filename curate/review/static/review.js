"use strict";
// Rows hold whatever people wrote: they are set as text, never as markup.
(() => {
  const { $, made, shown, say, send } = page;
  const nonce = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");

  let item = null, undo = null, began = 0, busy = false, skipped = [], answers = [];
  // A ranking that has begun: candidates by their places on the page, the best first, and whether
  // each has the rank of the one before it; `joins` is said of the next one.
  let ranked = [], joins = false;

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

  const left = () => item.answers.map((_, k) => k).filter((k) => !ranked.some((one) => one.place === k));
  // The rank of each candidate that is placed: 1 and the number of those above it.
  const ranks = (order) => {
    const found = [];
    order.forEach(({ place, joined }, k) => { found[place] = joined ? found[order[k - 1].place] : k + 1; });
    return found;
  };
  const finish = (order) => answer({ decision: "ranks", value: ranks(order) });
  const place = (k) => {
    if (busy) return;
    ranked.push({ place: k, joined: joins });
    joins = false;
    const rest = left();
    drawRanks();
    if (rest.length <= 1) finish([...ranked, ...rest.map((last) => ({ place: last, joined: false }))]);
  };
  const tieRest = () => finish([...ranked, ...left().map((k, n) => ({ place: k, joined: n > 0 || joins }))]);
  const rankKeys = () => {
    const open = left();
    return [
      ...open.map((k) => [String(k + 1), `answer ${k + 1}`, () => place(k)]),
      ...(ranked.length && open.length > 1 && !joins ? [["e", "the next has the same rank", () => { joins = true; drawRanks(); }]] : []),
      ["t", ranked.length ? "the rest are tied" : "all are tied", tieRest],
      ["b", "all are bad", () => answer({ decision: "drop" })],
    ];
  };
  const choices = () => {
    if (item.question === "ranks") return rankKeys();
    const sends = (key, name, label) => [key, name, () => answer(label)];
    if (item.question === "rating") {
      return Array.from({ length: item.scale }, (_, k) => sends(String(k + 1), item.words[k] ?? String(k + 1), { decision: "rating", value: k + 1 }));
    }
    if (item.question === "fate") return [sends("k", "keep", { decision: "keep" }), sends("d", "drop", { decision: "drop" })];
    if (item.kind === "unpaired") return [sends("y", "good", { decision: "chosen", value: true }), sends("n", "bad", { decision: "chosen", value: false })];
    const last = [sends("t", "tie", { decision: "chosen", value: "tied" }), sends("b", item.answers.length === 2 ? "both are bad" : "all are bad", { decision: "drop" })];
    if (item.answers.length === 2) return [sends("f", "left", { decision: "chosen", value: 0 }), sends("j", "right", { decision: "chosen", value: 1 }), ...last];
    return [...item.answers.map((_, k) => sends(String(k + 1), `answer ${k + 1}`, { decision: "chosen", value: k })), ...last];
  };
  const drawKeys = () => {
    answers = choices();
    $("answers").replaceChildren(...answers.map(([key, name, act]) => {
      const button = made("button");
      button.append(made("kbd", key), ` ${name}`);
      button.addEventListener("click", act);
      return button;
    }));
    $("undo").disabled = undo === null && !ranked.length;
  };
  const drawRanks = () => {
    const found = ranks(ranked), many = item.answers.length;
    document.querySelectorAll(".sides h2").forEach((head, k) => {
      head.textContent = found[k] === undefined ? `answer ${k + 1}` : `answer ${k + 1}: rank ${found[k]}`;
    });
    const order = ranked.map((one, k) => `${k ? (one.joined ? " = " : " > ") : ""}${one.place + 1}`).join("");
    $("order").textContent = ranked.length ? `Best first: ${order}${joins ? " =" : ""}; ${many - ranked.length} of ${many} left` : "Press the answers' numbers in their order, the best first.";
    drawKeys();
    $("main").focus();
  };

  const show = (state) => {
    if (!state) return;
    item = state.item;
    undo = state.undo;
    began = performance.now();
    $("comment").value = "";
    $("progress").textContent = `${state.done} of ${state.rows} rows${state.rows < state.of ? `, chosen of ${state.of}` : ""}`;
    const agree = state.agreement, percent = (x) => `${(100 * x).toFixed(1)} %`;
    const many = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
    const said = [many(agree.labels, "label")];
    if (agree.alike !== null) said.push(`people agree in ${percent(agree.alike)} on ${many(agree.rows_shared, "row")}`);
    if (agree.alpha !== null) said.push(`Krippendorff's alpha ${agree.alpha.toFixed(3)}`);
    if (agree.with_run !== null) said.push(`people and the run agree in ${percent(agree.with_run)}${agree.kappa === null ? "" : ` (Cohen's kappa ${agree.kappa.toFixed(3)})`}`);
    if (agree.tau !== null) said.push(`Kendall's tau-b of people's ranks ${agree.tau.toFixed(3)}`);
    if (agree.tau_with_run !== null) said.push(`of people's and the run's ranks ${agree.tau_with_run.toFixed(3)}`);
    if (agree.rho !== null) said.push(`ratings and ${state.judge}: Spearman's rho ${agree.rho.toFixed(3)}`);
    $("agreement").textContent = said.join("; ");
    $("told").replaceChildren();
    if (state.told) {
      const value = (one) => (one.value === null ? "" : ` ${Array.isArray(one.value) ? one.value.join(" ") : one.value}`);
      const others = state.told.others.map((one) => `${one.who}: ${one.decision}${value(one)}`);
      const order = state.told.ranks ? `; ranks of the answers as you saw them: ${state.told.ranks.join(" ")}` : "";
      $("told").append(made("p", shown(`Of the last row the run says: ${state.told.run}${order}${others.length ? `; ${others.join(", ")}` : ""}`)));
    }
    $("row").replaceChildren();
    $("answers").replaceChildren();
    $("order").textContent = "";
    answers = [];
    ranked = [];
    joins = false;
    $("undo").disabled = undo === null;
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
    if (item.question === "ranks") drawRanks(); else { drawKeys(); $("main").focus(); }
  };

  const answer = async (label) => {
    if (busy || !item) return;
    const seconds = Math.round(performance.now() - began) / 1000;
    show(await post("/label", { ...label, item: item.id, comment: $("comment").value, seconds, nonce: nonce() }));
  };
  const takeBack = async () => {
    if (busy) return;
    if (item && ranked.length) {
      // Nothing of it is saved yet: the last key is taken back, not the last label.
      if (joins) joins = false; else joins = ranked.pop().joined;
      drawRanks();
      return;
    }
    if (undo === null) return;
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
    if (found) found[2]();
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
