"use strict";
const $ = id => document.getElementById(id);
async function inflated(id) {
  const packed = Uint8Array.from(atob($(id).textContent), c => c.charCodeAt(0));
  return JSON.parse(await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text());
}
const programs = inflated("libraries").then(text => document.head.append(element("script", {textContent: text})));
Promise.all([inflated("data"), programs]).then(([data]) => show(data));

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter(x => x !== null && x !== undefined));
  return made;
};

function show(data) {
const {files, lines, kernels, plans, runs, codes, limits, owners, blocks} = data;
const HUES = [212, 24, 145, 330, 265, 48, 185, 0, 95, 300, 230, 70];

// --- words

const digits = x => x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2);
const scaled = (x, units, step) => {
  let i = 0;
  while (Math.abs(x) >= step && i < units.length - 1) { x /= step; i++; }
  return `${x === 0 ? "0" : digits(x)} ${units[i]}`;
};
const time = s => s >= 1 ? `${digits(s)} s` : s === 0 ? "0" : scaled(s * 1e9, ["ns", "µs", "ms"], 1000);
const bytes = b => b < 1024 ? `${Math.round(b)} B` : scaled(b, ["B", "KB", "MB", "GB", "TB"], 1024);
const number = n => n.toLocaleString("en");
const percent = x => x >= 0.1 ? `${(100 * x).toFixed(0)} %` : x >= 0.0005 ? `${(100 * x).toFixed(1)} %` : "";
const ofLimit = x => x > 1.005 ? "> 100 %" : percent(x) || "0 %";
const plural = (n, one) => `${number(n)} ${one}${n === 1 ? "" : "s"}`;
const lineKey = at => `${at.file}:${at.number}`;
const place = at => at.file < 0 ? "elsewhere" : `${files[at.file].path.split("/").pop()}:${at.number}`;
const lineText = at => at.file < 0 ? "" : (files[at.file].lines[at.number - files[at.file].first] || "").trim();
const CALLS = {__repr__: "print", __str__: "print", __format__: "print", __bool__: "a test of its truth",
               __call__: "a call", __getitem__: "an index"};
const called = name => CALLS[name] || (name ? `${name}()` : "the program");

// --- what belongs to what

const total = data.kernel_seconds || 1e-12;
const byLine = new Map(lines.map(l => [lineKey(l), l]));
[...lines].sort((a, b) => b.forward + b.backward - a.forward - a.backward)
  .forEach((l, i) => { l.hue = HUES[i % HUES.length]; });
const hueOf = at => { const l = byLine.get(lineKey(at)); return l ? l.hue : 220; };
const grey = at => at.file < 0;
kernels.forEach((k, i) => {
  k.id = i;
  const each = k.launches ? k.seconds / k.launches : 0;
  k.each = each;
  k.gflops = each ? k.flops / each / 1e9 : 0;
  k.gbytes = each ? k.bytes / each / 1e9 : 0;
  k.ofArithmetic = k.gflops / limits.gflops;
  k.ofBandwidth = k.gbytes / limits.gbytes;
  k.limit = Math.max(k.ofArithmetic, k.ofBandwidth);
});
const sameName = new Map();
kernels.forEach(k => sameName.set(k.name, [...(sameName.get(k.name) || []), k]));
for (const same of sameName.values()) if (same.length > 1) {
  const places = same.map(k => k.parts.length && !grey(k.parts[0]) ? place(k.parts[0]) + (k.parts[0].phase === "backward" ? " (gradient)" : "") : "");
  same.forEach((k, i) => { k.apart = places.filter(p => p === places[i]).length > 1 || !places[i]
    ? `${places[i]} plan ${k.plan}, kernel ${k.id - plans[k.plan].kernels[0] + 1}`.trim() : places[i]; });
}
plans.forEach((p, i) => { p.id = i; p.asked = new Map(); p.seconds_run = 0; });
runs.forEach(r => {
  const p = plans[r.plan], key = `${lineKey(r)} ${r.call}`;
  const found = p.asked.get(key) || {file: r.file, number: r.number, call: r.call, count: 0, how: {}};
  found.count++;
  found.how[r.how] = (found.how[r.how] || 0) + 1;
  p.asked.set(key, found);
});
plans.forEach(p => { for (let i = p.kernels[0]; i < p.kernels[1]; i++) p.seconds_run += kernels[i].seconds; });
const askedBy = p => [...p.asked.values()].sort((a, b) => b.count - a.count);

const before = data.before, beforeKernels = new Map(), beforeLines = new Map();
if (before) {
  for (const [name, launches, seconds] of before.kernels) beforeKernels.set(name, launches ? seconds / launches : 0);
  for (const [file, text, seconds] of before.lines) beforeLines.set(`${file} ${text}`, (beforeLines.get(`${file} ${text}`) || 0) + seconds);
  for (const k of kernels) k.before = beforeKernels.get(k.name) || 0;
}
function change(now, then) {
  if (!then || !now) return element("span", {className: "soft", textContent: now ? "new" : ""});
  const ratio = now / then, kind = ratio > 1.1 ? "slower" : ratio < 0.9 ? "faster" : "soft";
  return element("span", {className: kind, title: `${time(then)} before`, textContent: `× ${ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(2)}`});
}

// --- selection

let pickedKernel = -1, pickedLine = null, order = "seconds", texts = null;
const shownKernels = () => {
  const word = $("filter").value.toLowerCase();
  const only = pickedLine && new Set((byLine.get(pickedLine) || {kernels: []}).kernels);
  const chosen = kernels.filter(k => (!word || k.name.toLowerCase().includes(word)) && (!only || only.has(k.id)));
  return chosen.sort((a, b) => order === "name" ? a.name.localeCompare(b.name) : order === "id" ? a.id - b.id : b[order] - a[order]);
};
function pickLine(key, scroll = false) {
  pickedLine = key;
  if (key !== null && +key.split(":")[0] !== +$("files").value) showFile(+key.split(":")[0]);
  drawKernels(); drawTimeline();
  for (const pre of document.querySelectorAll(".pane pre")) {
    const first = [...pre.querySelectorAll("span.of")].find(s => (s.dataset.parts || "").split(" ").includes(key));
    if (first) pre.scrollTop = first.offsetTop - pre.offsetTop - pre.clientHeight / 3;
  }
  if (scroll) document.querySelector("#code tr.picked")?.scrollIntoView({block: "center"});
}
function pickKernel(id, scroll = false) {
  pickedKernel = id;
  light(); drawTimeline(); showDetail();
  document.querySelector("#list tr.picked")?.scrollIntoView({block: "nearest"});
  if (scroll && id >= 0) $("detail").scrollIntoView({block: "start", behavior: "smooth"});
}
function light() {
  const parts = pickedKernel < 0 ? [] : kernels[pickedKernel].parts.map(lineKey);
  for (const row of document.querySelectorAll("#code tr")) {
    row.classList.toggle("picked", row.dataset.key === pickedLine);
    row.classList.toggle("lit", parts.includes(row.dataset.key));
  }
  for (const row of document.querySelectorAll("#list tbody tr")) row.classList.toggle("picked", +row.dataset.id === pickedKernel);
  for (const span of document.querySelectorAll(".pane .of"))
    span.classList.toggle("picked", pickedLine !== null && span.dataset.parts.split(" ").includes(pickedLine));
  const plan = pickedKernel < 0 ? -1 : kernels[pickedKernel].plan;
  for (const row of document.querySelectorAll("#planlist tbody tr")) row.classList.toggle("lit", +row.dataset.id === plan);
  $("unselect").hidden = pickedLine === null;
}

// --- totals

function showTotals() {
  const launches = kernels.reduce((n, k) => n + k.launches, 0);
  const made = plans.reduce((n, p) => n + p.seconds, 0);
  const items = [[time(data.seconds), "in all"], [time(data.kernel_seconds), "in kernels"],
    [number(launches), "launches"], [number(kernels.length), "kernels"], [number(plans.length), "plans"],
    [time(made), "making plans"], [`${digits(limits.gflops)} GFLOP/s · ${digits(limits.gbytes)} GB/s`, "limits"]];
  if (before) items.splice(2, 0, [time(before.kernel_seconds), "in the other's"]);
  $("totals").append(...items.map(([value, what]) => element("li", {}, element("b", {textContent: value}), ` ${what}`)));
  const settings = Object.entries(data.settings).map(([k, v]) => `${k} ${v}`).join(", ");
  document.querySelector("h1").title = settings;
  const others = before ? Object.keys({...before.settings, ...data.settings}).filter(k => before.settings[k] !== data.settings[k])
    .map(k => `${k} ${before.settings[k] || "not set"} → ${data.settings[k] || "not set"}`) : [];
  if (before) document.querySelector("main").prepend(element("p", {id: "against", textContent:
    `Compared with ${before.title}: × is a time of this run over that of the other${others.length ? `. ${others.join(", ")}` : ""}.`}));
  $("totals").lastChild.title = "The most that NumPy reaches here on a product of matrices and on a copy, or one of these kernels does.";
}

// --- the program's source

const WORDS = /("""[\s\S]*?"""|'''[\s\S]*?'''|[rbf]*"(?:[^"\\]|\\.)*"|[rbf]*'(?:[^'\\]|\\.)*')|(#.*)|\b(and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|lambda|None|nonlocal|not|or|pass|raise|return|True|False|try|while|with|yield)\b/g;
function coloured(text) {
  const made = document.createDocumentFragment();
  let at = 0;
  for (const found of text.matchAll(WORDS)) {
    made.append(text.slice(at, found.index));
    made.append(element("span", {className: found[1] ? "str" : found[2] ? "com" : "kw", textContent: found[0]}));
    at = found.index + found[0].length;
  }
  made.append(text.slice(at));
  return made;
}
function bar(line, most) {
  const width = x => `width:${100 * x / most}%`;
  const made = element("div", {className: "bar"});
  made.style.setProperty("--hue", line.hue);
  for (const [phase, seconds] of [["forward", line.forward], ["backward", line.backward]])
    if (seconds) { const part = element("i", {className: phase}); part.style.cssText = width(seconds); made.append(part); }
  return made;
}
function showFile(at) {
  $("files").value = at;
  const file = files[at], body = document.querySelector("#code tbody");
  const most = Math.max(...lines.map(l => l.forward + l.backward), 1e-12);
  body.replaceChildren(...file.lines.map((text, i) => {
    const key = `${at}:${file.first + i}`, line = byLine.get(key);
    const row = element("tr", {className: line ? "has" : ""},
      element("td", {className: "no", textContent: file.first + i}),
      element("td", {className: "cost", textContent: line && line.forward + line.backward ? time(line.forward + line.backward) : ""}),
      element("td", {className: "share"}, line ? bar(line, most) : null),
      ...(before ? [element("td", {className: "cost"}, line && line.forward + line.backward ? change(line.forward + line.backward,
        beforeLines.get(`${file.path.split("/").pop()} ${text.trim()}`)) : null)] : []),
      ...[line && line.kernels.length, line && line.bytes && bytes(line.bytes)].map(t => element("td", {className: "cost soft", textContent: t || ""})),
      element("td", {}, coloured(text)));
    row.dataset.key = key;
    if (line) {
      row.tabIndex = -1;
      row.onclick = () => pickLine(pickedLine === key ? null : key);
      row.onmousemove = e => tip(e, `${percent((line.forward + line.backward) / total) || "< 0.1 %"} of the kernels' time: ` +
        `${time(line.forward)} forward, ${time(line.backward)} backward\n${plural(line.kernels.length, "kernel")}, ` +
        `${number(line.launches)} launches, ${bytes(line.bytes)} moved`);
      row.onmouseleave = () => tip();
    }
    return row;
  }));
  const here = lines.filter(l => l.file === at).reduce((s, l) => s + l.forward + l.backward, 0);
  $("sourcehint").textContent = `${percent(here / total) || "0 %"} of the kernels' time · click a line to see its kernels`;
  light();
}

// --- the kernels

const COLUMNS = [["kernel", "name", "text"], ["time", "seconds"], ["launches", "launches"],
                 ["each", "each"], ...(before ? [["before", "before"]] : []), ["GFLOP/s", "gflops"], ["GB/s", "gbytes"], ["limit", "limit"]];
function chips(kernel) {
  const made = element("span", {className: "chips"});
  for (const part of kernel.parts) {
    const one = element("i");
    one.style.cssText = `flex:${Math.max(part.share, 0.02)};` + (grey(part) ? "background:var(--soft)" : "");
    one.style.setProperty("--hue", hueOf(part));
    made.append(one);
  }
  return made;
}
function meter(share) {
  const inside = element("i");
  inside.style.width = `${Math.min(100, 100 * share)}%`;
  return element("span", {className: "meter"}, inside);
}
const MOST_ROWS = 400;
let rowsShown = MOST_ROWS;
function drawKernels() {
  const shown = shownKernels(), body = document.querySelector("#list tbody");
  body.replaceChildren(...shown.slice(0, rowsShown).map(k => {
    const row = element("tr", {},
      element("td", {className: "text name", title: `${k.name}: ${percent(k.seconds / total) || "< 0.1 %"} of the kernels' time`}, chips(k), k.name,
        k.apart ? element("span", {className: "soft", textContent: `  ${k.apart}`}) : null),
      ...[time(k.seconds), number(k.launches), time(k.each), ...(before ? [change(k.each, k.before)] : []), digits(k.gflops), digits(k.gbytes)]
        .map(text => element("td", {}, text)),
      element("td", {title: k.limit > 1 ? "What it reads lies in the processor's caches." : k.ofArithmetic > k.ofBandwidth ? "of the arithmetic" : "of the bandwidth"},
        ofLimit(k.limit), meter(k.limit)));
    row.dataset.id = k.id;
    row.onclick = () => pickKernel(k.id);
    return row;
  }));
  if (shown.length > rowsShown) {
    const more = element("tr", {}, element("td", {colSpan: COLUMNS.length, className: "text", textContent: `${number(shown.length - rowsShown)} more: click to show them`}));
    more.onclick = () => { rowsShown = Infinity; drawKernels(); };
    body.append(more);
  }
  document.querySelectorAll("#list th").forEach(h => h.classList.toggle("sorted", h.dataset.order === order));
  light();
}
function showHeads() {
  if (before) document.querySelector("#code th:nth-child(3)").after(element("th", {textContent: "×"}));
  document.querySelector("#list thead").append(element("tr", {}, ...COLUMNS.map(([title, by, kind]) => {
    const head = element("th", {textContent: title, className: kind || ""});
    head.dataset.order = by;
    head.onclick = () => { order = by; drawKernels(); };
    return head;
  })));
}

// --- one kernel

function where(at, ...rest) {
  const made = element("span", {className: "where"}, ...rest);
  made.style.setProperty("--hue", hueOf(at));
  if (grey(at)) made.style.borderColor = "var(--soft)";
  else made.onclick = () => pickLine(lineKey(at), true);
  return made;
}
const chosenTabs = {kernel: ["loop nest", "machine code"], graph: ["as recorded", "simplified"]};
const named = part => `${place(part)}${part.phase === "backward" ? " (gradient)" : ""}: ${lineText(part)}`;
function textLine(text, parts) {
  const made = element("span", {textContent: text || " "});
  parts = parts.filter(p => !grey(p));
  if (!parts.length) return made;
  const hues = [...new Set(parts.map(hueOf))];
  made.dataset.parts = parts.map(lineKey).join(" ");
  made.className = "of";
  made.style.setProperty("--hue", hues[0]);
  if (hues.length > 1) made.style.borderImage = `linear-gradient(${hues.flatMap((h, i) =>
    [0, 1].map(j => `hsl(${h} 65% var(--light)) ${100 * (i + j) / hues.length}%`)).join(",")}) 1`;
  made.onclick = () => pickLine(lineKey(parts[0]), true);
  made.onmousemove = e => { tip(e, parts.map(named).join("\n")); sameLine(made.dataset.parts); };
  made.onmouseleave = () => { tip(); sameLine(""); };
  return made;
}
function folded(spans, parts) {
  const groups = [];
  spans.forEach((span, i) => {
    const part = parts[i][0], last = groups[groups.length - 1];
    const key = part && `${lineKey(part)} ${part.phase} ${part.modules.join()}`;
    if (last && last.key === key) last.spans.push(span);
    else groups.push({key, part, spans: [span]});
  });
  return groups.flatMap(g => {
    if (!g.part || grey(g.part) || g.spans.length < 3) return g.spans;
    const title = element("summary", {}, element("b", {textContent: named(g.part)}),
      ` ${g.part.modules.join(" › ")} · ${g.spans.length} nodes`);
    const made = element("details", {open: spans.length < 80}, title, ...g.spans);
    made.style.setProperty("--hue", hueOf(g.part));
    return [made];
  });
}
function pane(kind, side, entries, partOf) {
  const made = element("div", {className: "pane"}), tabs = element("div", {className: "tabs"}), pre = element("pre");
  const titles = entries.map(t => t.title), chosen = chosenTabs[kind];
  const start = titles.includes(chosen[side]) ? chosen[side] : titles[side ? titles.length - 1 : 0];
  const show = title => {
    for (const b of tabs.children) b.classList.toggle("on", b.textContent === title);
    const [text, nodes] = texts[entries.find(t => t.title === title).text];
    const parts = text.split("\n").map((_, i) => [...new Set((nodes[i] || []).map(partOf).filter(Boolean))]);
    const spans = text.split("\n").map((line, i) => textLine(line, parts[i]));
    pre.replaceChildren(...(kind === "graph" ? folded(spans, parts) : spans));
    light();
  };
  for (const title of titles) {
    const button = element("button", {textContent: title});
    button.onclick = () => { chosen[side] = title; show(title); };
    tabs.append(button);
  }
  made.append(tabs, pre);
  show(start);
  return made;
}
function sameLine(keys) {
  const wanted = new Set(keys.split(" ").filter(Boolean));
  for (const span of document.querySelectorAll(".pane .of"))
    span.classList.toggle("lit", span.dataset.parts.split(" ").some(k => wanted.has(k)));
  for (const row of document.querySelectorAll("#code tr.has")) row.classList.toggle("lit", wanted.has(row.dataset.key) ||
    (!wanted.size && pickedKernel >= 0 && kernels[pickedKernel].parts.some(p => lineKey(p) === row.dataset.key)));
}
const askers = plan => list(askedBy(plan).slice(0, 6).map(a => where(a, `${called(a.call)} at ${place(a)} `,
  element("small", {textContent: Object.entries(a.how).map(([how, n]) => `${n} × ${how}`).join(", ")}))));
const list = items => element("ul", {}, ...items.map(x => element("li", {}, x)));
async function showDetail() {
  const box = $("detail"), k = kernels[pickedKernel];
  box.hidden = !k;
  if (!k) return;
  const plan = plans[k.plan], at = k.id - plan.kernels[0];
  const facts = [["time", `${time(k.seconds)} in ${plural(k.launches, "launch").replace("launchs", "launches")}, ${time(k.each)} each`],
    ["arithmetic", `${number(k.flops)} operations, ${digits(k.gflops)} GFLOP/s: ${ofLimit(k.ofArithmetic)} of the limit`],
    ["memory", `${bytes(k.bytes)} at least, ${digits(k.gbytes)} GB/s: ${ofLimit(k.ofBandwidth)} of the limit`],
    ["plan", `kernel ${at + 1} of ${plan.kernels[1] - plan.kernels[0]} of plan ${plan.id}, on ${k.device}`]];
  const left = element("div", {}, element("dl", {}, ...facts.flatMap(([a, b]) => [element("dt", {textContent: a}), element("dd", {textContent: b})])));
  left.append(element("h3", {textContent: "It comes from"}));
  left.append(k.parts.length ? list(k.parts.map(p => where(p,
    `${percent(p.share) || "< 0.1 %"}  ${place(p)} `, element("small", {textContent:
      `${p.phase === "backward" ? "gradient of " : ""}${p.calls.filter(c => c && !(c === "__call__" && p.modules.length)).join(", ")}${p.modules.length ? ` ${p.modules.join(" › ")}` : ""}`})))) :
    element("p", {className: "soft", textContent: "Its graph is not known: it was recorded before the block that is explained."}));
  left.append(element("h3", {textContent: "It was asked for by"}));
  left.append(askers(plan));
  if (k.code >= 0) left.append(element("h3", {textContent: "How its loops are made"}), list(codes[k.code].steps));
  const apart = [[at - 1, "before it"], [at, "after it"]].filter(([i]) => plan.apart[i])
    .map(([i, side]) => `apart from the one ${side}, ${kernels[plan.kernels[0] + (i === at ? at + 1 : i)].name}: ${plan.apart[i]}`);
  if (k.notes.length + apart.length) left.append(element("h3", {textContent: "Why it is one kernel, and apart from others"}), list([...apart, ...k.notes]));
  if (k.arrays.length) left.append(element("h3", {textContent: "Its memory"}), list(k.arrays));
  const right = element("div", {className: "texts"});
  const close = element("button", {textContent: "close (Esc)"});
  close.onclick = () => pickKernel(-1);
  const steps = [[-1, "‹ before (k)"], [1, "next (j) ›"]].map(([by, text]) => {
    const button = element("button", {textContent: text});
    button.onclick = () => move(by);
    return button;
  });
  box.replaceChildren(element("div", {className: "head"}, chips(k), element("h2", {textContent: k.name}), element("span", {className: "hint", textContent: k.apart || ""}),
    element("span", {className: "tools"}, ...steps, close)), element("div", {className: "body"}, left, right));
  if (k.code >= 0) {
    texts = texts || await inflated("texts");
    if (k.id !== pickedKernel) return;
    right.append(...[0, 1].map(side => pane("kernel", side, codes[k.code].texts, n => k.parts[k.nodes[n]])));
  } else right.append(element("p", {className: "soft", textContent: "No texts: a function of NumPy or LAPACK, a kernel of tier 0, or one whose graph is not known."}));
}

// --- plans

async function showPlan(p) {
  pickKernel(-1);
  const box = $("detail"), left = element("div", {}), right = element("div", {className: "texts"});
  const facts = [["graph", `${plural(p.nodes, "node")}, ${plural(p.outputs, "output")} of ${bytes(p.output_bytes)}`],
    ["runs", `${number(p.runs)}, ${time(p.seconds_run)} in kernels`], ["arena", `${bytes(p.arena_bytes)} for what lies between kernels${p.reused_bytes > 0 ? `, ${bytes(p.reused_bytes)} less than its values have: they take the memory of others` : ""}`],
    ...(p.donated_bytes ? [["donated", `${bytes(p.donated_bytes)}: results that overwrite what nobody needs any more`]] : []),
    ["plan", `${p.how}${p.seconds ? ` in ${time(p.seconds)}` : ""}`], ["device", p.device]];
  if (p.difference) facts.push(["differs", p.difference]);
  left.append(element("dl", {}, ...facts.flatMap(([a, b]) => [element("dt", {textContent: a}), element("dd", {textContent: b})])));
  left.append(element("h3", {textContent: "It was asked for by"}), askers(p), element("h3", {textContent: "Its kernels, in order, and why two are not one"}));
  left.append(list(kernels.slice(...p.kernels).flatMap((k, i) => {
    const made = element("span", {className: "where"}, chips(k), `${k.name} `, element("small", {textContent: time(k.seconds)}));
    made.style.borderColor = "transparent";
    made.onclick = () => pickKernel(k.id);
    return i ? [element("span", {className: "apart", textContent: p.apart[i - 1] || ""}), made] : [made];
  })));
  const close = element("button", {textContent: "close (Esc)"});
  close.onclick = () => pickKernel(-1);
  box.replaceChildren(element("div", {className: "head"}, element("h2", {textContent: `plan ${p.id}`}),
    element("span", {className: "tools"}, close)), element("div", {className: "body"}, left, right));
  box.hidden = false;
  texts = texts || await inflated("texts");
  if (p.graphs.length) {
    const {made, draw} = drawnGraph(p, texts, {element, named, place, hueOf, grey, lineKey, pickLine, sameLine, tip});
    right.append(made);
    draw();
    right.append(...[0, 1].map(side => pane("graph", side, p.graphs, n => p.parts[n])));
  } else right.append(element("p", {className: "soft", textContent: "Its graph is not known: it was recorded before the block that is explained."}));
  if (p.graphs.length) right.append(rewritesOf(p));
  box.scrollIntoView({block: "start", behavior: "smooth"});
}
function rewritesOf(p) {
  const steps = texts[p.rewrites], made = element("div", {className: "pane rewrites"}), pre = element("pre");
  const title = element("span", {className: "hint"});
  let at = 0;
  const show = by => {
    at = Math.max(0, Math.min(steps.length - 1, at + by));
    const [rule, why, before, after, part] = steps[at], from = p.parts[part];
    title.textContent = `${number(at + 1)} of ${number(p.rewritten)}: ${rule}, ${why}`;
    title.title = title.textContent;
    pre.replaceChildren(textLine(before, [from]), element("span", {className: "becomes", textContent: "becomes"}), textLine(after, [from]),
      element("span", {className: "becomes", textContent: named(from)}));
  };
  const buttons = [[-Infinity, "⇤"], [-1, "‹"], [1, "›"], [Infinity, "⇥"]].map(([by, text]) => {
    const button = element("button", {textContent: text, title: "another rewrite"});
    button.onclick = () => show(by);
    return button;
  });
  made.append(element("div", {className: "tabs"}, element("button", {className: "on", textContent: "rewrites, one at a time"}), ...buttons, title), pre);
  if (steps.length) show(0);
  else pre.append(element("span", {className: "soft", textContent: "No rule applies to this graph."}));
  return made;
}
function showPlans() {
  document.querySelector("#planlist thead").append(element("tr", {}, ...["plan", "kernels", "nodes", "runs", "time", "made in", "arena"]
    .map(t => element("th", {textContent: t})), ...["how it came about, and what it differs in", "asked for by"]
    .map(t => element("th", {textContent: t, className: "text"}))));
  document.querySelector("#planlist tbody").append(...plans.map(p => {
    const asked = askedBy(p)[0];
    const row = element("tr", {}, ...[p.id, p.kernels[1] - p.kernels[0], number(p.nodes), number(p.runs), time(p.seconds_run),
      time(p.seconds), bytes(p.arena_bytes)].map(t => element("td", {textContent: t})),
      element("td", {className: "text"}, p.how, p.difference ? element("span", {className: "soft", textContent: `: ${p.difference}`}) : null),
      element("td", {className: "text", textContent: asked ? `${called(asked.call)} at ${place(asked)}` : ""}));
    row.dataset.id = p.id;
    row.onclick = () => showPlan(p);
    return row;
  }));
  if (data.diverged.length) $("diverged").append(element("h3", {textContent: "Calls that were recorded again, not replayed"}),
    list(data.diverged.map(([why, n]) => `${n} ×  ${why}`)));
  const gone = before ? before.kernels.filter(([name]) => !kernels.some(k => k.name === name)) : [];
  if (gone.length) $("diverged").append(element("h3", {textContent: "Kernels that only the other run has"}),
    list(gone.sort((a, b) => b[2] - a[2]).slice(0, 20).map(([name, launches, seconds]) => `${name}: ${time(seconds)} in ${number(launches)} launches`)));
  if (data.left_out) $("diverged").append(element("p", {className: "soft", textContent: `${number(data.left_out)} later runs are in the sums, but not on the timeline.`}));
}

// --- the timeline

const canvas = $("timeline");
const events = [];
runs.forEach((r, i) => {
  let at = r.at;
  r.seconds.forEach((s, j) => { events.push({at, until: at + s, kernel: plans[r.plan].kernels[0] + j, run: i}); at += s; });
  r.until = at;
});
const end = Math.max(data.seconds, ...runs.slice(-1).map(r => r.until), 1e-9);
let from = 0, to = end;
const threads = 1 + Math.max(0, ...runs.map(r => r.thread), ...blocks.map(b => b.thread));
const lanes = [];
let below = 8;
for (let t = 0; t < threads; t++) {
  const lane = {blocks: null, top: below};
  if (blocks.some(b => b.thread === t)) { lane.blocks = [below, 14]; below += 18; }
  lane.asked = [below, 14]; below += 20;
  lane.kernels = [below, threads > 1 ? 24 : 40]; below += lane.kernels[1] + 6;
  lanes.push(lane);
}
const MEMORY = [below, 44], HEIGHT = below + MEMORY[1];
const arena = r => plans[r.plan].arena_bytes;
const peak = runs.reduce((best, r) => r.held + arena(r) > best.most ? {run: r, most: r.held + arena(r)} : best, {run: null, most: 0});
const base = libraries.scaleLinear([0, end], [0, 1]);
const axis = libraries.axisBottom(base).tickSizeOuter(0);
const ROLES = ["parameter", "optimizer state", "gradient", "value"], PLURALS = ["parameters", "optimizer state", "gradients", "activations and other values"];
const byRole = (a, b) => ROLES.indexOf(a.role) - ROLES.indexOf(b.role);
owners.forEach(o => { o.colour = (light, alpha) => o.role === "parameter" ? `hsl(212 14% ${light} / .55)` : o.role === "optimizer state" ? `hsl(268 22% ${light} / .55)`
  : grey(o) ? `hsl(220 8% ${light} / .4)` : `hsl(${hueOf(o)} 65% ${light} / ${o.role === "gradient" ? 0.4 : 0.75})`; });
function ownersAfter(run) {
  const held = new Map();
  for (const r of runs) {
    for (const [owner, count] of r.owners) held.set(owner, count);
    if (r === run) break;
  }
  const known = [...held].filter(([, count]) => count > 0).map(([owner, count]) => ({...owners[owner], count})).sort((a, b) => b.count - a.count);
  const rest = run.held - known.reduce((sum, o) => sum + o.count, 0);
  if (rest > 0) known.push({file: -1, number: 0, phase: "forward", role: "", count: rest, colour: light => `hsl(220 8% ${light} / .3)`});
  if (arena(run)) known.push({file: -1, number: 0, phase: "forward", role: "arena", plan: run.plan, count: arena(run), colour: light => `hsl(40 20% ${light} / .5)`});
  return known;
}
const belongs = o => o.role === "arena" ? `arena of plan ${o.plan}: what lies between kernels, while it runs` :
  o.role === "" ? "inputs, and what no run has made" :
  `${o.role === "value" ? "" : `${o.role}${grey(o) ? "" : " of "}`}${grey(o) ? (o.role === "value" ? "elsewhere" : ", from before") : place(o)}`;
function drawMemory(g, x, style) {
  if (!peak.run) return;
  const bottom = MEMORY[0] + MEMORY[1], scale = (MEMORY[1] - 4) / peak.most, light = style.getPropertyValue("--light");
  const held = new Map();
  let total = 0, at = -2;
  const order = owners.map((o, i) => i).sort((a, b) => byRole(owners[a], owners[b]));
  const column = (until, more = 0) => {
    if (until - at < 0.5) return;
    let y = bottom;
    const slice = (count, colour) => { g.fillStyle = colour; g.fillRect(at, y - count * scale, until - at, count * scale); y -= count * scale; };
    let known = 0;
    for (const i of order) {
      const count = held.get(i) || 0;
      if (count <= 0) continue;
      slice(count, owners[i].colour(light));
      known += count;
    }
    if (total > known) slice(total - known, style.getPropertyValue("--rule"));
    if (more) slice(more, `hsl(40 20% ${light} / .5)`);
    at = until;
  };
  for (const r of runs) {
    column(Math.min(canvas.clientWidth + 2, x(r.at)));
    total = r.held;
    for (const [owner, count] of r.owners) held.set(owner, count);
    column(Math.min(canvas.clientWidth + 2, x(r.until)), arena(r));
  }
  column(canvas.clientWidth + 2);
  const top = x(peak.run.until), edge = canvas.clientWidth - 130;
  g.fillStyle = style.getPropertyValue("--ink");
  g.beginPath(); g.arc(top, MEMORY[0] + 4, 3, 0, 7); g.fill();
  g.strokeStyle = style.getPropertyValue("--paper"); g.lineWidth = 3;
  const words = [`${bytes(peak.most)} at most`, Math.max(4, Math.min(top + 7, edge)), MEMORY[0] + 6];
  g.strokeText(...words);
  g.fillText(...words);
}
function drawBlocks(g, x, style) {
  for (const b of blocks) {
    const row = lanes[b.thread].blocks, left = Math.max(-2, x(b.at)), right = Math.min(canvas.clientWidth + 2, x(b.at + b.seconds));
    if (b.at + b.seconds < from || b.at > to) continue;
    g.globalAlpha = 0.35; g.fillStyle = style.getPropertyValue("--accent");
    g.fillRect(left, row[0], Math.max(1, right - left - 0.6), row[1]);
    g.globalAlpha = 1;
    if (right - left > 40) { g.save(); g.beginPath(); g.rect(left, row[0], right - left, row[1]); g.clip(); g.fillStyle = style.getPropertyValue("--ink"); g.fillText(b.name, left + 4, row[0] + 7); g.restore(); }
  }
}
function drawTimeline() {
  const scale = window.devicePixelRatio || 1, width = canvas.clientWidth, height = HEIGHT;
  canvas.width = width * scale; canvas.height = height * scale;
  canvas.style.height = `${height}px`;
  const g = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  g.scale(scale, scale);
  const light = style.getPropertyValue("--light"), x = libraries.scaleLinear([from, to], [0, width]);
  const ticks = x.ticks(Math.max(2, width / 130)), every = ticks.length > 1 ? ticks[1] - ticks[0] : end;
  const [factor, unit] = every >= 0.1 ? [1, "s"] : every >= 1e-4 ? [1e3, "ms"] : [1e6, "µs"], places = Math.max(0, -Math.floor(Math.log10(every * factor) + 1e-9));
  libraries.select("#axis").call(axis.scale(x).tickValues(ticks).tickFormat(t => `${(t * factor).toFixed(places)} ${unit}`));
  g.font = "11px system-ui, sans-serif";
  g.textBaseline = "middle";
  const chosen = pickedLine && new Set((byLine.get(pickedLine) || {kernels: []}).kernels);
  const last = lanes.map(() => [-1, -1]);
  runs.forEach(r => {
    if (r.until < from || r.at > to) return;
    const a = x(r.at), b = Math.max(x(r.until), a + 1);
    const row = lanes[r.thread].asked;
    if (b < last[r.thread][0] + 0.5) return;
    g.fillStyle = style.getPropertyValue(r.how === "planned" ? "--accent" : "--soft");
    g.globalAlpha = r.how === "replayed" ? 0.45 : 0.9;
    g.fillRect(a, row[0], Math.max(b - a - 0.5, 1), row[1]);
    last[r.thread][0] = b;
    if (b - a > 60) { g.globalAlpha = 1; g.fillStyle = style.getPropertyValue("--paper"); g.fillText(called(r.call), a + 4, row[0] + 7, b - a - 8); }
  });
  for (const e of events) {
    if (e.until < from || e.at > to) continue;
    const k = kernels[e.kernel], a = x(e.at), b = Math.max(x(e.until), a + 0.7);
    const strong = k.id === pickedKernel || (chosen && chosen.has(k.id));
    const thread = runs[e.run].thread, row = lanes[thread].kernels;
    if (b < last[thread][1] + 0.4 && !strong) continue;
    const part = k.parts[0];
    g.fillStyle = !part || grey(part) ? style.getPropertyValue("--soft") : `hsl(${hueOf(part)} 65% ${light})`;
    g.globalAlpha = (pickedKernel >= 0 || chosen) && !strong ? 0.25 : 1;
    g.fillRect(a, row[0], Math.max(b - a - (b - a > 3 ? 0.6 : 0), 0.7), row[1]);
    last[thread][1] = b;
    if (b - a > 50) { g.globalAlpha = 1; g.fillStyle = "#fff"; g.save(); g.beginPath(); g.rect(a, row[0], b - a, row[1]); g.clip(); g.fillText(k.name, a + 4, row[0] + row[1] / 2); g.restore(); }
  }
  g.globalAlpha = 1;
  drawMemory(g, x, style);
  drawBlocks(g, x, style);
  $("range").textContent = `${time(from)} to ${time(to)} · wheel or + and − to zoom, drag to move, click a kernel`;
}
function eventAt(e) {
  const box = canvas.getBoundingClientRect(), t = from + (e.clientX - box.left) / box.width * (to - from);
  const reach = 2 * (to - from) / box.width, y = e.clientY - box.top;
  if (y > MEMORY[0] - 2) {
    const r = runs.findLast(r => r.at <= t + reach);
    return r && {run: r, memory: true};
  }
  const thread = Math.max(0, lanes.findLastIndex(l => y >= l.top)), lane = lanes[thread];
  if (y < lane.asked[0]) {
    const b = blocks.filter(b => b.thread === thread && b.at <= t && t <= b.at + b.seconds).sort((a, b) => a.seconds - b.seconds)[0];
    return b && {block: b};
  }
  if (y < lane.kernels[0] - 4) {
    const r = runs.findLast(r => r.thread === thread && r.at - reach <= t && t <= r.until + reach);
    return r && {run: r};
  }
  let best = null;
  for (const one of events) {
    if (one.at - reach > t) break;
    if (runs[one.run].thread === thread && one.until + reach >= t && (!best || Math.abs((one.at + one.until) / 2 - t) < Math.abs((best.at + best.until) / 2 - t))) best = one;
  }
  return best;
}
function focus() {
  const middle = (from + to) / 2, near = pickedKernel < 0 ? events : events.filter(e => e.kernel === pickedKernel);
  return near.reduce((best, e) => Math.abs(e.at - middle) < Math.abs(best - middle) ? e.at : best, near.length ? near[0].at : middle);
}
// d3-zoom holds the part that is shown, as a scale and a shift in pixels
const drawnOn = libraries.select(canvas), wide = () => canvas.clientWidth || 1;
const zooming = libraries.zoom().on("zoom", ({transform}) => {
  [from, to] = transform.rescaleX(base.copy().range([0, wide()])).domain();
  drawTimeline();
});
function look(begin, until) {
  const scale = end / (until - begin);
  zooming.scaleExtent([1, Math.max(1, end / 1e-6)]).extent([[0, 0], [wide(), HEIGHT]]).translateExtent([[0, 0], [wide(), HEIGHT]]);
  drawnOn.call(zooming.transform, libraries.zoomIdentity.scale(scale).translate(-begin / end * wide(), 0));
}
const zoom = factor => drawnOn.call(zooming.scaleBy, 1 / factor, [(focus() - from) / (to - from) * wide(), 0]);
const slide = share => drawnOn.call(zooming.translateBy, share * (to - from) / end * wide(), 0);
canvas.onclick = e => {
  const found = eventAt(e);
  if (found && found.kernel !== undefined) pickKernel(found.kernel);
  else if (found && found.run) pickLine(lineKey(found.run), true);
};
canvas.onpointermove = e => {
  const found = e.buttons ? null : eventAt(e);
  if (!found) { tip(); return; }
  if (found.block) { tip(e, `${found.block.name}: ${time(found.block.seconds)}`); return; }
  const run = found.kernel === undefined ? found.run : runs[found.run];
  const asked = `${called(run.call)} at ${place(run)} asked for it (${run.how})`;
  if (found.memory) tip(e, [`${bytes(run.held + arena(run))} in use during this run`, ...ownersAfter(run).slice(0, 8).map(o => `${bytes(o.count)}  ${belongs(o)}`), asked].join("\n"));
  else tip(e, found.kernel === undefined ? `plan ${run.plan}: ${time(run.until - run.at)}\n${asked}` : `${kernels[found.kernel].name}: ${time(found.until - found.at)}\n${asked}`);
};
canvas.onmouseleave = () => tip();

function showMemory() {
  $("memory").hidden = !peak.run;
  if (!peak.run) return;
  const r = peak.run, found = ownersAfter(r);
  const sums = [...ROLES.map((role, i) => [PLURALS[i], found.filter(o => o.role === role).reduce((n, o) => n + o.count, 0)]), ["arena", arena(r)]];
  const most = key => Math.max(0, ...plans.map(p => p[key]));
  const saved = [["as results overwrite what nobody needs any more", most("donated_bytes")], ["as values between kernels take each other's memory", most("reused_bytes")]];
  $("memoryhint").textContent = `${bytes(peak.most)} during ${called(r.call)} at ${place(r)}, ${time(r.until)} after the beginning`;
  $("memorysums").textContent = sums.filter(([, n]) => n).map(([what, n]) => `${what} ${bytes(n)}`).join(" · ") +
    saved.filter(([, n]) => n).map(([why, n]) => `. Saved in a run: up to ${bytes(n)}, ${why}`).join("");
  document.querySelector("#owners tbody").append(...found.map(o => {
    const inside = element("i");
    inside.style.cssText = `width:${100 * o.count / peak.most}%;background:${o.colour("var(--light)")}`;
    const row = element("tr", {className: grey(o) ? "" : "has"}, element("td", {className: "cost", textContent: bytes(o.count)}),
      element("td", {className: "share"}, element("div", {className: "bar"}, inside)), element("td", {textContent: belongs(o)}), element("td", {}, coloured(lineText(o))));
    if (!grey(o)) row.onclick = () => pickLine(lineKey(o), true);
    return row;
  }));
}

// --- tips, keys, beginning

function tip(e, text) {
  const box = $("tip");
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  box.style.left = `${Math.min(e.clientX + 14, innerWidth - box.offsetWidth - 8)}px`;
  box.style.top = `${Math.min(e.clientY + 16, innerHeight - box.offsetHeight - 8)}px`;
}
function move(by) {
  const shown = shownKernels(), at = shown.findIndex(k => k.id === pickedKernel);
  if (shown.length) pickKernel(shown[Math.max(0, Math.min(shown.length - 1, at < 0 ? 0 : at + by))].id);
}
function moveLine(by) {
  const here = lines.map(lineKey), at = here.indexOf(pickedLine);
  if (here.length) pickLine(here[at < 0 ? 0 : Math.max(0, Math.min(here.length - 1, at + by))], true);
}
function turn() {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  drawTimeline();
}
const KEYS = {j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1), n: () => moveLine(1), p: () => moveLine(-1),
  "/": () => $("filter").focus(), "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1.6), "0": () => look(0, end),
  ArrowLeft: () => slide(0.2), ArrowRight: () => slide(-0.2), d: turn, "?": () => $("keys").showModal(),
  Escape: () => { if (!$("detail").hidden) pickKernel(-1); else pickLine(null); }};
document.addEventListener("keydown", e => {
  if (e.key === "Escape") e.target.blur?.();
  else if (e.target.matches("input, select") || e.ctrlKey || e.metaKey || e.altKey) return;
  if (KEYS[e.key] && !$("keys").open) { e.preventDefault(); KEYS[e.key](); }
});
$("theme").onclick = turn;
$("help").onclick = () => $("keys").showModal();
$("closer").onclick = () => zoom(0.6);
$("farther").onclick = () => zoom(1.6);
$("whole").onclick = () => look(0, end);
$("unselect").onclick = () => pickLine(null);
$("filter").oninput = drawKernels;
$("files").onchange = () => showFile(+$("files").value);
addEventListener("resize", () => look(from, to));
document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";

files.forEach((f, i) => $("files").append(element("option", {value: i, textContent: f.path})));
showTotals();
showHeads();
showPlans();
const heavy = files.map((f, i) => lines.filter(l => l.file === i).reduce((s, l) => s + l.forward + l.backward, 0));
if (files.length) {
  showFile(heavy.indexOf(Math.max(...heavy)));
  const cost = row => { const l = byLine.get(row.dataset.key); return l ? l.forward + l.backward : 0; };
  const dearest = [...document.querySelectorAll("#code tbody tr")].reduce((a, b) => cost(b) > cost(a) ? b : a), scroll = document.querySelector("#source .scroll");
  scroll.scrollTop = Math.max(0, dearest.offsetTop - scroll.clientHeight * 0.6);
}
showMemory();
drawKernels();
drawnOn.call(zooming).on("dblclick.zoom", null);
look(runs.length ? Math.max(0, runs[0].at - 0.02 * (end - runs[0].at)) : 0, end);
document.body.dataset.ready = "yes";
}
