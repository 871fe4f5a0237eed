// The four charts, drawn by BokehJS (a file of the pip package bokeh), with one span of time.
//
// Each chart has its sources; a moment replaces their data. Rows come from the store, which holds a minute.
import { byId, clock, data, word } from "./page.js";
import { SPAN_S, store } from "./store.js";

const HALF = 0.36; // half of a lane of the timeline
let charts = null;
let theme = "";
let drawnSecond = null;
let lastMarks = "";

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    box: of("box"), ink: of("ink"), quiet: of("quiet"), grid: of("grid"), line: of("line"),
    accent: of("accent"), fault: of("fault"),
  };
}

function figure(yRange, tools = "") {
  const range = new Bokeh.Range1d({ start: -SPAN_S, end: 0 });
  const plot = Bokeh.Plotting.figure({
    sizing_mode: "stretch_both", toolbar_location: null, tools, x_range: range, y_range: yRange,
    output_backend: "canvas", min_border_left: 58, min_border_right: 12, min_border_top: 4,
    min_border_bottom: 0, lod_factor: 1,
  });
  plot.toolbar.logo = null;
  plot.below[0].formatter = new Bokeh.NumeralTickFormatter({ format: "00:00:00" });
  plot.below[0].ticker = new Bokeh.SingleIntervalTicker({ interval: 10, num_minor_ticks: 0 });
  plot.left[0].ticker = new Bokeh.BasicTicker({ desired_num_ticks: 4, num_minor_ticks: 0 });
  plot.xgrid.visible = false;
  return plot;
}

function source(...columns) {
  return new Bokeh.ColumnDataSource({ data: Object.fromEntries(columns.map((name) => [name, []])) });
}

const field = (name) => ({ field: name });

/** Faults as lines over a whole chart, those that harm in the faults' own colour. */
function faultLines(plot, from) {
  const look = { line_color: field("colour"), line_width: 2, line_dash: field("dash"), source: from };
  for (const angle of [Math.PI / 2, -Math.PI / 2]) plot.ray({ x: field("t"), y: 0, angle, length: 0, ...look });
}

function make() {
  const colour = colours();
  const marks = {};
  const sources = {
    bars: source("left", "right", "bottom", "top", "colour"),
    latency: source("t", "w50", "w95", "s50", "s95"),
    queue: source("t", "queue", "flight", "zero"),
    spans: source("left", "right", "bottom", "top", "fill", "edge", "alpha", "what"),
    away: source("left", "right", "bottom", "top"),
    arrows: source("x0", "y0", "x1", "y1", "angle"),
  };
  const heights = {
    throughput: new Bokeh.Range1d({ start: 0, end: 1 }),
    latency: new Bokeh.Range1d({ start: 0, end: 1 }),
    queue: new Bokeh.Range1d({ start: 0, end: 1 }),
    timeline: new Bokeh.Range1d({ start: -0.6, end: 0.6 }),
  };
  const plots = {};

  const throughput = (plots.throughput = figure(heights.throughput));
  const box = { left: field("left"), right: field("right"), bottom: field("bottom"), top: field("top") };
  throughput.quad({
    ...box, fill_color: field("colour"), line_color: colour.box, line_width: 0.5, source: sources.bars,
  });

  const latency = (plots.latency = figure(heights.latency));
  const dashed = [5, 4];
  for (const [name, line_color, line_dash] of [
    ["w50", colour.accent, []], ["w95", colour.accent, dashed], ["s50", colour.ink, []], ["s95", colour.ink, dashed],
  ]) {
    const look = { line_color, line_dash, line_width: 2.5 };
    latency.line({ x: field("t"), y: field(name), ...look, source: sources.latency });
  }

  const queue = (plots.queue = figure(heights.queue));
  const area = { y1: field("zero"), y2: field("queue"), fill_color: colour.quiet, fill_alpha: 0.55 };
  queue.varea({ x: field("t"), ...area, source: sources.queue });
  const line = { line_color: colour.ink, line_width: 2.5 };
  queue.line({ x: field("t"), y: field("flight"), ...line, source: sources.queue });

  const timeline = (plots.timeline = figure(heights.timeline, "hover"));
  timeline.quad({
    ...box, fill_color: colour.fault, fill_alpha: 0.12, line_color: null, source: sources.away,
    hatch_pattern: "/", hatch_color: colour.fault, hatch_alpha: 0.45, hatch_scale: 10,
  });
  const spans = timeline.quad({
    ...box, fill_color: field("fill"), fill_alpha: field("alpha"), line_color: field("edge"), line_width: 1.5,
    source: sources.spans,
  });
  timeline.segment({
    x0: field("x0"), y0: field("y0"), x1: field("x1"), y1: field("y1"), line_color: colour.ink, line_width: 1.5,
    source: sources.arrows,
  });
  timeline.scatter({
    x: field("x1"), y: field("y1"), angle: field("angle"), marker: "triangle", size: 8,
    fill_color: colour.ink, line_color: colour.ink, source: sources.arrows,
  });
  const hover = timeline.toolbar.tools.find((tool) => tool instanceof Bokeh.HoverTool);
  if (hover) {
    hover.renderers = [spans];
    hover.tooltips = [["", "@what"]];
  }
  timeline.ygrid.visible = false;
  for (const [name, plot] of Object.entries(plots)) {
    marks[name] = source("t", "colour", "dash");
    faultLines(plot, marks[name]);
    paint(plot, colour);
  }
  return { plots, views: {}, marks, sources, heights, lanes: "" };
}

function paint(plot, colour) {
  plot.background_fill_color = colour.box;
  plot.border_fill_color = colour.box;
  plot.outline_line_color = colour.line;
  const size = `${Math.round(parseFloat(getComputedStyle(document.documentElement).fontSize) * 0.82)}px`;
  for (const axis of [plot.below[0], plot.left[0]]) {
    axis.axis_line_color = colour.line;
    axis.major_tick_line_color = colour.line;
    axis.minor_tick_line_color = null;
    axis.major_label_text_color = colour.ink;
    axis.major_label_text_font_size = size;
  }
  plot.ygrid.grid_line_color = colour.grid;
}

/** Draw the charts for the first time, or anew in other colours. */
export async function begin(onTask) {
  if (!window.Bokeh?.Plotting) {
    for (const node of document.querySelectorAll(".chart")) node.replaceChildren(word("no_charts"));
    return;
  }
  Bokeh.set_log_level("warn");
  drawnSecond = null;
  lastMarks = "";
  charts = make();
  for (const [name, plot] of Object.entries(charts.plots)) {
    const node = byId(name);
    node.replaceChildren();
    charts.views[name] = await Bokeh.Plotting.show(plot, node);
    spaced(plot, node.clientWidth);
  }
  const node = byId("timeline");
  node.onclick = (event) => {
    const task = taskAt(event);
    if (task) onTask(task);
  };
  theme = JSON.stringify(colours());
  draw();
}

/** Leave room between the labels of the axis of time. */
function spaced(plot, width) {
  plot.below[0].ticker.interval = width < 330 ? 30 : width < 600 ? 20 : 10;
}

addEventListener("resize", () => {
  for (const [name, plot] of Object.entries(charts?.plots ?? {})) spaced(plot, byId(name).clientWidth);
});

/** Draw again if the colours of the page have changed. */
export function rethemed() {
  return charts !== null && JSON.stringify(colours()) !== theme;
}

/** The task of the bar that was clicked on. */
function taskAt(event) {
  const frame = charts.views.timeline.frame;
  const place = byId("timeline").getBoundingClientRect();
  const x = frame.x_scale.invert(event.clientX - place.left);
  const y = frame.y_scale.invert(event.clientY - place.top);
  const lane = store.workers[store.workers.length - 1 - Math.round(y)]?.[0];
  const slack = SPAN_S / frame.bbox.width; // a pixel
  const hit = store.spans.findLast((span) => span[0] === lane && span[1] - slack <= x && x <= span[2] + slack);
  if (hit) return hit[3];
  return store.running.findLast((run) => run[0] === lane && run[1] - slack <= x)?.[2];
}

/** Bring the charts up to the store. */
export function draw() {
  if (charts === null || document.hidden) return;
  const { sources, heights } = charts;
  const begin = Math.max(0, store.now - SPAN_S);
  const second = store.seconds.at(-1)?.[0] ?? null;
  const span = { start: begin, end: begin + SPAN_S };
  charts.plots.timeline.x_range.setv(span);
  drawTimeline();
  const fault = getComputedStyle(document.documentElement).getPropertyValue("--fault").trim();
  const marks = JSON.stringify([store.marks, fault]);
  if (marks !== lastMarks) {
    lastMarks = marks;
    const quiet = colours().quiet;
    for (const each of Object.values(charts.marks)) {
      each.data = {
        t: store.marks.map((mark) => mark[0]),
        colour: store.marks.map((mark) => (mark[2] ? fault : quiet)),
        dash: store.marks.map((mark) => (mark[2] ? "solid" : "dashed")),
      };
    }
  }
  const key = `${second} ${store.samples.at(-1)?.[0]}`;
  if (key === drawnSecond) return;
  drawnSecond = key;
  // The other charts have something new once a second: that is when they are drawn.
  for (const name of ["throughput", "latency", "queue"]) charts.plots[name].x_range.setv(span);
  drawThroughput(sources, heights);
  drawSamples(sources, heights);
}

function drawThroughput(sources, heights) {
  const rows = { left: [], right: [], bottom: [], top: [], colour: [] };
  let highest = 0;
  let results = 0;
  for (const [t, byWorker] of store.seconds) {
    let below = 0;
    for (const [name, colour] of store.workers) {
      const n = byWorker[name] ?? 0;
      if (!n) continue;
      rows.left.push(t);
      rows.right.push(t + 1);
      rows.bottom.push(below);
      rows.top.push(below + n);
      rows.colour.push(colour);
      below += n;
    }
    results += below;
    highest = Math.max(highest, below);
  }
  sources.bars.data = rows;
  heights.throughput.end = top(highest);
  describe("throughput", word("results_in_a_minute", { n: results }));
}

function drawSamples(sources, heights) {
  const values = store.samples.flatMap((sample) => sample.slice(3)).filter((value) => value !== null);
  const highest = Math.max(0, ...values);
  const unit = highest < 1 ? 1000 : 1;
  const column = (at, factor) =>
    store.samples.map((sample) => (sample[at] === null ? NaN : sample[at] * factor));
  sources.latency.data = {
    t: column(0, 1), w50: column(3, unit), w95: column(4, unit), s50: column(5, unit), s95: column(6, unit),
  };
  heights.latency.end = top(highest * unit);
  const axis = charts.plots.latency.left[0];
  const name = unit === 1000 ? "ms" : "s";
  if (axis.axis_label !== name) {
    axis.setv({ axis_label: name, axis_label_text_color: colours().ink, axis_label_standoff: 2 });
  }
  const zero = store.samples.map(() => 0);
  sources.queue.data = { t: column(0, 1), queue: column(1, 1), flight: column(2, 1), zero };
  heights.queue.end = top(Math.max(0, ...store.samples.map((sample) => Math.max(sample[1], sample[2]))));
  const last = store.samples.at(-1);
  if (!last) return;
  const ms = (value) => (value === null ? "–" : `${(value * 1000).toFixed(0)} ms`);
  const both = (name, p50, p95) => `${word(name)} p50 ${ms(p50)}, p95 ${ms(p95)}`;
  describe("latency", `${both("service", last[5], last[6])}; ${both("waiting", last[3], last[4])}`);
  describe("queue", `${word("queue")} ${last[1]}, ${word("in_flight")} ${last[2]}`);
}

/** The end of an axis: a round number above `highest`. */
function top(highest) {
  const step = 10 ** Math.floor(Math.log10(Math.max(1, highest)));
  const ends = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((each) => each * step);
  return ends.find((each) => each >= highest * 1.05) ?? 12 * step;
}

function drawTimeline() {
  const { sources, heights, plots } = charts;
  const left = new Set(store.workers.filter(([, , gone]) => gone).map(([name]) => name));
  const lanes = JSON.stringify(store.workers.map(([name, , gone]) => [name, gone]));
  const place = new Map(store.workers.map(([name], row) => [name, store.workers.length - 1 - row]));
  const own = new Map(store.workers);
  if (lanes !== charts.lanes) {
    charts.lanes = lanes;
    byId("timeline").style.height = store.workers.length > 6 ? `${store.workers.length * 1.7}rem` : "";
    heights.timeline.setv({ start: -0.5, end: Math.max(1, store.workers.length) - 0.5 });
    const axis = plots.timeline.left[0];
    axis.ticker = new Bokeh.FixedTicker({ ticks: [...place.values()], minor_ticks: [] });
    axis.major_label_overrides = new Map(
      [...place].map(([name, row]) => [row, left.has(name) ? word("left", { name }) : name]),
    );
  }
  const fault = colours().fault;
  const rows = { left: [], right: [], bottom: [], top: [], fill: [], edge: [], alpha: [], what: [] };
  const add = (worker, begin, end, lost, what) => {
    const row = place.get(worker);
    if (row === undefined) return;
    rows.left.push(begin);
    rows.right.push(end);
    rows.bottom.push(row - HALF);
    rows.top.push(row + HALF);
    rows.fill.push(own.get(worker));
    rows.edge.push(lost ? fault : null);
    rows.alpha.push(lost || left.has(worker) ? 0.35 : 0.9);
    rows.what.push(what);
  };
  for (const [worker, begin, end, task, n, outcome] of store.spans) {
    const alone = `${task.slice(0, 6)} ${((end - begin) * 1000).toFixed(0)} ms`;
    add(worker, begin, end, outcome !== "done", `${worker}: ${n > 1 ? word("tasks_of", { n }) : alone}`);
  }
  for (const [worker, begin, task] of store.running) {
    add(worker, begin, store.now, false, `${worker}: ${task.slice(0, 6)} …`);
  }
  sources.spans.data = rows;
  const away = store.away.filter(([worker]) => place.has(worker));
  sources.away.data = {
    left: away.map(([, begin]) => begin),
    right: away.map(([, , end]) => end ?? store.now),
    bottom: away.map(([worker]) => place.get(worker) - 0.5),
    top: away.map(([worker]) => place.get(worker) + 0.5),
  };
  const arrows = store.arrows.filter(([, giver, , taker]) => place.has(giver) && place.has(taker));
  sources.arrows.data = {
    x0: arrows.map((arrow) => arrow[2]),
    y0: arrows.map((arrow) => place.get(arrow[1])),
    x1: arrows.map((arrow) => arrow[4]),
    y1: arrows.map((arrow) => place.get(arrow[3])),
    angle: arrows.map((arrow) => (place.get(arrow[3]) > place.get(arrow[1]) ? 0 : Math.PI)),
  };
  const done = store.spans.reduce((sum, span) => sum + (span[5] === "done" ? span[4] : 0), 0);
  const faults = store.marks.map(([t, text]) => `${clock(t)} ${text}`).join(", ");
  describe("timeline", [word("results_in_a_minute", { n: done }), faults].filter(Boolean).join("; "));
}

const describedAt = {};

/** Say in words what a chart shows; every few seconds, because a screen reader may be reading it. */
function describe(id, text) {
  const now = performance.now();
  if (now - (describedAt[id] ?? -1e9) < 3000) return;
  describedAt[id] = now;
  const title = document.getElementById(`${id}-h`).textContent;
  byId(id).setAttribute("aria-label", word("described", { title, text }));
}
