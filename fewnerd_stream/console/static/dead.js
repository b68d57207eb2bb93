// Dead letters: look, search, repair, replay. The token stays in this page's memory.

import { $, ask, el, harmless, many } from "./text.js";

const REASONS = ["tombstone", "invalid-utf8", "not-json", "nan", "unpaired-surrogate", "not-an-object", "missing-field", "wrong-type", "blank-text", "too-deep", "text-too-large", "result-too-large", "model-error", "crash", "unknown"];
let token = "";
let rows = [];
const selected = new Map();

const key = (row) => `${row.input}/${row.partition}/${row.offset}`;
const place = ({ input, partition, offset }) => ({ input, partition, offset });
const day = (iso) => (iso ? new Date(iso).toLocaleString([], { hour12: false, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" }) : "?");

function note(text) {
  $("dead-note").textContent = text;
  $("dead-note").hidden = !text;
}

async function guarded(work) {
  try {
    return await work();
  } catch (error) {
    if (error.status === 401) {
      token = "";
      $("login").hidden = false;
      $("dead-body").hidden = true;
      $("login-error").textContent = "This is not the token.";
    } else if ($("dead-body").hidden) $("login-error").textContent = error.message;
    else note(error.message);
    return null;
  }
}

function buttons() {
  $("d-replay").disabled = !selected.size;
  $("d-replay").textContent = selected.size ? `Replay ${many(selected.size)} selected` : "Replay selected";
  const free = rows.filter((row) => !row.replayed);
  $("d-all").disabled = !free.length;
  $("d-all").checked = free.length > 0 && free.every((row) => selected.has(key(row)));
}

function line(row) {
  const box = el("input", { type: "checkbox", "aria-label": `Select letter ${key(row)}` });
  box.checked = selected.has(key(row));
  box.disabled = row.replayed;
  box.addEventListener("change", () => {
    box.checked ? selected.set(key(row), row) : selected.delete(key(row));
    buttons();
  });
  const link = el("button", { type: "button", class: "link", "aria-label": `Open letter ${key(row)}` }, `${row.partition}:${row.offset}`);
  const made = el(
    "tr",
    {},
    el("td", {}, box),
    el("td", { class: "when" }, day(row.time)),
    el("td", {}, el("span", { class: `tag${row.replayed ? " done" : ""}` }, row.reason), row.replayed ? el("div", { class: "small" }, "replayed") : null),
    el("td", { class: "preview" }, row.bytes == null ? "null" : harmless(row.preview)),
    el("td", {}, link),
  );
  link.addEventListener("click", () => view(row, made));
  return made;
}

let asked = 0;

async function search() {
  const mine = ++asked;
  const query = new URLSearchParams({ search: $("d-text").value, reason: $("d-reason").value });
  const found = await guarded(() => ask(`api/dead?${query}`, { token }));
  if (!found || mine !== asked) return false; // a later search has its own answer
  $("letter").hidden = true;
  rows = found.letters;
  selected.clear();
  $("letters").tBodies[0].replaceChildren(...rows.map(line));
  $("letters").hidden = !rows.length;
  $("dead-empty").hidden = rows.length > 0;
  const part = found.looked_at < found.total ? `, of the newest ${many(found.looked_at)}` : "";
  $("dead-sub").textContent = `${found.more ? "the newest " : ""}${many(rows.length)} shown${part}, ${many(found.total)} in all`;
  buttons();
  return true;
}

// Bytes that are no text are shown as what they are.
function hex(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).subarray(0, 4096);
  const lines = [];
  for (let at = 0; at < bytes.length; at += 8) {
    const part = [...bytes.subarray(at, at + 8)];
    lines.push(`${at.toString(16).padStart(4, "0")}  ${part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(23)}  ${part.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("")}`);
  }
  return lines.join("\n");
}

const decode = (base64) => new TextDecoder().decode(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));

async function view(row, line) {
  const query = new URLSearchParams(place(row));
  const found = await guarded(() => ask(`api/dead/letter?${query}`, { token }));
  if (!found) return;
  for (const other of $("letters").tBodies[0].rows) other.classList.toggle("open", other === line);
  const raw = found.value;
  const text = raw == null ? "" : typeof raw === "string" ? raw : decode(raw.base64);
  const facts = [["Letter", key(row)], ["Reason", found.reason], ["Error", found.message], ["Raised by", found.error], ["Stage", found.stage], ["Attempts", found.attempts], ["Replays", found.replay], ["Origin", found.origin], ["Size", found.bytes == null ? "null" : `${many(found.bytes)} bytes`]];
  const list = el("dl");
  for (const [name, value] of facts) if (value || value === 0) list.append(el("dt", {}, name), el("dd", {}, harmless(String(value))));
  const area = el("textarea", { rows: "9", spellcheck: "false", id: "repair" });
  area.value = text;
  area.readOnly = found.cut;
  const verdict = el("p", { role: "status" });
  const send = el("button", { type: "button", class: "main" }, "Repair and replay");
  const judge = (problem) => {
    verdict.className = problem ? "error" : "okay";
    verdict.textContent = problem ? `${problem.reason}: ${problem.message}` : "A worker takes this.";
    send.disabled = Boolean(problem) || found.cut || row.replayed;
  };
  let wait;
  area.addEventListener("input", () => {
    send.disabled = true;
    clearTimeout(wait);
    wait = setTimeout(async () => {
      const checked = await guarded(() => ask("api/dead/check", { token, body: { value: area.value } }));
      if (checked) judge(checked.problem);
    }, 250);
  });
  send.addEventListener("click", () => replay([row], area.value));
  judge(found.problem);
  const parts = [el("h2", {}, `Letter ${row.partition}:${row.offset}`), list];
  if (raw != null && typeof raw !== "string") parts.push(el("p", { class: "small" }, "Its bytes are no UTF-8:"), el("pre", { class: "hex", tabindex: "0", role: "region", "aria-label": "Raw bytes" }, hex(raw.base64)));
  if (found.stacktrace) parts.push(el("details", {}, el("summary", {}, "Stack trace"), el("pre", { tabindex: "0", role: "region", "aria-label": "Stack trace" }, harmless(found.stacktrace))));
  parts.push(el("label", { for: "repair", class: "small" }, found.cut ? "The first MiB of its value, too large to be repaired here" : "Value"), area, verdict, el("div", { class: "row" }, send));
  $("letter").replaceChildren(...parts);
  $("letter").hidden = false;
  if (matchMedia("(max-width: 820px)").matches) $("letter").scrollIntoView({ block: "nearest" });
}

async function replay(letters, value) {
  $("d-replay").disabled = true;
  note("Replaying …");
  const done = await guarded(() => ask("api/dead/replay", { token, body: { letters: letters.map(place), ...(value == null ? {} : { value }) } }));
  if (!done) return;
  const parts = [`${many(done.replayed)} replayed`];
  if (done.before) parts.push(`${many(done.before)} were before`);
  if (done.refused) parts.push(`${many(done.refused)} refused: they died again after three replays`);
  await search();
  note(`${parts.join(", ")}.`);
}

export function begin() {
  for (const reason of REASONS) $("d-reason").append(el("option", { value: reason }, reason));
  $("login").addEventListener("submit", async (event) => {
    event.preventDefault();
    token = $("token").value.trim();
    $("login-error").textContent = "";
    const button = $("login").querySelector("button");
    button.disabled = true; // a broker that is away is waited for
    button.textContent = "Opening …";
    if (await search()) {
      $("token").value = "";
      $("login").hidden = true;
      $("dead-body").hidden = false;
    }
    button.disabled = false;
    button.textContent = "Open";
  });
  $("dead-search").addEventListener("submit", (event) => {
    event.preventDefault();
    note("");
    search();
  });
  $("d-all").addEventListener("change", () => {
    for (const row of rows) if (!row.replayed) $("d-all").checked ? selected.set(key(row), row) : selected.delete(key(row));
    $("letters").tBodies[0].replaceChildren(...rows.map(line));
    buttons();
  });
  $("d-replay").addEventListener("click", () => replay([...selected.values()]));
}
