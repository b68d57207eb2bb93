// A text of one's own through the model, and a link that brings it to somebody else.

import { $, ask, colour, el, harmless, marked, percent } from "./text.js";

const EXAMPLE = "Angela Merkel flew to Paris to open an exhibition of works by Paul Klee at the Louvre, said a spokeswoman of the Goethe-Institut.";
let count = 0;

async function run() {
  const text = $("try-text").value;
  if (!text.trim()) return;
  const mine = ++count;
  $("try-note").textContent = "Looking …";
  try {
    const { entities } = await ask("api/tag", { body: { text } });
    if (mine !== count) return;
    $("try-note").textContent = entities.length === 1 ? "1 entity" : `${entities.length} entities`;
    marked($("try-marked"), text, entities);
    const points = Array.from(text);
    $("try-list").replaceChildren(
      ...entities.map(([start, end, category, fine, score]) => el("li", { class: colour(category) }, el("b", {}, harmless(points.slice(start, end).join(""))), el("span", { class: "kind" }, `${category} · ${fine}`), el("span", { class: "value" }, percent(score)))),
    );
    $("try-result").hidden = false;
  } catch (error) {
    $("try-note").textContent = error.message;
  }
}

export function open(query) {
  const text = new URLSearchParams(query).get("text");
  if (text && text !== $("try-text").value) {
    $("try-text").value = text.slice(0, 20000);
    run();
  }
}

export function begin() {
  $("try-text").value = EXAMPLE;
  $("try-form").addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  $("try-text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
  });
  $("try-share").addEventListener("click", async () => {
    const link = `${location.origin}${location.pathname}#try?${new URLSearchParams({ text: $("try-text").value })}`;
    history.replaceState(null, "", link);
    try {
      await navigator.clipboard.writeText(link);
      $("try-note").textContent = "Copied.";
    } catch {
      $("try-note").textContent = "The link is in the address bar.";
    }
  });
}
