// The event log with its filter: the newest line first, a bounded number of lines.
import { byId, clock, element, show, word } from "./page.js";

const MOST_LINES = 400;
const SIGNS = { harm: "✕", good: "✓", plain: "·" };
let lines = []; // [number, t, text, mood, worker, task], the newest first
let unrecorded = new Set();
let openStory = () => {};

export function beginLog(onTask) {
  openStory = onTask;
  byId("log-text").addEventListener("input", redraw);
  byId("log-mood").addEventListener("change", redraw);
}

/** Take in the new lines of a moment. */
export function showLog(moment) {
  if (moment.full) {
    lines = [];
    unrecorded = new Set();
  }
  const more = moment.unrecorded.filter((line) => !unrecorded.has(`${line[2]} ${Math.round(line[1] / 2)}`));
  for (const line of more) unrecorded.add(`${line[2]} ${Math.round(line[1] / 2)}`);
  const added = [...moment.log, ...more].sort((one, other) => one[1] - other[1]).reverse();
  if (!added.length && !moment.full) return;
  lines = [...added, ...lines].slice(0, MOST_LINES);
  if (moment.full) redraw();
  else add(added);
  if (!moment.full) announce(added);
}

function fits([, , text, mood]) {
  const wanted = byId("log-text").value.trim().toLocaleLowerCase();
  const kind = byId("log-mood").value;
  return (!kind || kind === mood) && (!wanted || text.toLocaleLowerCase().includes(wanted));
}

function drawn([, t, text, mood, , task]) {
  const said = element("span", {});
  const short = task.slice(0, 6);
  const place = task ? text.indexOf(short) : -1;
  if (place < 0) said.append(text);
  else {
    const button = element(
      "button",
      {
        class: "link", title: word("story"), "aria-label": word("story_of", { task: short }),
        on: { click: () => openStory(task) },
      },
      short,
    );
    said.append(text.slice(0, place), button, text.slice(place + short.length));
  }
  const sign = element("span", { "aria-hidden": "true" }, SIGNS[mood]);
  return element("li", { "data-mood": mood }, element("time", {}, clock(t, 1)), sign, said);
}

function add(added) {
  const list = byId("log");
  list.prepend(...added.filter(fits).map(drawn));
  while (list.children.length > MOST_LINES) list.lastElementChild.remove();
  empty();
}

function redraw() {
  byId("log").replaceChildren(...lines.filter(fits).map(drawn));
  empty();
}

function empty() {
  const node = byId("log-empty");
  node.hidden = byId("log").children.length > 0;
  show(node, word(lines.length ? "log_none" : "log_empty"));
}

/** Tell a screen reader of harm and recovery of workers, but not of each task. */
function announce(added) {
  const told = added.filter(([, , , mood, , task]) => mood !== "plain" && !task).map(([, , text]) => text);
  if (told.length) show(byId("news"), told.slice(0, 3).join(". "));
}
