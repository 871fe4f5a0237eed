// The form that sends a batch of pictures, and its pictures before and after.
import { Refused, byId, call, command, data, decimals, element, say, show, tried, word } from "./page.js";
import { pair } from "./pictures.js";

const SHOWN = 8;
const CHOSEN = new Set(["sharpen", "edges"]);
const LEFT_OUT = { width: 320, height: 240 };
let present = "";

export function beginBatch(onTask) {
  byId("filters").append(...data.filters.map(filter));
  byId("batch").addEventListener("submit", (event) => {
    event.preventDefault();
    send(onTask);
  });
  byId("cancel").addEventListener("click", () => {
    byId("again").checked = false;
    tried(word("cancel"), () => command("DELETE", `/api/batch/${present}/`));
  });
}

function filter([name, parameters]) {
  const box = element("input", { type: "checkbox", name, checked: CHOSEN.has(name) });
  const params = element("span", { class: "params", hidden: !CHOSEN.has(name) });
  for (const [key, low, high, usual, whole, optional] of parameters) {
    const value = usual ?? (optional && key !== "width" ? "" : LEFT_OUT[key]);
    const field = element("input", {
      type: "number", min: low, max: high, step: whole ? 1 : "any", value, "data-param": key, required: !optional,
    });
    params.append(element("label", {}, `${key} `, field));
  }
  const locked = () => {
    params.hidden = !box.checked;
    for (const field of params.querySelectorAll("input")) field.disabled = !box.checked;
  };
  box.addEventListener("change", locked);
  locked();
  return element("div", { class: "filter" }, element("label", { class: "check" }, box, ` ${name}`), params);
}

function chosen() {
  const filters = [];
  const filter_params = {};
  for (const node of byId("filters").children) {
    const box = node.querySelector("input[type=checkbox]");
    if (!box.checked) continue;
    filters.push(box.name);
    for (const field of node.querySelectorAll("[data-param]")) {
      if (field.value !== "") (filter_params[box.name] ??= {})[field.dataset.param] = Number(field.value);
    }
  }
  return { filters, filter_params, count: Number(byId("count").value) };
}

async function send(onTask) {
  const body = chosen();
  if (!body.filters.length) {
    say(word("choose_filter"));
    return;
  }
  const sent = await tried(word("send"), () => call("POST", "/api/process-batch/distributed/", body));
  if (!sent) return;
  present = sent.batch_id;
  byId("batch-state").hidden = false;
  byId("cancel").hidden = false;
  byId("pictures").replaceChildren();
  follow(sent.batch_id, onTask);
}

async function follow(id, onTask) {
  let batch;
  try {
    batch = await call("GET", `/api/batch/${id}/`);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    batch = null; // the gateway is away: it finds its batches again
    if (error.status === 404) {
      byId("cancel").hidden = true;
      say(error.message);
      return;
    }
  }
  if (id !== present) return;
  if (batch) {
    showBatch(batch, onTask);
    if (batch.status !== "running") {
      byId("cancel").hidden = true;
      if (byId("again").checked) send(onTask);
      return;
    }
  }
  setTimeout(() => follow(id, onTask), 500);
}

function showBatch(batch, onTask) {
  const bar = byId("batch-bar");
  bar.max = batch.image_count;
  bar.value = batch.processed_count + batch.failed.length;
  const seconds = decimals(batch.total_time, 1);
  const parts = [word("progress", { done: batch.processed_count, n: batch.image_count, seconds })];
  parts.push(...batch.workers.map((row) => `${row.worker} ${Math.round(100 * row.share)} %`));
  const failed = batch.failed.length;
  if (failed) parts.push(`${word("batch_failed", { n: failed })}: ${batch.failed[0].error}`);
  show(byId("batch-text"), parts.join(" · "));
  const list = byId("pictures");
  for (const task of batch.tasks.slice(0, SHOWN)) {
    if (!task.result || list.querySelector(`[data-task="${task.task_id}"]`)) continue;
    const item = element("li", { "data-task": task.task_id }, pair(task.image, task.result));
    const short = task.task_id.slice(0, 6);
    const button = element(
      "button",
      {
        class: "link", type: "button", "aria-label": word("story_of", { task: short }),
        on: { click: () => onTask(task.task_id) },
      },
      short,
    );
    item.querySelector("figcaption").append(" · ", button);
    list.append(item);
  }
}
