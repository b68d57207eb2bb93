// Pages, the stream of events, and how all stands.

import * as dead from "./dead.js";
import * as live from "./live.js";
import * as numbers from "./numbers.js";
import { $, ask, tips } from "./text.js";
import * as attempt from "./try.js";

const PAGES = ["live", "numbers", "dead", "try"];
const TITLES = { live: "Live", numbers: "Numbers", dead: "Dead letters", try: "Try" };
let offered = new Set(["live", "numbers"]);
let source = null;

function state(kind, text) {
  $("state").className = `state ${kind}`;
  if ($("state-text").textContent !== text) $("state-text").textContent = text;
  $("state").title = text;
}

function connect() {
  if (source) return;
  source = new EventSource("api/events");
  source.addEventListener("start", (event) => live.take(JSON.parse(event.data), true));
  source.addEventListener("documents", (event) => live.take(JSON.parse(event.data)));
  source.addEventListener("skipped", (event) => live.skip(JSON.parse(event.data).skipped));
  source.addEventListener("numbers", (event) => {
    const value = JSON.parse(event.data);
    numbers.take(value);
    const kind = value.state === "live" ? (value.workers ? "good" : "") : value.state === "starting" ? "" : "bad";
    state(kind, value.state !== "live" ? value.state : value.workers ? "live" : "no worker");
  });
  source.addEventListener("error", () => {
    state("bad", "the console does not answer");
    if (source?.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(() => document.hidden || connect(), 2000);
    }
  });
}

function rest() {
  source?.close();
  source = null;
  state("", "resting");
}

function go(focus) {
  const [name, query] = location.hash.slice(1).split("?", 2);
  const page = offered.has(name) ? name : "live";
  for (const each of PAGES) {
    $(`page-${each}`).hidden = each !== page;
    const link = document.querySelector(`nav a[data-page="${each}"]`);
    each === page ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[page]} · fewnerd-stream`;
  if (page === "live") live.show();
  if (page === "numbers") numbers.draw();
  if (page === "try") attempt.open(query ?? "");
  if (focus) { $("main").focus({ preventScroll: true }); scrollTo(0, 0); }
}

function theme() {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  numbers.restyle();
}

live.begin(() => !$("page-live").hidden);
numbers.begin();
dead.begin();
attempt.begin();
tips();
$("theme").addEventListener("click", theme);
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
addEventListener("hashchange", () => go(true));
document.addEventListener("visibilitychange", () => (document.hidden ? rest() : connect()));
const about = await ask("api/about").catch(() => ({}));
offered = new Set(["live", "numbers", ...(about.dead ? ["dead"] : []), ...(about.try ? ["try"] : [])]);
for (const link of document.querySelectorAll("nav a")) link.hidden = !offered.has(link.dataset.page);
go(false);
if (!document.hidden) connect();
