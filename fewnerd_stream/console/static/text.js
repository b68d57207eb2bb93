// Text with its entities marked. Offsets count code points; nothing is ever read as markup.

export const CATEGORIES = ["art", "building", "event", "location", "organization", "other", "person", "product"];

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  for (const child of children) if (child != null) made.append(child); // a string becomes a text node
  return made;
}

export const $ = (id) => document.getElementById(id);
export const percent = (score) => `${Math.round(score * 100)} %`;
export const clock = (at) => (at > 0 ? new Date(at).toLocaleTimeString([], { hour12: false }) : "");
export const many = (count) => count.toLocaleString("en");
const known = new Set(CATEGORIES);
export const colour = (category) => (known.has(category) ? `c-${category}` : "c-none");

// What would steer the writing direction of all that follows, or a log's reader, is shown as a sign.
const STEERING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/gu;
export const harmless = (text) => text.replace(STEERING, "\ufffd");

// Code points by their index in UTF-16, only where the two differ.
function slicer(text) {
  if (!/[\ud800-\udbff]/.test(text)) return (a, b) => text.slice(a, b);
  const points = Array.from(text);
  return (a, b) => points.slice(a, b).join("");
}

export function marked(target, text, entities, wanted = () => true) {
  const slice = slicer(text);
  const parts = [];
  let at = 0;
  for (const [start, end, category, fine, score] of entities) {
    if (start < at || end <= start) continue;
    if (start > at) parts.push(harmless(slice(at, start)));
    const mark = el("mark", { class: `e ${colour(category)}${wanted(category, fine, score) ? "" : " dim"}`, tabindex: "-1" }, harmless(slice(start, end)));
    mark.append(el("span", { class: "vh" }, ` (${category}, ${fine}, ${percent(score)})`));
    Object.assign(mark.dataset, { category, fine, score });
    parts.push(mark);
    at = end;
  }
  parts.push(harmless(slice(at, undefined)));
  target.replaceChildren(...parts);
}

// One tip for all entities, on hover and on focus; arrow keys go from entity to entity.
export function tips() {
  const tip = $("tip");
  const show = (mark) => {
    const { category, fine, score } = mark.dataset;
    tip.replaceChildren(el("b", {}, fine), el("span", {}, `  ${category} · ${percent(Number(score))}`));
    tip.hidden = false;
    const box = mark.getClientRects()[0] ?? mark.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = tip;
    tip.style.left = `${Math.max(6, Math.min(box.left, document.documentElement.clientWidth - width - 6))}px`;
    tip.style.top = `${box.top > height + 12 ? box.top - height - 6 : box.bottom + 6}px`;
  };
  const over = (event) => {
    const mark = event.target.closest?.(".e");
    if (mark) show(mark);
    else tip.hidden = true;
  };
  document.addEventListener("pointerover", over);
  document.addEventListener("focusin", over);
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true, capture: true });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tip.hidden = true;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const holder = step && event.target.closest?.(".doc, #try-result");
    if (!holder || event.target.matches("input, textarea, select")) return;
    const marks = [...holder.querySelectorAll(".e")];
    if (!marks.length) return;
    const now = marks.indexOf(event.target);
    marks[Math.max(0, Math.min(marks.length - 1, now < 0 ? 0 : now + step))].focus();
    event.preventDefault();
  });
}

export async function ask(path, { body, token } = {}) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), credentials: "omit" });
  } catch {
    throw new Error("The console does not answer.");
  }
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(value.error ?? `The console answers ${answer.status}.`), { status: answer.status });
  return value;
}
