"use strict";
// Data holds whatever people wrote: it is set as text, never as markup.
(async () => {
  const $ = (id) => document.getElementById(id);
  const count = new Intl.NumberFormat("en-US");
  const number = (value) => String(+value.toPrecision(6));
  const made = (name, text, className) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  const packed = Uint8Array.from(atob($("data").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = JSON.parse(await new Response(stream).text());
  $("data").textContent = "";
  const rows = data.rows;
  const size = rows.id.length;
  const ended = data.ends.map(([outcome, step, reason]) =>
    step ? `${outcome}: ${step}: ${reason}` : outcome);

  // What another threshold would do.
  data.whatIf.forEach((one, index) => {
    const slider = $(`slider${index}`), line = $(`then${index}`), said = $(`whatif${index}`);
    let at = one.now;
    const show = () => {
      const stop = number(one.stops[at]), change = one.passes[at] - one.passes[one.now];
      slider.value = Math.round(1000 * one.at[at]);
      slider.setAttribute("aria-valuetext", `${one.field} ${stop}`);
      line.setAttribute("x1", 1000 * one.at[at]);
      line.setAttribute("x2", 1000 * one.at[at]);
      said.replaceChildren(made("b", `${one.field} ${stop}`), at === one.now ? " (as it ran): " : ": ");
      const passes = made("span", count.format(one.passes[at]));
      passes.dataset.passes = "";
      said.append(passes, ` rows pass ${one.label}`);
      if (at === one.now) {
        said.append(`, the run kept ${count.format(one.keptNow)}.`);
        return;
      }
      said.append(change ? ` (${change > 0 ? "+" : "−"}${count.format(Math.abs(change))})` : "");
      if (one.kept[at] !== null) {
        const kept = made("span", count.format(one.kept[at]));
        kept.dataset.kept = "";
        said.append("; the run would keep ", kept, ` (now ${count.format(one.keptNow)}).`);
        return;
      }
      if (change > 0 && one.next) {
        said.append(`; ${count.format(change)} more reach ${one.next}`);
        if (one.asking.length) said.append(`, and may be asked about by ${one.asking.join(", ")}`);
      }
      said.append(". How many the run would keep, only a run can tell, which asks nothing twice: ");
      const folder = /^[\w./-]+$/.test(one.folder) ? one.folder : "runs/other-";
      said.append(made("code", `${one.command}${one.stops[at]} -o ${folder}${stop}`));
    };
    const nearest = (place) => {
      let best = 0;
      one.at.forEach((x, k) => { if (Math.abs(x - place) < Math.abs(one.at[best] - place)) best = k; });
      return best;
    };
    slider.addEventListener("input", () => { at = nearest(slider.value / 1000); show(); });
    // Keys go from one value to the next, however close together they lie.
    const keys = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 20, PageDown: -20 };
    slider.addEventListener("keydown", (event) => {
      if (event.key === "Home") at = 0;
      else if (event.key === "End") at = one.stops.length - 1;
      else if (event.key in keys) at = Math.min(one.stops.length - 1, Math.max(0, at + keys[event.key]));
      else return;
      event.preventDefault();
      show();
    });
    slider.parentElement.hidden = false;
    show();
  });

  const textOf = (k) => {
    const box = made("div", undefined, "text");
    for (const [name, className] of [["ask", "ask"], ["answer", "answer"]]) {
      if (!rows[name][k]) continue;
      const paragraph = made("p", rows[name][k], className);
      paragraph.dir = "auto";
      box.append(paragraph);
    }
    return box;
  };

  // The table: find, filter, sort, fifty at a time.
  if ($("table")) {
    const PAGE = 50;
    const low = Array.from({ length: size }, (_, k) => `${rows.ask[k]}\n${rows.answer[k]}\n${rows.id[k]}`.toLowerCase());
    let order = Array.from({ length: size }, (_, k) => k), first = 0, sorted = null, down = false;
    const draw = () => {
      $("body").replaceChildren(...order.slice(first, first + PAGE).map((k) => {
        const line = document.createElement("tr");
        const id = made("th"), words = made("td", count.format(rows.words[k]), "n"), cell = made("td");
        id.scope = "row";
        id.append(made("code", rows.id[k].slice(0, 8)));
        cell.append(textOf(k));
        line.append(id, made("td", ended[rows.end[k]]), made("td", rows.source[k]), words, cell);
        return line;
      }));
      $("found").textContent = `${count.format(order.length)} rows`;
      const last = Math.min(order.length, first + PAGE);
      $("page").textContent = order.length ? `${count.format(first + 1)} to ${count.format(last)}` : "none";
      $("back").disabled = first === 0;
      $("on").disabled = last >= order.length;
    };
    const filter = () => {
      const wanted = $("find").value.toLowerCase(), end = $("ended").value;
      order = [];
      for (let k = 0; k < size; k++) {
        if ((end === "" || rows.end[k] === +end) && low[k].includes(wanted)) order.push(k);
      }
      if (sorted) {
        const values = sorted === "end" ? rows.end.map((e) => ended[e]) : rows[sorted];
        const sign = down ? -1 : 1;
        order.sort((a, b) => sign * (values[a] < values[b] ? -1 : values[a] > values[b] ? 1 : a - b));
      }
      first = 0;
      draw();
    };
    const counts = new Map();
    rows.end.forEach((e) => counts.set(e, (counts.get(e) ?? 0) + 1));
    $("ended").append(new Option("any", ""), ...[...counts].sort((a, b) => b[1] - a[1]).map(([e, n]) => new Option(`${ended[e]} (${count.format(n)})`, e)));
    $("find").addEventListener("input", filter);
    $("ended").addEventListener("change", filter);
    $("back").addEventListener("click", () => { first -= PAGE; draw(); });
    $("on").addEventListener("click", () => { first += PAGE; draw(); });
    for (const button of document.querySelectorAll("[data-sort]")) {
      button.addEventListener("click", () => {
        down = sorted === button.dataset.sort && !down;
        sorted = button.dataset.sort;
        for (const head of document.querySelectorAll("thead th[aria-sort]")) head.removeAttribute("aria-sort");
        button.parentElement.setAttribute("aria-sort", down ? "descending" : "ascending");
        filter();
      });
    }
    filter();
    $("table").hidden = false;
  }

  // The map: every point has its row.
  if (data.maps.length) {
    const canvas = $("canvas"), pen = canvas.getContext("2d");
    const outcome = rows.end.map((e) => data.ends[e][0]), reason = rows.end.map((e) => ended[e]);
    let map, points, colourings;
    const span = (values) => {
      let least = Infinity, most = -Infinity;
      for (const k of points) { least = Math.min(least, values[k]); most = Math.max(most, values[k]); }
      return [least, most > least ? most - least : 1];
    };
    const open = () => {
      map = data.maps[$("which").value];
      points = [];
      for (let k = 0; k < size; k++) if (map.x[k] !== null) points.push(k);
      // Rows come by outcome: drawn in that order, the last would hide the first.
      points.sort((a, b) => (rows.id[a] < rows.id[b] ? -1 : 1));
      colourings = { outcome, reason, source: rows.source, ...map.groups };
      $("colour").replaceChildren(...Object.keys(colourings).map((name) => new Option(name, name)));
      chosen = -1;
    };
    const style = () => getComputedStyle(document.documentElement);
    // Okabe and Ito's palette, told apart by the colour-blind, and a shape for each.
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const light = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#3b8fc2", "#767676"];
    const bright = ["#56b4e9", "#e69f00", "#2fc99a", "#e29ac2", "#f0e442", "#7fa8ff", "#a0a0a0"];
    const shapes = [
      (p, x, y, r) => p.arc(x, y, r, 0, 7),
      (p, x, y, r) => { p.moveTo(x - r, y - r); p.lineTo(x + r, y + r); p.moveTo(x + r, y - r); p.lineTo(x - r, y + r); },
      (p, x, y, r) => p.rect(x - r, y - r, 2 * r, 2 * r),
      (p, x, y, r) => { p.moveTo(x, y - r); p.lineTo(x + r, y + r); p.lineTo(x - r, y + r); p.closePath(); },
    ];
    const outlines = ["M1 5a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", "M1 1L9 9M9 1L1 9", "M1 1H9V9H1Z", "M5 1L9 9H1Z"];
    let chosen = -1, places = new Map(), tree = null;
    const paint = () => {
      const ratio = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
      const palette = dark.matches ? bright : light;
      canvas.width = Math.round(box.width * ratio);
      canvas.height = Math.round(box.height * ratio);
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      const [left, wide] = span(map.x), [top, high] = span(map.y);
      const of = colourings[$("colour").value], sizes = new Map();
      for (const k of points) sizes.set(of[k], (sizes.get(of[k]) ?? 0) + 1);
      const groups = [...sizes].sort((a, b) => b[1] - a[1]).map(([name]) => name);
      if ($("colour").value === "outcome") groups.sort((a, b) => (a === "kept" ? -1 : b === "kept" ? 1 : 0));
      const rank = new Map(groups.map((name, k) => [name, Math.min(k, palette.length - 1)]));
      const radius = points.length > 5000 ? 1.5 : 3;
      places = new Map();
      for (const k of points) {
        const x = 12 + (box.width - 24) * (map.x[k] - left) / wide;
        const y = box.height - 12 - (box.height - 24) * (map.y[k] - top) / high;
        places.set(k, [x, y]);
        const kind = rank.get(of[k]);
        pen.beginPath();
        shapes[kind % shapes.length](pen, x, y, radius);
        pen.globalAlpha = 0.7;
        pen.strokeStyle = pen.fillStyle = palette[kind];
        if (kind % shapes.length === 1) pen.stroke(); else pen.fill();
      }
      pen.globalAlpha = 1;
      if (places.has(chosen)) {
        const [x, y] = places.get(chosen);
        pen.beginPath();
        pen.arc(x, y, 8, 0, 7);
        pen.strokeStyle = style().getPropertyValue("--ink");
        pen.lineWidth = 2;
        pen.stroke();
        pen.lineWidth = 1;
      }
      tree = d3.quadtree(points, (k) => places.get(k)[0], (k) => places.get(k)[1]);
      $("legend").replaceChildren(...groups.slice(0, palette.length).map((name, k) => {
        const line = made("li"), space = "http://www.w3.org/2000/svg";
        const key = document.createElementNS(space, "svg"), mark = document.createElementNS(space, "path");
        key.setAttribute("viewBox", "0 0 10 10");
        key.setAttribute("aria-hidden", "true");
        // The shape that the map has, for whoever cannot tell the colours apart.
        const form = k % shapes.length, open = form === 1;
        for (const [a, v] of [["d", outlines[form]], ["fill", open ? "none" : palette[k]], ["stroke", open ? palette[k] : "none"], ["stroke-width", 2]]) mark.setAttribute(a, v);
        key.append(mark);
        const rest = k === palette.length - 1 && groups.length > palette.length;
        line.append(key, rest ? `${groups.length - k} others` : `${name || "(none)"} (${count.format(sizes.get(name))})`);
        return line;
      }));
    };
    const choose = (k) => {
      if (k === undefined || k === chosen) return;
      chosen = k;
      paint();
      $("card").replaceChildren(made("p", `${rows.id[k].slice(0, 8)}, ${ended[rows.end[k]]}, ${rows.source[k]}`, "quiet"), textOf(k));
    };
    const under = (event) => {
      const box = canvas.getBoundingClientRect();
      choose(tree.find(event.clientX - box.left, event.clientY - box.top, 20));
    };
    canvas.addEventListener("pointermove", under);
    canvas.addEventListener("pointerdown", under);
    canvas.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!to || !points.length) return;
      event.preventDefault();
      if (!places.has(chosen)) { choose(points[0]); return; }
      const [x, y] = places.get(chosen);
      let best, least = Infinity;
      for (const [k, [px, py]] of places) {
        const along = (px - x) * to[0] + (py - y) * to[1];
        const aside = Math.abs((px - x) * to[1]) + Math.abs((py - y) * to[0]);
        if (k !== chosen && along > 0 && aside <= along && along + aside < least) { least = along + aside; best = k; }
      }
      choose(best);
    });
    $("colour").addEventListener("change", paint);
    const hint = [...$("card").children];
    $("which").addEventListener("change", () => { open(); paint(); $("card").replaceChildren(...hint); });
    new ResizeObserver(paint).observe(canvas.parentElement);
    dark.addEventListener("change", paint);
    open();
    $("map").hidden = false;
    paint();
  }
  document.documentElement.dataset.ready = "1";
})();
