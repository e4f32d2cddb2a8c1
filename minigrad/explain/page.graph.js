// A graph, drawn: a box for all that a line computes, which opens to its operations, with arrows between them. dagre
// says where the boxes lie, d3-zoom moves them. Next: page.css.
const MOST_BOXES = 400, MOST_OPENED = 150;

function boxesOf([text, parts, sources], opened) {
  // What is to be drawn of a graph: boxes, by name, and from which to which an arrow goes. Operations of one line that
  // hang together are one box; if those are too many, all of a line.
  const nodes = text.split("\n").map((line, i) => {
    const found = line.match(/^%\d+ = (.*?)\((?:%[%\d, ]*)?\) +(\w+ \(.*?\)) *(<- output)?/) || [line, line, "", ""];
    return {call: found[1].replace(/^FUNCTION\[(.*)\]$/, "$1"), type: found[2], result: Boolean(found[3]), part: parts[i][0],
            sources: sources[i], leaf: !sources[i].length};
  });
  const first = nodes.map((_, i) => i), firstOf = i => { while (first[i] !== i) i = first[i] = first[first[i]]; return i; };
  nodes.forEach((node, i) => { for (const s of node.sources) if (!nodes[s].leaf && nodes[s].part === node.part) first[firstOf(i)] = firstOf(s); });
  if (nodes.filter((node, i) => !node.leaf && firstOf(i) === i).length > MOST_BOXES) {
    const of = new Map();
    nodes.forEach((node, i) => { if (!node.leaf) { if (!of.has(node.part)) of.set(node.part, i); first[i] = of.get(node.part); } });
  }
  const boxes = new Map(), arrows = new Map(), nameOf = i => opened.has(firstOf(i)) ? `node ${i}` : `line ${firstOf(i)}`;
  nodes.forEach((node, i) => {
    if (node.leaf) return;
    const name = nameOf(i), box = boxes.get(name) || {part: node.part, first: firstOf(i), nodes: [], types: new Set(), result: false};
    box.nodes.push(node);
    if (node.result) { box.result = true; box.types.add(node.type); }
    boxes.set(name, box);
    for (const s of node.sources) {
      let from = nameOf(s);
      if (nodes[s].leaf) {  // what a graph reads is shown where it is opened
        if (!opened.has(box.first)) continue;
        from = `node ${s}`;
        boxes.set(from, {part: node.part, first: box.first, nodes: [nodes[s]], types: new Set([nodes[s].type]), result: false});
      }
      if (from === name) continue;
      arrows.set(`${from} ${name}`, [from, name]);
      if (!nodes[s].leaf) boxes.get(from).types.add(nodes[s].type);
    }
  });
  return {boxes, arrows};
}

function drawnGraph(plan, texts, {element, named, place, hueOf, grey, lineKey, pickLine, sameLine, tip}) {
  const {Graph, layout, select, zoom, zoomIdentity, line, curveBasis} = libraries;
  const made = element("div", {className: "pane drawn"}), tabs = element("div", {className: "tabs"});
  const hint = element("span", {className: "hint"}), whole = element("button", {textContent: "whole graph"}), opened = new Set();
  let title = plan.graphs[0].title;
  const words = (box, name) => {
    const part = plan.parts[box.part];
    if (name.startsWith("node")) return [box.nodes[0].call, box.nodes[0].type];
    const calls = [...new Set(box.nodes.map(n => n.call))], modules = part.modules.join(" › ");
    const done = calls.slice(0, 2).join(", ") + (box.nodes.length > 2 ? ` … ${box.nodes.length} ops` : "");
    const types = [...box.types];
    return [modules || part.calls.filter(Boolean).join(", ") || done, `${place(part)}${part.phase === "backward" ? " (gradient)" : ""}: ${done}`,
      types.slice(0, 2).join(", ") + (types.length > 2 ? ` and ${types.length - 2} more` : "")].filter(Boolean);
  };
  const short = text => text.length > 46 ? `${text.slice(0, 45)}…` : text;
  function draw() {
    for (const b of tabs.querySelectorAll("button")) b.classList.toggle("on", b.textContent === title);
    whole.onclick = null;
    made.querySelector("svg")?.remove();
    const {boxes, arrows} = boxesOf(texts[plan.graphs.find(g => g.title === title).text], opened);
    if (!boxes.size) { hint.textContent = "nothing is computed here: its values are handed on, or are constants"; return; }
    if (boxes.size > MOST_BOXES) { hint.textContent = `${boxes.size} lines and operations are too many to draw: they are listed below`; return; }
    hint.textContent = "click a box to mark its line, double-click to open or close it · wheel to zoom, drag to move";
    const graph = new Graph({compound: true}).setGraph({nodesep: 16, ranksep: 30, marginx: 10, marginy: 10}).setDefaultEdgeLabel(() => ({}));
    for (const [name, box] of boxes) {
      const lines = words(box, name).map(short);
      graph.setNode(name, {lines, box, width: Math.max(...lines.map(t => t.length)) * 6.6 + 18, height: 15 * lines.length + 9});
      if (name.startsWith("node")) {
        graph.setNode(`line ${box.first}`, {cluster: true, box});
        graph.setParent(name, `line ${box.first}`);
      }
    }
    for (const [from, to] of arrows.values()) graph.setEdge(from, to);
    layout(graph);
    const {width, height} = graph.graph(), svg = select(made).append("svg").attr("aria-label", `The graph, ${title}`);
    svg.append("defs").append("marker").attr("id", "tip-of-arrow").attr("viewBox", "0 0 8 8").attr("refX", 7).attr("refY", 4)
      .attr("markerWidth", 7).attr("markerHeight", 7).attr("orient", "auto").append("path").attr("d", "M0 0L8 4L0 8z");
    const all = svg.append("g");
    const names = graph.nodes(), clusters = names.filter(n => graph.node(n).cluster);
    for (const name of [...clusters, ...names.filter(n => !graph.node(n).cluster)]) drawBox(all, graph.node(name));
    const path = line(p => p.x, p => p.y).curve(curveBasis);
    all.selectAll("path.arrow").data(graph.edges().map(e => graph.edge(e).points)).enter().append("path").attr("class", "arrow")
      .attr("marker-end", "url(#tip-of-arrow)").attr("d", path);
    const shown = made.clientWidth || 900, fit = Math.min(1, shown / width), tall = Math.max(160, Math.min(640, height * Math.max(fit, 0.6)));
    const moves = zoom().scaleExtent([0.05, 3]).on("zoom", e => all.attr("transform", e.transform));
    const look = (scale, x) => svg.call(moves.transform, zoomIdentity.translate(shown / 2 - x * scale, 0).scale(scale));
    svg.attr("viewBox", `0 0 ${shown} ${tall}`).call(moves).on("dblclick.zoom", null);
    whole.onclick = () => look(Math.min(fit, tall / height), width / 2);
    if (fit >= 0.6) look(fit, width / 2);
    else look(0.7, names.map(n => graph.node(n)).reduce((top, n) => n.y < top.y ? n : top).x);  // from its beginning on
  }
  function drawBox(all, {x, y, width, height, lines, box, cluster}) {
    const part = plan.parts[box.part], group = all.append("g").attr("transform", `translate(${x - width / 2},${y - height / 2})`);
    group.attr("class", `box ${part.phase}${cluster ? " cluster" : ""}${box.result ? " result" : ""}${grey(part) ? "" : " of"}`)
      .style("--hue", hueOf(part)).attr("tabindex", 0).attr("data-parts", grey(part) ? "" : lineKey(part));
    group.append("rect").attr("width", width).attr("height", height).attr("rx", 5);
    (lines || []).forEach((text, i) => group.append("text").attr("x", 9).attr("y", 16 + 15 * i).attr("class", i ? "below" : "").text(text));
    const open = () => {
      const at = box.first;
      if (opened.has(at)) opened.delete(at);
      else if (box.nodes.length <= MOST_OPENED) opened.add(at);
      else { hint.textContent = `${box.nodes.length} operations are too many to draw: they are listed below`; return; }
      draw();
    };
    group.on("click", () => { if (!grey(part)) pickLine(lineKey(part)); }).on("dblclick", open)
      .on("keydown", e => { if (e.key === "Enter") { e.stopPropagation(); open(); } })
      .on("mousemove", e => { tip(e, `${named(part)}${box.result ? "\na result" : ""}`); sameLine(grey(part) ? "" : lineKey(part)); })
      .on("mouseleave", () => { tip(); sameLine(""); });
  }
  for (const {title: one} of plan.graphs) {
    const button = element("button", {textContent: one});
    button.onclick = () => { title = one; opened.clear(); draw(); };
    tabs.append(button);
  }
  tabs.append(whole, hint);
  made.append(tabs);
  return {made, draw};
}
