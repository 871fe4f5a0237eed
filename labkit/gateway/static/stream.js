// The stream of moments: comes back by itself, and says how old the picture is.
//
// fetch and not EventSource: EventSource can send no token, and it does not say that a server is gone.
import { askToken, data, sayProblem, word } from "./page.js";
import { far, takeToken, token } from "./token.js";

// A broker that does not answer delays a moment by two seconds; that picture is still a present one.
const STALE_MS = 4500;
const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 2000;

/** Call `onEvent(name, body)` for each event, and `onState(state, since)` for each change of the state.
 *
 * connecting: nothing came yet; live; reconnecting: the connection ended, and the picture is a moment old;
 * stale: the picture is old. */
export function follow(onEvent, onState) {
  let lastAt = null;
  let state = "connecting";
  let cancel = null;
  let connectedAt = Date.now();
  let wrong = false;
  let declined = false;
  let broken = false;

  function stateNow(age) {
    if (lastAt === null) return "connecting";
    if (age > STALE_MS) return "stale";
    return broken ? "reconnecting" : "live";
  }

  function judge() {
    const age = lastAt === null ? 0 : Date.now() - lastAt;
    const now = stateNow(age);
    if (now !== state) {
      state = now;
      onState(state, lastAt);
    }
    // A connection that gives nothing is not waited for: the machine may have slept.
    if (Date.now() - Math.max(lastAt ?? 0, connectedAt) > 3 * STALE_MS) cancel?.abort();
  }

  /** Ask for the token, once; whoever declines is told why nothing is shown. */
  async function hasToken() {
    if (!token() && !declined) declined = !(await askToken(wrong));
    sayProblem(token() ? "" : word("token_needed"));
    return token() !== "";
  }

  async function connect() {
    const headers = { Accept: "text/event-stream", "Accept-Language": data.lang };
    if (far && (await hasToken())) headers.Authorization = `Bearer ${token()}`;
    cancel = new AbortController();
    connectedAt = Date.now();
    const answer = await fetch(`/api/dashboard/?lang=${data.lang}`, { headers, signal: cancel.signal });
    if (answer.status === 401 && headers.Authorization) {
      takeToken(""); // a wrong one, or one of a former cluster: it is asked for again
      wrong = true;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    wrong = false;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\r\n\r\n");
      rest = blocks.pop();
      for (const block of blocks) take(block);
    }
  }

  function take(block) {
    const name = /^event: (.*)$/m.exec(block)?.[1];
    const text = /^data: (.*)$/m.exec(block)?.[1];
    if (!name || text === undefined) return; // a comment that keeps the connection open
    if (name === "moment") {
      lastAt = Date.now();
      broken = false;
      judge();
    }
    onEvent(name, JSON.parse(text.trimEnd()));
  }

  async function run() {
    let pause = FIRST_PAUSE_MS;
    for (;;) {
      const began = Date.now();
      try {
        await connect();
      } catch {
        // The server is away, or was restarted: the state says so, and the next try follows.
      }
      broken = true;
      judge();
      pause = Date.now() - began > 5000 ? FIRST_PAUSE_MS : Math.min(LONGEST_PAUSE_MS, pause * 1.6);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  onState(state, lastAt);
  setInterval(judge, 500);
  run();
}

/** What the state is called on the page. */
export function stateInWords(state, since) {
  if (state !== "stale") return word(state);
  return word("stale", { time: new Date(since).toLocaleTimeString(data.lang, { hour12: false }) });
}
