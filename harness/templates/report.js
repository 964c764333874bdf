// SPDX-License-Identifier: BSD-2-Clause
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const panel = document.getElementById("panel");
const search = document.getElementById("search");
const root = document.documentElement;

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children.filter((c) => c !== null && c !== undefined && c !== ""));
  return node;
}

function badge(result) {
  const title = `${result.id}\n${result.checks} checks, ${result.outcome}`;
  return el("span", { class: `badge v-${result.verdict} o-${result.outcome}`, title }, result.verdict);
}

// Rows bits, columns CPUs; a test is one row.
function verdicts(results) {
  const cpus = [...new Set(results.map((r) => r.cpu))];
  const names = [...new Set(results.map((r) => name(r)))];
  const table = el("table", {});
  if (cpus[0] !== null)
    table.append(el("tr", {}, el("th", {}, ""), ...cpus.map((c) => el("th", {}, `CPU ${c}`))));
  for (const n of names) {
    const own = results.filter((r) => name(r) === n);
    const cells = cpus.map((c) => el("td", {}, ...own.filter((r) => r.cpu === c).map(badge)));
    table.append(el("tr", {}, el("th", {}, n), ...cells));
  }
  return table;
}

function name(result) {
  const rest = result.id.slice(result.item.length + 1);
  return rest ? rest.replace(/\/cpu\d+$/, "") : "verdict";
}

function finding(result) {
  const box = el("div", { class: `finding o-${result.outcome}` });
  const where = result.cpu === null ? "" : ` ${name(result)}, CPU ${result.cpu}`;
  box.append(el("p", {}, badge(result), where, ` ${result.outcome}, expected ${result.expected}`));
  if (result.reason) box.append(el("p", {}, result.reason));
  if (result.note) box.append(el("p", { class: "about" }, result.note));
  for (const f of result.fails)
    box.append(el("p", { class: "id" }, `${f.at || ""}: ${f.expr || ""}: want ${f.want}, got ${f.got} (iteration ${f.iter})`));
  if (result.known) {
    box.append(el("p", {}, el("b", {}, "Known: "), result.known.reason));
    if (result.known.evidence) box.append(el("p", { class: "about" }, result.known.evidence));
    if (/^https?:/.test(result.known.link)) box.append(el("p", {}, el("a", { href: result.known.link }, result.known.link)));
    else if (result.known.link) box.append(el("p", { class: "id" }, result.known.link));
  }
  return box;
}

function copyable(title, text, kind) {
  const button = el("button", { class: "copy" }, "copy");
  button.onclick = () => navigator.clipboard.writeText(text).then(() => (button.textContent = "copied"));
  const pre = el("pre", { class: kind || "" });
  for (const line of text.replace(/\r\n/g, "\n").split(/(?<=\n)/)) {
    const bad = /^lhv \d+ (fail|panic|refuse|result .*verdict=(BAD|ERROR))/.test(line);
    pre.append(bad ? el("span", { class: "mark" }, line) : line);
  }
  return [el("h3", {}, title, button), pre];
}

function list(pairs) {
  const dl = el("dl", {});
  for (const [key, value] of pairs) if (value) dl.append(el("dt", {}, key), el("dd", {}, String(value)));
  return dl;
}

function show(item, block) {
  const results = data.items[item];
  if (!results) return;
  const first = results[0];
  const boot = data.boots[first.boot];
  const stack = data.stacks[first.stack];
  const close = el("button", { class: "close", "aria-label": "Close" }, "×");
  close.onclick = hide;
  const told = results.filter((r) => r.verdict !== "GOOD" || r.outcome !== "ok");
  // Alike for all bits and CPUs: told once.
  const alike = told.length === results.length && new Set(told.map((r) => r.verdict + r.reason)).size === 1;
  panel.replaceChildren(
    close,
    el("h2", {}, item),
    el("p", { class: "about" }, first.sdm ? `SDM: ${first.sdm}` : first.title.replaceAll("+", " ")),
    el("h3", {}, "Verdicts"), verdicts(results),
    ...(told.length ? [el("h3", {}, "Reasons")] : []),
    ...(alike ? told.slice(0, 1) : told).map(finding),
    ...copyable("How to repeat it", first.repeat),
    el("h3", {}, "Machine"),
    list([
      ["stack", stack && `${stack.engine} ${stack.version}, ${stack.cpu_model}`],
      ["needs", first.test && first.title],
      ["instructions", first.instructions && first.instructions.toLocaleString("en")],
      ["CPU time", first.seconds !== null && `${first.seconds} s`],
      ["boot", boot && `${first.boot}, ${boot.end}`],
    ]),
    ...(boot ? copyable("Command line of the kernel", boot.cmdline) : []),
    ...(boot ? copyable("Command line of the emulator", boot.command) : []),
    ...(data.logs[first.log] ? copyable("Serial log", data.logs[first.log], "log") : []),
  );
  panel.hidden = false;
  panel.scrollTop = 0;
  mark(item, block);
  history.replaceState(null, "", "#" + item);
}

function hide() {
  panel.hidden = true;
  mark(null);
  history.replaceState(null, "", location.pathname + location.search);
}

function mark(item, block) {
  for (const cell of document.querySelectorAll(".cell")) {
    cell.setAttribute("aria-current", String(cell.dataset.item === item));
    // The panel is beside the matrix.
    if (cell.dataset.item === item && cell.closest(".matrix")) cell.scrollIntoView({ block, inline: "center" });
  }
}

let filter = "all";
function refresh() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let seen = 0;
  for (const row of document.querySelectorAll(".line")) {
    const text = row.dataset.text.toLowerCase();
    const wanted = (filter === "all" || row.dataset[filter] === "1") && words.every((w) => text.includes(w));
    row.hidden = !wanted;
    seen += wanted;
  }
  for (const body of document.querySelectorAll(".matrix tbody"))
    body.hidden = !body.querySelector(".line:not([hidden])");
  document.getElementById("nothing").hidden = seen > 0;
}

for (const button of document.querySelectorAll(".filters button"))
  button.onclick = () => {
    filter = button.dataset.filter;
    for (const other of document.querySelectorAll(".filters button"))
      other.setAttribute("aria-pressed", String(other === button));
    refresh();
  };
search.oninput = refresh;
for (const cell of document.querySelectorAll(".cell")) cell.onclick = () => show(cell.dataset.item, cell.closest(".differences") ? "center" : "nearest");
document.onkeydown = (event) => event.key === "Escape" && hide();

const dark = matchMedia("(prefers-color-scheme: dark)");
root.classList.toggle("dark", dark.matches);
dark.onchange = () => root.classList.toggle("dark", dark.matches);
document.getElementById("theme").onclick = () => root.classList.toggle("dark");

if (location.hash) show(decodeURIComponent(location.hash.slice(1)), "center");
