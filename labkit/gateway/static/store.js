// What the charts draw: the last minute, and not more, however long the page is open.
export const SPAN_S = 60;
const MOST_SPANS = 4000;
const MOST_ARROWS = 200;

export const store = {
  now: 0,
  heardAt: 0,
  workers: [], // [name, colour, whether it has left], from the top of the timeline down
  seconds: [], // [t, {worker: results}]
  samples: [], // [t, queue, in flight, waiting p50, p95, service p50, p95]
  spans: [], // [worker, begin, end, task, n, outcome]
  running: [], // [worker, begin, task]
  arrows: [], // [task, giver, given at, taker, taken at]
  marks: [], // [t, text, harm]
  away: [], // [worker, begin, end or null]
};

/** Take in a moment. */
export function take(moment) {
  if (moment.full) {
    for (const name of ["seconds", "samples", "spans", "arrows"]) store[name] = [];
  }
  store.now = moment.now;
  store.heardAt = performance.now();
  const workers = moment.cards.filter((card) => card.kind === "worker");
  store.workers = [
    ...workers.map((card) => [card.name, card.colour, false]),
    ...moment.left.map(([name, colour]) => [name, colour, true]),
  ];
  for (const name of ["seconds", "samples", "spans", "arrows"]) store[name].push(...moment[name]);
  for (const name of ["running", "marks", "away"]) store[name] = moment[name];
  const since = moment.now - SPAN_S;
  store.seconds = store.seconds.filter(([t]) => t >= since - 1);
  store.samples = store.samples.filter(([t]) => t >= since - 1);
  store.spans = store.spans.filter((span) => span[2] >= since).slice(-MOST_SPANS);
  store.arrows = store.arrows.filter((arrow) => arrow[4] >= since).slice(-MOST_ARROWS);
}
