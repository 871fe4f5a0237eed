// The story of one task, in a dialog that follows it until it has an outcome.
import { Refused, byId, call, clock, data, duration, element, say, show, word } from "./page.js";
import { pair } from "./pictures.js";

const SIGNS = { harm: "✕", good: "✓", plain: "·" };
let showing = "";
let timer = 0;

export function beginStory() {
  byId("story").addEventListener("close", () => {
    showing = "";
    clearTimeout(timer);
  });
  byId("find-task").addEventListener("submit", (event) => {
    event.preventDefault();
    const id = byId("task-id").value.trim();
    if (id) openStory(id);
  });
}

/** Open the story of a task. */
export async function openStory(task) {
  clearTimeout(timer);
  showing = task;
  byId("story-pictures").replaceChildren();
  await refresh(task);
}

async function refresh(task) {
  let told;
  try {
    told = await call("GET", `/api/dashboard/task/${encodeURIComponent(task)}/?lang=${data.lang}`);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (showing === task) say(error.message);
    return;
  }
  if (showing !== task) return;
  const dialog = byId("story");
  show(byId("story-h"), word("story_of", { task: told.task.slice(0, 6) }));
  const facts = [told.state_in_words, told.worker, told.task];
  show(byId("story-state"), facts.filter(Boolean).join(" · "));
  byId("story-rows").replaceChildren(
    ...told.rows.map((row) =>
      element(
        "li",
        { "data-mood": row.mood },
        element("time", { title: clock(row.t, 1) }, `+ ${duration(row.after)}`),
        element("span", { "aria-hidden": "true" }, SIGNS[row.mood]),
        element("span", {}, row.text),
      ),
    ),
  );
  const pictures = byId("story-pictures");
  if (told.result && !pictures.children.length) pictures.append(pair(told.image, told.result));
  if (!dialog.open) dialog.showModal();
  if (told.open_for_s !== null) timer = setTimeout(() => refresh(task), 700);
}
