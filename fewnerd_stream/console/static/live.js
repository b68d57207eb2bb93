// Documents as they come, the newest first: a ring of them is kept, those that pass the filters are shown.

import { $, CATEGORIES, ask, clock, colour, el, harmless, many, marked } from "./text.js";

const KEPT = 500;
const SHOWN = 60;
const kept = new Map(); // by place, the oldest first
const open = new Map(); // documents that are shown whole, by place
const cards = new Map();
const feeds = new Set();
const types = new Set();
const chosen = new Set();
let paused = false;
let waiting = 0;
let skipped = 0;
let dead = 0;
let drawn = true;
let visible = () => true;

const filter = { text: "", type: "", feed: "", score: 0 };
const narrow = () => chosen.size || filter.type || filter.score;

function wants(category, fine, score) {
  return (!chosen.size || chosen.has(category)) && (!filter.type || fine.toLowerCase().includes(filter.type)) && score >= filter.score;
}

function passes(one) {
  if (filter.feed && one.feed !== filter.feed) return false;
  if (filter.text && !`${one.title}\n${one.text}\n${one.id}`.toLowerCase().includes(filter.text)) return false;
  if (!narrow()) return true;
  if (chosen.has("none") && !one.total && !filter.type && !filter.score) return true;
  return one.entities.some(([, , category, fine, score]) => wants(category, fine, score));
}

function card(one, fresh) {
  const made = el("li", { class: `doc${fresh ? " fresh" : ""}`, tabindex: "0" });
  const head = el("header");
  if (one.title) head.append(el("h2", { dir: "auto" }, one.url ? el("a", { href: one.url, rel: "noopener noreferrer nofollow", target: "_blank" }, harmless(one.title)) : harmless(one.title)));
  const facts = [
    one.feed && el("span", { class: "feed" }, harmless(one.feed)),
    el("span", { class: "id" }, harmless(one.id)),
    one.attempt && el("span", {}, `attempt ${one.attempt + 1}`),
    el("span", {}, one.total === 1 ? "1 entity" : `${many(one.total)} entities`),
    el("time", {}, clock(one.at)),
  ];
  head.append(...facts.filter(Boolean));
  const body = el("div", { class: "marked", dir: "auto" });
  const whole = open.get(one.place);
  const { text, entities } = whole ?? one;
  // The headline stands above already.
  const skip = one.title && text.startsWith(one.title) ? Array.from(one.title).length + (text.slice(one.title.length).match(/^\s*/)?.[0].length ?? 0) : 0;
  const headless = skip && skip < Array.from(text).length && !entities.some(([start]) => start < skip);
  if (headless) marked(body, Array.from(text).slice(skip).join(""), entities.map(([a, b, ...rest]) => [a - skip, b - skip, ...rest]), wants);
  else {
    marked(body, text, entities, wants);
    if (skip) head.querySelector("h2")?.classList.add("vh"); // its entities are marked in the text's first line
  }
  if (whole) { body.classList.add("long"); body.tabIndex = 0; body.setAttribute("role", "region"); body.setAttribute("aria-label", "The whole text"); }
  made.append(head, body);
  if (one.length > Array.from(one.text).length) {
    if (!whole) body.append(" …");
    const more = el("button", { type: "button", class: "more", "aria-expanded": String(Boolean(whole)) }, whole ? "Show less" : `Show all ${many(one.length)} characters`);
    more.addEventListener("click", () => toggle(one));
    made.append(more);
  }
  return made;
}

async function toggle(one) {
  if (open.has(one.place)) open.delete(one.place);
  else {
    try {
      open.set(one.place, await ask(`api/document?place=${encodeURIComponent(one.place)}`));
    } catch (error) {
      note(error.message);
      return;
    }
  }
  const made = card(one, false);
  cards.get(one.place)?.replaceWith(made);
  cards.set(one.place, made);
  made.querySelector(".more")?.focus();
}

function note(message) {
  const parts = [];
  if (message) parts.push(message);
  if (paused && waiting) parts.push(`${many(waiting)} new while paused.`);
  if (skipped) parts.push(`${many(skipped)} skipped: more come than can be shown.`);
  if (dead) parts.push(`${many(dead)} could not be enriched.`);
  $("live-note").textContent = parts.join(" ");
  $("live-note").hidden = !parts.length;
}

function draw(fresh = new Set()) {
  if (!visible()) { drawn = false; return; }
  drawn = true;
  const shown = [];
  for (const one of [...kept.values()].reverse()) {
    if (passes(one)) shown.push(one);
    if (shown.length === SHOWN) break;
  }
  const list = $("documents");
  const places = new Set(shown.map((one) => one.place));
  for (const [place, node] of cards) if (!places.has(place)) { node.remove(); cards.delete(place); }
  let after = null;
  for (const one of shown) {
    let node = cards.get(one.place);
    if (!node) { node = card(one, fresh.has(one.place)); cards.set(one.place, node); }
    // Only what is out of place moves: the focus stays where it is.
    if (after ? after.nextSibling !== node : list.firstChild !== node) after ? after.after(node) : list.prepend(node);
    after = node;
  }
  $("live-empty").hidden = shown.length > 0;
  $("live-empty").firstElementChild.textContent = kept.size ? "Nothing passes the filters." : "Nothing has come yet.";
  $("live-hint").textContent = kept.size ? `${many(kept.size)} documents are kept.` : "Documents appear here as a worker finishes them.";
  $("live-sub").textContent = kept.size ? `${many(shown.length)} of the last ${many(kept.size)} documents` : "";
}

function redraw() {
  for (const node of cards.values()) node.remove();
  cards.clear();
  draw();
}

function options() {
  const select = $("f-feed");
  if (select.options.length - 1 !== feeds.size) select.replaceChildren(el("option", { value: "" }, "all"), ...[...feeds].sort().map((feed) => el("option", { value: feed }, harmless(feed))));
  select.value = filter.feed;
  if ($("types").children.length !== types.size) $("types").replaceChildren(...[...types].sort().map((type) => el("option", { value: type })));
}

export function take({ documents, skipped: left = 0, dead: letters = [] }, start = false) {
  const fresh = new Set();
  for (const one of documents) {
    const before = kept.has(one.place);
    kept.set(one.place, one);
    if (before && !start) { cards.get(one.place)?.remove(); cards.delete(one.place); } else if (!before) fresh.add(one.place);
    if (one.feed && feeds.size < 200) feeds.add(one.feed);
    for (const [, , , fine] of one.entities) if (types.size < 300) types.add(fine);
  }
  while (kept.size > KEPT) { const [place] = kept.keys(); kept.delete(place); open.delete(place); }
  skipped += left;
  dead += letters.length;
  if (paused) waiting += fresh.size;
  else draw(start ? new Set() : fresh);
  options();
  note();
}

export const skip = (count) => { skipped += count; note(); };
export const show = () => { if (!drawn) draw(); };

export function begin(isVisible) {
  visible = isVisible;
  for (const name of [...CATEGORIES, "none"]) {
    const chip = el("button", { type: "button", class: `chip ${colour(name)}`, "aria-pressed": "false" }, name);
    chip.addEventListener("click", () => {
      chosen.has(name) ? chosen.delete(name) : chosen.add(name);
      chip.setAttribute("aria-pressed", String(chosen.has(name)));
      redraw();
    });
    $("chips").append(chip);
  }
  const wide = matchMedia("(min-width: 621px)");
  const unfold = () => { $("more").open = wide.matches; };
  wide.addEventListener("change", unfold);
  unfold();
  const read = () => {
    filter.text = $("f-text").value.trim().toLowerCase();
    filter.type = $("f-type").value.trim().toLowerCase();
    filter.feed = $("f-feed").value;
    filter.score = Number($("f-score").value) / 100;
    $("f-score-out").value = `${$("f-score").value} %`;
    redraw();
  };
  $("filters").addEventListener("input", read);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("f-clear").addEventListener("click", () => {
    $("filters").reset();
    chosen.clear();
    for (const chip of $("chips").children) chip.setAttribute("aria-pressed", "false");
    read();
  });
  $("pause").addEventListener("click", () => {
    paused = !paused;
    waiting = 0;
    $("pause").setAttribute("aria-pressed", String(paused));
    $("pause").textContent = paused ? "Go on" : "Pause";
    if (!paused) draw();
    note();
  });
  draw();
}
