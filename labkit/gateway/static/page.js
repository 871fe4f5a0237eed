// What all parts of the page share: its words, small helpers, calls to the server.
import { far, takeToken, token } from "./token.js";

export const data = JSON.parse(document.getElementById("data").textContent);

/** The text `name` in the page's language, with its places filled. */
export function word(name, values = {}) {
  return fill(data.words[name] ?? name, values);
}

export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (place, name) => (name in values ? String(values[name]) : place));
}

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; texts are texts, never HTML. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Change a text only if it differs: a screen reader and the layout notice each change. */
export function show(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A number with so many decimals, written as in the page's language. */
export function decimals(value, digits) {
  return value.toLocaleString(data.lang, {
    minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false,
  });
}

/** Seconds since the cluster's first event as h:mm:ss, as on the charts' axes. */
export function clock(t, digits = 0) {
  const whole = Math.max(0, t);
  const seconds = decimals(whole % 60, digits).padStart(digits ? 3 + digits : 2, "0");
  return `${Math.floor(whole / 3600)}:${String(Math.floor(whole / 60) % 60).padStart(2, "0")}:${seconds}`;
}

/** A duration with its unit: 12 ms, 0.4 s. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const ms = seconds * 1000;
  if (ms < 10) return `${decimals(ms, 1)} ms`;
  return ms < 995 ? `${ms.toFixed(0)} ms` : `${decimals(seconds, seconds < 10 ? 2 : 1)} s`;
}

export class Refused extends Error {}

/** Call the server; the answer's JSON. Raises Refused with the server's own sentence. */
export async function call(method, path, body) {
  if (!far) return callWith("", method, path, body);
  const answer = await command(method, path, body);
  if (answer === null) throw new Refused(word("token_needed"));
  return answer;
}

async function callWith(bearer, method, path, body) {
  const headers = { "Accept-Language": data.lang };
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    const text = body === undefined ? undefined : JSON.stringify(body);
    answer = await fetch(path, { method, headers, body: text });
  } catch {
    throw new Refused(word("no_answer"));
  }
  const text = await answer.text();
  let parsed = null;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new Refused(`${answer.status} ${answer.statusText}`);
  }
  if (answer.ok) return parsed;
  const refused = new Refused([parsed.detail, parsed.next].filter(Boolean).join(" – "));
  refused.status = answer.status;
  throw refused;
}

/** A call that changes something: asks for the token if this tab has none, or a wrong one. */
export async function command(method, path, body) {
  let wrong = false;
  for (;;) {
    const bearer = token() || (await askToken(wrong));
    if (!bearer) return null;
    try {
      return await callWith(bearer, method, path, body);
    } catch (error) {
      if (error.status !== 401) throw error;
      takeToken("");
      wrong = true;
    }
  }
}

let asking = null;

/** The token, asked for in a dialog; "" if it was not given. Two calls at once ask once. */
export function askToken(wrong = false) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("ask-token");
    const field = byId("token");
    field.value = "";
    byId("token-wrong").hidden = !wrong;
    if (far) show(byId("token-why"), word("token_why_far"));
    dialog.returnValue = "no";
    dialog.addEventListener(
      "close",
      () => {
        asking = null;
        if (dialog.returnValue === "use") takeToken(field.value);
        resolve(dialog.returnValue === "use" ? token() : "");
        field.value = "";
      },
      { once: true },
    );
    dialog.showModal();
    field.focus();
  });
  return asking;
}

/** Show why something did not work; an empty text hides it. */
export function say(text) {
  said = text;
  showSaid();
}

let said = "";
let problem = "";

export function sayProblem(text) {
  problem = text;
  showSaid();
}

function showSaid() {
  const text = [problem, said].filter(Boolean).join(" · ");
  const node = byId("said");
  show(node, text);
  node.hidden = !text;
}

/** Do `act` for a click, and show what prevents it. */
export async function tried(what, act) {
  say("");
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(word("not_done", { what, why: error.message }));
    return null;
  }
}
