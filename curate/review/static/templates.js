"use strict";
(() => {
  const { $, made, shown, say, ask, refusal, send } = page;
  const PAUSE = 300;
  let data = null, files = [], seen = null, turn = 0, timer = null, columns = "";

  const cell = (name, text) => {
    const found = made(name, shown(String(text)));
    found.dir = "auto";
    return found;
  };
  const line = (...cells) => {
    const row = made("tr");
    row.append(...cells);
    return row;
  };
  const table = (element, heads, lines) => {
    const head = made("thead"), body = made("tbody");
    head.append(line(...heads.map((text) => {
      const th = cell("th", text);
      th.scope = "col";
      return th;
    })));
    body.append(...lines.map((texts) => line(...texts.map((text) => cell("td", text)))));
    element.replaceChildren(head, body);
  };

  const chosen = () => files.find((file) => file.name === $("file").value) ?? null;
  const opened = () => chosen()?.templates.find((one) => one.name === $("template").value) ?? null;
  const listed = (id) => $(id).value.split(",").map((text) => text.trim()).filter(Boolean);
  const KNOWN = ["original_task", "choices_in_prompt", "metrics", "languages"];
  const draft = () => {
    // What a file says beyond the page's fields stays.
    const rest = Object.entries(opened()?.metadata ?? {}).filter(([name]) => !KNOWN.includes(name));
    const metadata = { ...Object.fromEntries(rest), original_task: $("original").checked, choices_in_prompt: $("in-prompt").checked };
    for (const name of ["metrics", "languages"]) if (listed(name).length) metadata[name] = listed(name);
    return { name: $("name").value, jinja: $("jinja").value, answer_choices: $("choices").value, metadata };
  };
  const remember = () => sessionStorage.setItem("draft", JSON.stringify(draft()));
  const fill = (found) => {
    const metadata = found?.metadata ?? {};
    $("name").value = found?.name ?? "";
    $("jinja").value = found?.jinja ?? "";
    $("choices").value = found?.answer_choices ?? "";
    $("original").checked = metadata.original_task === true;
    $("in-prompt").checked = metadata.choices_in_prompt === true;
    for (const name of ["metrics", "languages"]) $(name).value = [metadata[name] ?? []].flat().join(", ");
    remember();
    buttons();
    later();
  };
  const replaces = () => opened() !== null && opened().name === $("name").value.trim();
  const buttons = () => {
    $("new-file").disabled = $("title").disabled = chosen() !== null;
    $("save").textContent = replaces() ? `Save over “${shown($("name").value.trim())}”` : "Save";
  };

  const showRows = async (start) => {
    const response = await ask(`/rows?start=${start}`);
    if (!response.ok) { say(await refusal(response), true); return; }
    data = await response.json();
    const drawn = data.rows === data.total ? "" : `, drawn of ${data.total}`;
    const unread = data.unread ? `; ${data.unread} could not be read` : "";
    $("dataset").textContent = `${shown(data.dataset)}: ${data.rows} rows${drawn}${unread}`;
    table($("columns"), ["column", "holds", "different", "values"], data.columns.map((one) => [
      one.name, Object.entries(one.types).map(([kind, count]) => (count === data.rows ? kind : `${kind} ${count}`)).join(", "), one.distinct, one.values.join(" · "),
    ]));
    const names = data.columns.map((one) => one.name);
    table($("rows"), ["row", ...names], data.shown.map((row, k) => [data.start + k + 1, ...names.map((name) => row.cells[name] ?? "")]));
    $("place").textContent = `rows ${data.start + 1} to ${data.start + data.shown.length} of ${data.rows}`;
    $("back").disabled = data.start === 0;
    $("on").disabled = data.start + data.shown.length >= data.rows;
    if (columns !== names.join("\n")) {
      columns = names.join("\n");
      $("insert").replaceChildren(...names.map((name) => {
        const button = made("button", shown(name));
        const plain = /^[A-Za-z_]\w*$/.test(name);
        button.disabled = !plain;
        if (!plain) button.title = "Jinja reads columns whose names are letters, digits and _";
        button.addEventListener("click", () => insert(`{{ ${name} }}`));
        return button;
      }));
    }
    render();
  };
  const insert = (text) => {
    const field = $("jinja");
    field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
    field.focus();
    changed();
  };

  const showFiles = async () => {
    const response = await ask("/files");
    if (!response.ok) { say(await refusal(response), true); return; }
    const found = await response.json(), kept = $("file").value, template = $("template").value;
    files = found.files;
    $("file").replaceChildren(new Option("a new file", ""), ...files.map((file) => {
      const option = new Option(`${file.name} (${file.error ? "cannot be read" : `${file.templates.length} templates`})`, file.name);
      option.disabled = file.error !== null;
      return option;
    }));
    if (files.some((file) => file.name === kept)) $("file").value = kept;
    for (const file of files) if (file.error) say(`${file.error}`, true);
    showTemplates(template);
  };
  const showTemplates = (kept) => {
    const own = chosen()?.templates ?? [];
    seen = chosen()?.digest ?? null;
    $("template").replaceChildren(new Option("a new template", ""), ...own.map((one) => new Option(shown(one.name), one.name)));
    if (own.some((one) => one.name === kept)) $("template").value = kept;
    buttons();
  };

  const faults = (found) => {
    for (const [id, field] of [["jinja-faults", "jinja"], ["choices-faults", "answer_choices"]]) {
      const own = found.filter((one) => one.field === field);
      $(id).replaceChildren(...own.map((one) => {
        const text = made("li", `${one.line ? `line ${one.line}: ` : ""}${shown(one.message)}`);
        const source = one.line ? $(field === "jinja" ? "jinja" : "choices").value.split("\n")[one.line - 1] : undefined;
        if (source !== undefined) text.append(made("code", shown(source)));
        return text;
      }));
      $(field === "jinja" ? "jinja" : "choices").setAttribute("aria-invalid", String(own.some((one) => one.stops)));
    }
  };
  const part = (title, text) => {
    const side = made("section"), body = made("div", shown(text), "turn");
    body.dir = "auto";
    side.append(made("h4", title), body);
    return side;
  };
  const task = (found, k) => {
    const element = made("article");
    element.append(made("h3", `Row ${data.start + k + 1}`));
    if (found.error) element.append(made("p", `fails: ${shown(found.error)}`, "bad"));
    else if (found.left_out) element.append(made("p", `makes no row: ${found.left_out}`));
    else {
      const sides = made("div", undefined, "sides");
      sides.append(part("input", found.input), part("target", found.target));
      element.append(sides);
      if (found.choices) element.append(made("p", `choices: ${shown(found.choices.join(" · "))}`, "parts"));
    }
    return element;
  };
  const render = async () => {
    const own = ++turn;
    if (!data || !$("jinja").value.trim()) {
      faults([]);
      $("summary").textContent = "Nothing is written yet.";
      $("rendered").replaceChildren();
      return;
    }
    let found;
    $("summary").textContent = "Rendering";
    try {
      const response = await ask("/render", { ...draft(), start: data.start });
      if (own !== turn) return;
      if (!response.ok) { $("summary").textContent = shown(await refusal(response)); return; }
      found = await response.json();
    } catch {
      $("summary").textContent = "The server does not answer: is the command still running?";
      return;
    }
    if (own !== turn) return;
    faults(found.faults);
    const tasks = found.rows.filter((one) => !one.error && !one.left_out).length;
    $("summary").textContent = found.rows.length ? `${tasks} of these ${found.rows.length} rows make a task` : "No row can be rendered: see above.";
    $("rendered").replaceChildren(...found.rows.map(task));
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(render, PAUSE);
  };
  const changed = () => {
    remember();
    buttons();
    later();
  };

  const save = async () => {
    const file = chosen()?.name ?? $("new-file").value;
    // Until the files are read again: a second click would send what the page knew of them before.
    $("save").disabled = true;
    try {
      const found = await send("/save", { ...draft(), file, dataset: $("title").value, seen, replace: replaces() });
      if (!found) {
        const said = $("saved").textContent;
        await showFiles();
        say(said, true);
        return;
      }
      $("where").replaceChildren("Saved in ", made("code", shown(found.path)), ". On all rows: ", made("code", shown(found.command)));
      const name = $("name").value.trim();
      await showFiles();
      $("file").value = found.path.split("/").at(-1);
      showTemplates(name);
    } finally {
      $("save").disabled = false;
    }
  };

  const percent = (share, whole) => (whole ? `${((100 * share) / whole).toFixed(1)} %` : "–");
  const words = (mean) => (mean === null || mean === undefined ? "–" : mean.toFixed(1));
  const count = async () => {
    const lines = [];
    for (const file of files.filter((one) => one.error === null)) {
      $("counting").textContent = `counting ${file.name}`;
      const response = await ask("/figures", { file: file.name });
      if (!response.ok) { $("counting").textContent = shown(await refusal(response)); return; }
      for (const one of (await response.json()).templates) {
        const said = one.faults.find((fault) => fault.stops)?.message ?? one.error ?? Object.entries(one.left_out ?? {}).map(([reason, n]) => `${n} ${reason}`).join(", ");
        lines.push([file.name, one.name, percent(one.rendered ?? 0, one.rows), words(one.input_words), words(one.target_words), one.distinct_inputs ?? "–", one.distinct_targets ?? "–", one.failed ?? "–", said]);
      }
    }
    const total = files.reduce((sum, file) => sum + file.templates.length, 0);
    $("counting").textContent = `${files.length} files, ${total} templates, on ${data.rows} rows`;
    table($("figures"), ["file", "template", "rows rendered", "words, input", "words, target", "different inputs", "different targets", "failed", "why not"], lines);
  };

  for (const id of ["name", "jinja", "choices", "metrics", "languages", "original", "in-prompt"]) $(id).addEventListener("input", changed);
  $("back").addEventListener("click", () => showRows(Math.max(0, data.start - data.shown.length)));
  $("on").addEventListener("click", () => showRows(data.start + data.shown.length));
  $("file").addEventListener("change", () => { showTemplates(""); });
  $("template").addEventListener("change", () => { if (opened()) fill(opened()); else buttons(); });
  $("save").addEventListener("click", save);
  $("clear").addEventListener("click", () => { $("template").value = ""; fill(null); $("name").focus(); });
  $("count").addEventListener("click", count);
  (async () => {
    await showFiles();
    await showRows(0);
    $("new-file").value = data.stem;
    $("title").value = data.stem;
    const kept = sessionStorage.getItem("draft");
    if (kept) fill(JSON.parse(kept)); else buttons();
    // A new file has a name by now.
    $("save").disabled = false;
  })();
})();
