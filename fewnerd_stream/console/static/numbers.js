// Figures and charts of the last minutes.

import uPlot from "./vendor/uPlot.esm.js";
import { $, colour, el, harmless, many, percent } from "./text.js";

let charts = null;
let last = null;

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
// A backlog that is read late is days old: a figure stays as wide as its tile.
function seconds(value) {
  if (value == null) return "–";
  const [size, unit] = UNITS.find(([least]) => value >= 2 * least) ?? [1, "s"];
  return size > 1 ? `${many(Math.round(value / size))} ${unit}` : `${value.toFixed(value < 1 ? 2 : value < 10 ? 1 : 0)} s`;
}

function tiles(value) {
  const rows = [
    ["documents / s", value.rate.toLocaleString("en", { maximumFractionDigits: 1 })],
    ["median latency", seconds(value.latency)],
    ["lag", value.lag == null ? "–" : many(value.lag)],
    ["workers", many(value.workers), value.state === "live" && !value.workers],
    ["retries waiting", many(value.waiting)],
    ["dead letters", many(value.letters), value.letters > 0],
  ];
  $("tiles").replaceChildren(...rows.map(([name, figure, alarm]) => el("div", { class: alarm ? "alarm" : "" }, el("dt", {}, name), el("dd", {}, figure))));
}

function bars(list, rows, none) {
  const most = Math.max(1e-9, ...rows.map((row) => row.length ?? 0));
  list.replaceChildren(
    ...(rows.length
      ? rows.map((row) => {
          const fill = el("i");
          fill.style.width = `${Math.round((100 * row.length) / (row.of ?? most))}%`;
          return el("li", { class: colour(row.category) }, el("span", { class: "name" }, harmless(row.name), " ", el("span", { class: "kind" }, row.kind ?? "")), el("span", { class: "value" }, row.value), el("div", { class: "bar", "aria-hidden": "true" }, fill));
        })
      : [el("li", { class: "none" }, none)]),
  );
}

function style() {
  const css = getComputedStyle(document.documentElement);
  return (name) => css.getPropertyValue(name).trim();
}

const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600]; // between two times on the axis

function chart(id, series, scales = {}, axes = []) {
  const target = $(id);
  const get = style();
  const axis = { stroke: get("--dim"), grid: { stroke: get("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui", size: 44, values: (_, splits) => splits.map((value) => short.format(value)) };
  const time = { ...axis, size: 26, space: 70, incrs: SECONDS, values: (_, splits) => splits.map((at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false, hour: "2-digit", minute: "2-digit", ...(splits[1] - splits[0] < 60 ? { second: "2-digit" } : {}) })) };
  target.replaceChildren();
  return new uPlot(
    {
      width: Math.max(200, target.clientWidth),
      height: target.clientHeight - (series.length > 1 ? 26 : 0),
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      legend: { show: series.length > 1, live: false },
      scales: { x: { time: true }, ...scales },
      axes: [time, axis, ...axes.map((more) => ({ ...axis, ...more }))],
      series: [{}, ...series.map((one) => ({ width: 2, points: { show: false }, spanGaps: true, ...one, stroke: get(one.colour), fill: one.fill ? `${get(one.colour)}26` : undefined }))],
    },
    [[], ...series.map(() => [])],
    target,
  );
}

const fromZero = { range: (_, __, most) => [0, Math.max(1, (most ?? 0) * 1.1)] };

function make() {
  charts = [
    chart("chart-rate", [{ colour: "--organization", fill: true, scale: "y" }], { y: fromZero }),
    chart("chart-latency", [{ label: "latency (s)", colour: "--product", scale: "y" }, { label: "lag", colour: "--building", scale: "lag" }], { y: fromZero, lag: fromZero }, [{ scale: "lag", side: 1, grid: { show: false } }]),
  ];
}

export function draw() {
  if (!last || $("page-numbers").hidden) return;
  tiles(last);
  if (!charts) make();
  const { at, documents, latency, lag } = last.chart;
  // The second that is not over is left out: it would look like a fall.
  charts[0].setData([at.slice(0, -1), documents.slice(0, -1)]);
  charts[1].setData([at.slice(0, -1), latency.slice(0, -1), lag.slice(0, -1)]);
  $("chart-rate").setAttribute("aria-label", `Documents a second: now ${last.rate}, at most ${Math.max(0, ...documents)} in the last five minutes`);
  $("chart-latency").setAttribute("aria-label", `Median latency ${seconds(last.latency)}, lag ${last.lag == null ? "unknown" : many(last.lag)}`);
  bars($("trending"), last.trending.map(([name, category, count, usual]) => ({ name, category, kind: category, length: count, value: usual ? `${count}, usually ${usual}` : `${count}, new` })), "Nothing stands out yet.");
  bars($("typebars"), last.types.map(([category, fine, count]) => ({ name: fine, category, kind: category, length: count, value: many(count) })), "No entities yet.");
  bars($("precision"), last.categories.filter(([, count]) => count).map(([category, count, mean]) => ({ name: category, category, kind: `${many(count)} found`, length: mean, of: 1, value: percent(mean) })), "No entities yet.");
}

export function take(value) {
  last = value;
  draw();
}

export function restyle() {
  charts?.forEach((one) => one.destroy());
  charts = null;
  draw();
}

export function begin() {
  let wait;
  addEventListener("resize", () => {
    clearTimeout(wait);
    wait = setTimeout(restyle, 150);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
}
