// The dashboard: takes moments from the stream, and hands them to the parts of the page.
import { beginBatch } from "./batch.js";
import { showCards } from "./cards.js";
import { begin as beginCharts, draw, rethemed } from "./charts.js";
import { beginLog, showLog } from "./log.js";
import { byId, command, decimals, duration, sayProblem, show, tried, word } from "./page.js";
import { take } from "./store.js";
import { beginStory, openStory } from "./story.js";
import { follow, stateInWords } from "./stream.js";
import { beginTargets, showTargets } from "./targets.js";

let workers = 0;

function showMoment(moment) {
  take(moment);
  show(byId("cluster"), moment.cluster);
  document.title = `${moment.cluster} – labkit`;
  show(byId("headline"), moment.headline);
  sayProblem(moment.problem);
  showCards(moment);
  showFigures(moment);
  showTargets(moment);
  showLog(moment);
  workers = moment.workers;
  show(byId("n-workers"), String(workers));
  byId("fewer").disabled = workers < 1;
  draw();
}

const recent = []; // results of the last seconds, for the rate

function showFigures(moment) {
  if (moment.full) recent.length = 0;
  for (const [, byWorker] of moment.seconds) {
    recent.push(Object.values(byWorker).reduce((sum, n) => sum + n, 0));
  }
  recent.splice(0, recent.length - 5);
  const rate = recent.length ? recent.reduce((sum, n) => sum + n, 0) / recent.length : 0;
  const figures = {
    ...moment.figures,
    rate: decimals(rate, rate < 100 ? 1 : 0),
    p50: duration(moment.figures.p50),
    p95: duration(moment.figures.p95),
  };
  for (const node of byId("figures").querySelectorAll("[data-figure]")) {
    show(node, String(figures[node.dataset.figure] ?? "–"));
  }
}

function showState(state, since) {
  const node = byId("live");
  node.dataset.state = state;
  show(node.querySelector(".sign"), { live: "●", stale: "✕", connecting: "◌", reconnecting: "◌" }[state]);
  show(node.querySelector(".word"), stateInWords(state, since));
  document.body.classList.toggle("stale", state === "stale");
  if (state === "stale") show(byId("news"), stateInWords(state, since));
}

function beginTheme() {
  const choice = byId("theme");
  choice.value = document.documentElement.dataset.theme;
  const changed = async () => {
    if (rethemed()) await beginCharts(openStory);
  };
  choice.addEventListener("change", () => {
    document.documentElement.dataset.theme = choice.value;
    localStorage.setItem("labkit-theme", choice.value);
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}

function scale(by) {
  return tried(word("how_many"), () => command("POST", "/api/cluster/scale/", { workers: workers + by }));
}

byId("fewer").addEventListener("click", () => scale(-1));
byId("more").addEventListener("click", () => scale(1));
document.addEventListener("visibilitychange", draw);
beginTheme();
beginStory();
beginLog(openStory);
beginTargets();
beginBatch(openStory);
follow(
  (name, body) => {
    if (name === "moment") showMoment(body);
    else if (name === "gone") sayProblem(body.problem);
  },
  showState,
);
await beginCharts(openStory);
