"use strict";
// The page keeps its own history: the proxy remembers nothing for it, and pays only while somebody looks.
// Milliseconds between looks; seconds of history; rows of a table; routes of which each has a history of its own.
const EVERY = 1000, KEPT = 600, SHOWN = 200, FOLLOWED = 500;
const $ = id => document.getElementById(id);
let token = sessionStorage.getItem("portway-token") || "";
let seen = null; // pid and uptime of the last look
const tracks = new Map(); // by route; "": all of them

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1 && (unit > 0 || n >= 1024)) { n /= 1024; unit++; }
  return (unit && n < 9.95 ? n.toFixed(1) : n.toFixed(0)) + " " + units[unit];
}
const rate = n => n < 9.95 ? n.toFixed(1) : n.toFixed(0);
function span(s) {
  if (s < 1) return s.toFixed(1) + " s";
  const parts = [["d", 86400, Infinity], ["h", 3600, 24], ["m", 60, 60], ["s", 1, 60]]
    .map(([unit, size, most]) => [unit, Math.floor(s / size) % most]);
  const first = parts.findIndex(([, n]) => n > 0);
  return parts.slice(first, first + 2).filter(([, n]) => n).map(([unit, n]) => n + unit).join(" ");
}

async function ask(path, body) {
  const headers = token ? { Authorization: "Bearer " + token } : {};
  const answer = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body, cache: "no-store" });
  const value = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(value.error), { status: answer.status, help: value.help, report: value.report });
  return value;
}

// Rates are differences of counters by the proxy's own clock.
function note(key, at, traffic, fresh) {
  let track = tracks.get(key);
  if (!track || fresh) tracks.set(key, track = { last: null, samples: [] });
  if (track.last) {
    const seconds = at - track.last.at, per = name => Math.max(0, traffic[name] - track.last.traffic[name]) / seconds;
    track.samples.push({ at, up: per("bytes_up"), down: per("bytes_down"), opened: per("opened") });
  }
  while (track.samples.length && track.samples[0].at < at - KEPT) track.samples.shift();
  track.last = { at, traffic };
}
const now = key => (tracks.get(key) || { samples: [] }).samples.at(-1) || { up: 0, down: 0, opened: 0 };

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}
function put(target, text) { if (target.textContent !== text) target.textContent = text; }
function figure(id, value, text) { $(id).value = value; put($(id), text); }

// How far back the lines go, in seconds: as far as is known, from one minute to ten.
const back = () => Math.min(KEPT, Math.max(60, ...[...tracks.values()].map(t => t.samples.length ? seen.uptime - t.samples[0].at : 0)));

// Lines over that time; a time without an answer is a gap.
function lines(svg, samples, names, width = back()) {
  const at = seen.uptime, most = Math.max(...samples.flatMap(s => names.map(n => s[n])), 0);
  const drawn = [];
  for (const name of names) {
    let part = [];
    const flush = () => {
      if (part.length) {
        const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
        line.setAttribute("class", "line-" + (name === "up" ? "up" : "down"));
        line.setAttribute("points", part.join(" "));
        drawn.push(line);
      }
      part = [];
    };
    samples.forEach((s, i) => {
      if (i && s.at - samples[i - 1].at > 10 * EVERY / 1000) flush();
      const x = 600 - 600 * (at - s.at) / width, y = most ? 97 - 94 * s[name] / most : 97;
      part.push(x.toFixed(1) + "," + y.toFixed(1));
    });
    flush();
  }
  svg.replaceChildren(...drawn);
  return most;
}
function charts() {
  const key = $("of").value, samples = (tracks.get(key) || { samples: [] }).samples, last = now(key);
  const ago = span(Math.round(back())) + " ago";
  document.querySelectorAll(".ago").forEach(label => put(label, ago));
  put($("bytes-top"), bytes(lines($("bytes-chart"), samples, ["up", "down"])) + "/s");
  put($("new-top"), rate(lines($("new-chart"), samples, ["opened"])) + "/s");
  $("bytes-chart").setAttribute("aria-label", `Bytes per second: now ${bytes(last.down)} to clients, ${bytes(last.up)} to upstreams`);
  $("new-chart").setAttribute("aria-label", `New connections per second: now ${rate(last.opened)}`);
}

// A table whose rows stay the same elements, so that focus and selection survive a look.
function table(id, columns, sort) {
  const section = $(id), head = section.querySelector("thead"), body = section.querySelector("tbody"), rows = new Map();
  let items = [], order = sort;
  const row = element("tr");
  columns.forEach((column, at) => {
    const th = element("th", undefined, column.by && typeof column.by(sample) === "number" ? "number" : "");
    th.scope = "col";
    if (column.by) {
      const button = element("button", column.title);
      button.addEventListener("click", () => {
        order = { at, down: order.at === at ? !order.down : th.className === "number" };
        draw();
      });
      th.append(button);
    } else th.textContent = column.title;
    row.append(th);
  });
  head.append(row);
  function draw() {
    const by = columns[order.at].by;
    items.sort((a, b) => {
      const [x, y] = [by(a), by(b)], way = typeof x === "number" ? x - y : String(x).localeCompare(String(y));
      return order.down ? -way : way;
    });
    [...row.children].forEach((th, at) => at === order.at
      ? th.setAttribute("aria-sort", order.down ? "descending" : "ascending") : th.removeAttribute("aria-sort"));
    const shown = items.slice(0, SHOWN), kept = new Set(shown.map(item => item.key));
    for (const [key, tr] of rows) if (!kept.has(key)) { tr.remove(); rows.delete(key); }
    shown.forEach((item, at) => {
      let tr = rows.get(item.key);
      if (!tr) {
        rows.set(item.key, tr = element("tr"));
        tr.dataset.key = item.key;
        for (const column of columns) {
          const td = element("td", undefined, column.style || (column.by && typeof column.by(item) === "number" ? "number" : ""));
          td.dataset.label = column.title;
          tr.append(td);
        }
      }
      columns.forEach((column, n) => column.show(tr.children[n], item));
      if (body.children[at] !== tr) body.insertBefore(tr, body.children[at] || null);
    });
  }
  return found => { items = found; draw(); };
}
const sample = new Proxy({}, { get: (_, name) => /^(name|route|upstream|client|state|check|path)$/.test(name) ? "" : 0 });
const text = by => (td, item) => put(td, by(item));
const number = (name, shown = String) => ({ by: i => i[name], show: (td, i) => {
  const data = td.firstChild || td.appendChild(element("data"));
  data.value = i[name];
  data.dataset.name = name;
  put(data, shown(i[name]));
} });
const STATES = { up: "up", degraded: "degraded", down: "bad", unresolved: "bad", removed: "faint", disabled: "faint", drained: "faint" };
function state(td, item) {
  const shown = td.firstChild || td.appendChild(element("span"));
  shown.className = "state " + STATES[item.state];
  put(shown, item.state);
  const deeds = item.by_hand.map(d => `by hand: ${d.act}${d.weight == null ? "" : " " + d.weight}, by ${d.by} at ${d.at}`);
  const said = [...deeds, item.reason].filter(Boolean).join("; ");
  td.title = said;
  const reason = td.children[1] || td.appendChild(element("div", "", "faint"));
  put(reason, said);
  // Only who has shown a token may change anything; what the file has switched off nobody steers.
  const steered = token && item.state !== "removed" && (item.state !== "disabled" || deeds.length);
  const done = item.by_hand.map(d => d.act);
  const offered = { drain: !done.includes("drain"), disable: !done.includes("disable"),
    weight: item.weight !== undefined, enable: deeds.length };
  const buttons = td.children[2] || td.appendChild(element("div", undefined, "acts"));
  Object.keys(offered).forEach((act, at) => {
    const button = buttons.children[at] || buttons.appendChild(element("button", act));
    button.hidden = !steered || !offered[act];
    button.onclick = () => steer(act, item);
  });
}
async function steer(act, { route, upstream, weight }) {
  const what = `${upstream ? `${upstream} of ` : ""}route ${route}`, order = upstream ? { route, upstream } : { route };
  if (act === "weight") {
    const wanted = (prompt(`weight of ${what}? (0: no new connections)`, weight) || "").trim();
    if (!wanted) return;
    order.weight = Number(wanted);
  } else if (!confirm(`${act} ${what}?${act === "disable" ? " Its connections are reset." : ""}`)) return;
  try { await ask("/v1/" + act, JSON.stringify(order)); }
  catch (error) { if (error.status === 401) needsToken(error); else alert(why(error)); }
  look();
}
const routes = table("routes", [
  { title: "Route", by: i => i.name, show(td, i) {
    const button = td.firstChild || td.appendChild(element("button", i.name));
    button.title = "show its rates";
    button.onclick = () => { $("of").value = i.name; charts(); routesPressed(); };
    put(td.children[1] || td.appendChild(element("div", "", "faint")), i.file || "");
  } },
  { title: "State", by: i => i.state, show: state },
  { title: "Open", ...number("open") },
  { title: "New/s", ...number("opened_rate", rate) },
  { title: "Up/s", ...number("up_rate", bytes) },
  { title: "Down/s", ...number("down_rate", bytes) },
  { title: "Ten minutes", style: "wide", show(td, i) {
    let svg = td.firstChild;
    if (!svg) {
      svg = td.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "svg"));
      svg.setAttribute("class", "spark");
      svg.setAttribute("viewBox", "0 0 600 100");
      svg.setAttribute("preserveAspectRatio", "none");
      svg.setAttribute("aria-hidden", "true");
    }
    lines(svg, (tracks.get(i.name) || { samples: [] }).samples, ["up", "down"]);
  } },
  { title: "Opened", ...number("opened") },
  { title: "Listens", style: "wide", show: text(i => i.listen.join(", ")) },
  { title: "Forwards to", style: "wide", show: text(i => i.forwards.join(", ")) },
], { at: 0, down: false });
function routesPressed() {
  document.querySelectorAll("#routes td:first-child button").forEach(b => b.setAttribute("aria-pressed", b.textContent === $("of").value));
}
const upstreams = table("upstreams", [
  { title: "Route", by: i => i.route, show: text(i => i.route) },
  { title: "Upstream", by: i => i.upstream, show: text(i => i.upstream + (i.backup ? " (backup)" : "")) },
  { title: "State", by: i => i.state, show: state },
  { title: "Weight", ...number("weight") },
  { title: "Open", ...number("open") },
  { title: "Failed", ...number("failed") },
  { title: "Check", by: i => i.check, show: text(i => i.check) },
  { title: "Addresses", style: "wide", show: text(i => i.addresses) },
], { at: 0, down: false });
const connections = table("connections", [
  { title: "Id", ...number("id") },
  { title: "Route", by: i => i.route, show: text(i => i.route) },
  { title: "Client", by: i => i.client, show: text(i => i.client) },
  { title: "Upstream", by: i => i.upstream || "", show: text(i => i.upstream || "not connected yet") },
  { title: "Age", ...number("age", span) },
  { title: "Idle", by: i => i.idle ?? -1, show: text(i => i.idle == null ? "" : span(i.idle)) },
  { title: "Up", ...number("bytes_up", bytes) },
  { title: "Down", ...number("bytes_down", bytes) },
  { title: "Path", by: i => i.path, show(td, i) { put(td, i.path); td.title = i.why; } },
], { at: 0, down: false });

function check(upstream) {
  // The worst of all: down, on the way up, on the way down, the slowest.
  const rank = c => (c.up ? 0 : 2) + (c.last_ok === false ? 1 : 0) || -1 / (c.took || 1e-9);
  const worst = upstream.addresses.map(a => a.check).filter(Boolean).sort((a, b) => rank(b) - rank(a))[0];
  if (!worst) return "none";
  if (worst.last_ok == null) return "not yet";
  const far = `${worst.against} of ${worst.needed}`;
  if (worst.up) return worst.last_ok ? `ok ${((worst.took || 0) * 1000).toFixed(1)} ms` : `fails ${far}`;
  return worst.last_ok ? `passes ${far}` : "FAILS";
}
function ofSource(source) {
  if (!source) return [];
  const offered = source.offered_serial != null && source.offered_serial !== source.serial
    ? [`${source.url}: serial ${source.offered_serial} is for ${source.offered_stage}% of the nodes`] : [];
  return [source.away && `${source.url} does not answer: ${source.away.why}`,
    source.refused && `${source.url}: not taken: ${source.refused.why}`, ...offered].filter(Boolean);
}
function overview(status) {
  const { traffic, limits } = status, last = now("");
  const file = status.file ? `file ${status.file}` : "routes of the command line";
  const source = status.source ? `, from ${status.source.url}${status.source.serial == null ? "" : `, serial ${status.source.serial}`}` : "";
  const stale = status.reload.stale ? " — STALE: edits do not arrive, mount the folder of the file" : "";
  put($("about"), `${status.version}, ${status.phase} for ${span(status.uptime)}, generation ${status.generation}, ${file}${source}${stale}`);
  figure("open", traffic.open, String(traffic.open));
  put($("open-most"), `of ${limits.connections.most + limits.sessions.most}`);
  put($("new-rate"), rate(last.opened));
  put($("up-rate"), bytes(last.up) + "/s");
  put($("down-rate"), bytes(last.down) + "/s");
  figure("opened", traffic.opened, String(traffic.opened));
  figure("bytes-up", traffic.bytes_up, bytes(traffic.bytes_up));
  figure("bytes-down", traffic.bytes_down, bytes(traffic.bytes_down));
  figure("descriptors", limits.descriptors.used, String(limits.descriptors.used));
  put($("descriptors-most"), `of ${limits.descriptors.most}`);
  $("fault").hidden = !status.pending;
  if (status.pending) {
    put($("fault-headline"), `Since ${status.pending.since} the file is not what runs: ${status.pending.headline}`);
    put($("fault-report"), status.pending.report);
  }
  const care = [...ofSource(status.source), ...status.pending_files.map(f => `${f.file} is not in force since ${f.pending.since}: ${f.pending.headline}`),
    ...status.warnings.map(w => `${w.file}: ${w.message}: ${w.help}`)];
  $("care").hidden = !care.length;
  if (care.join("\n") !== [...$("care-list").children].map(li => li.textContent).join("\n"))
    $("care-list").replaceChildren(...care.map(line => element("li", line)));
}
function choices(found) {
  const select = $("of"), names = ["", ...found.map(r => r.name)];
  if (names.join("\n") === [...select.options].map(o => o.value).join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(...names.map(name => new Option(name || "all routes", name)));
  select.value = names.includes(chosen) ? chosen : "";
}
const shownOf = count => count > SHOWN ? `${SHOWN} of ${count}` : String(count);
function show(status, allRoutes, allUpstreams, open) {
  const fresh = !seen || seen.pid !== status.pid;
  if (!fresh && status.uptime <= seen.uptime) return;
  seen = { pid: status.pid, uptime: status.uptime };
  note("", status.uptime, status.traffic, fresh);
  if (allRoutes.routes.length <= FOLLOWED) for (const route of allRoutes.routes) note(route.name, status.uptime, route.traffic, fresh);
  const there = new Set(["", ...allRoutes.routes.map(r => r.name)]);
  for (const key of tracks.keys()) if (!there.has(key)) tracks.delete(key);
  overview(status);
  choices(allRoutes.routes);
  charts();
  routes(allRoutes.routes.map(r => ({ key: r.name, name: r.name, route: r.name, file: r.file, state: r.state, reason: [r.reason, ...r.more_reasons || []].filter(Boolean).join("; "), by_hand: r.by_hand ? [r.by_hand] : [], open: r.traffic.open,
    opened: r.traffic.opened, opened_rate: now(r.name).opened, up_rate: now(r.name).up, down_rate: now(r.name).down,
    listen: r.listen, forwards: r.upstream })));
  put($("routes-count"), `${shownOf(allRoutes.routes.length)}, ${status.routes.down} down, ${status.routes.degraded} degraded`);
  routesPressed();
  upstreams(allUpstreams.upstreams.map(u => ({ key: u.route + "\n" + u.upstream, route: u.route, upstream: u.upstream, state: u.state,
    reason: u.reason, by_hand: u.by_hand, weight: u.by_hand.map(d => d.weight).find(w => w != null) ?? u.weight, backup: u.backup, open: u.traffic.open, failed: u.failed, check: check(u),
    addresses: u.addresses.map(a => a.address + (a.up ? "" : ` (${a.reason || "down"})`)).join(", ") })));
  put($("upstreams-count"), `${shownOf(allUpstreams.upstreams.length)}, ${allUpstreams.upstreams.filter(u => u.state !== "up").length} not up`);
  const wanted = $("filter-text").value.toLowerCase();
  const matching = open.connections.filter(c => [c.route, c.client, c.upstream || "", c.peer || "", String(c.id)]
    .some(part => part.toLowerCase().includes(wanted)));
  connections(matching.map(c => ({ key: c.id, ...c })));
  put($("connections-count"), `${Math.min(matching.length, SHOWN)} of ${open.open}`);
}

const why = error => [error.message, error.help].filter(Boolean).join(": ");
function needsToken(error) {
  put($("rights-why"), why(error));
  $("rights").hidden = false;
}
let looking = false;
async function look() {
  if (looking) return;
  looking = true;
  try {
    // A filter looks further than what is shown.
    const limit = $("filter-text").value ? 1000 : SHOWN;
    show(...await Promise.all(["/v1/status", "/v1/routes", "/v1/upstreams", `/v1/connections?limit=${limit}`].map(p => ask(p))));
    $("offline").hidden = true;
  } catch (error) {
    if (error.status === 401) needsToken(error);
    else put($("offline-why"), error.status ? why(error) : "The proxy does not answer. What is shown is old.");
    $("offline").hidden = error.status === 401;
  } finally { looking = false; }
}
// A proxy with very many routes is asked less often than a small one.
async function watch() {
  const began = performance.now();
  await look();
  setTimeout(watch, Math.max(EVERY, 10 * (performance.now() - began)));
}

function planned(plan) {
  const list = element("ul"), add = (text, style) => list.append(element("li", text, style));
  const becomes = r => r.open ? `; ${r.open} open: ${r.on_change === "drain" ? `drained within ${span(r.drain_timeout)}` : r.on_change}` : "";
  for (const r of plan.added) add(`+ route ${r.name}: ${r.listen.join(", ")} → ${r.upstream.join(", ")}`, "add");
  for (const r of plan.removed) add(`− route ${r.name}${becomes(r)}`, "remove");
  for (const r of plan.changed) add(`~ route ${r.name}: ${r.keys.map(k => `${k.key} ${k.from} → ${k.to}`).join(", ")}${becomes(r)}`, "change");
  for (const k of plan.settings) add(`~ ${k.key} ${k.from} → ${k.to}`, "change");
  for (const l of plan.listeners) add(`opens ${l.protocol} ${l.address}: ${l.error ? l.error + (l.help ? ": " + l.help : "") : "available"}`, l.error ? "remove" : "");
  for (const address of plan.closed) add(`closes ${address}`);
  for (const u of plan.upstreams) add(`${u.route} → ${u.upstream}: ${u.result}${u.error ? ": " + u.error : ""}`, u.error ? "remove" : "");
  $("plan-result").replaceChildren(element("p", plan.changes ? "It would change this:" : "Nothing: it says what runs."), list);
}
$("plan-form").addEventListener("submit", async event => {
  event.preventDefault();
  put($("plan-result"), "planning …");
  const text = $("plan-text").value;
  try { planned(await ask("/v1/plan", text.trim() ? text : undefined)); }
  catch (error) {
    if (error.status === 401) needsToken(error);
    const said = [element("p", why(error), "remove")];
    if (error.report) said.push(element("pre", error.report));
    $("plan-result").replaceChildren(...said);
  }
});
$("plan-file").addEventListener("change", async event => {
  if (event.target.files[0]) $("plan-text").value = await event.target.files[0].text();
});
$("token-form").addEventListener("submit", event => {
  event.preventDefault();
  sessionStorage.setItem("portway-token", token = $("token").value);
  $("token").value = "";
  $("rights").hidden = true;
  look();
});
$("filter").addEventListener("submit", event => event.preventDefault());
$("filter-text").addEventListener("input", look);
$("of").addEventListener("change", () => { if (seen) { charts(); routesPressed(); } });
watch();
