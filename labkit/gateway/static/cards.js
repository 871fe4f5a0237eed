// A card for each process: its state as the process and as the broker see it, and its buttons.
import { byId, command, data, element, fill, show, tried, word } from "./page.js";

const ORDER = ["kill", "pause", "resume", "stop", "start"];
const cards = new Map();

/** Show the cards of a moment; those that stay keep their elements, and with them the focus. */
export function showCards(moment) {
  const names = moment.cards.map((card) => card.name);
  for (const [name, card] of cards) {
    if (!names.includes(name)) {
      card.root.remove();
      cards.delete(name);
    }
  }
  moment.cards.forEach((given, place) => {
    const card = cards.get(given.name) ?? make(given);
    const list = byId("cards");
    if (list.children[place] !== card.root) list.insertBefore(card.root, list.children[place] ?? null);
    update(card, given);
  });
}

function make(given) {
  const buttons = new Map();
  for (const name of ORDER) {
    const [label, meaning] = data.commands[name];
    buttons.set(
      name,
      element(
        "button",
        {
          "data-command": name, hidden: true, title: fill(meaning, { name: given.name }),
          "aria-label": `${label} ${given.name}`, on: { click: () => act(name, label, given.name) },
        },
        label,
      ),
    );
  }
  const card = {
    buttons,
    state: element("span", { class: "state" }),
    facts: element("dl"),
    pending: element("span", { class: "pending", role: "status" }),
    shown: "",
  };
  card.root = element(
    "li",
    { class: "card", "data-name": given.name, "data-kind": given.kind },
    element("header", {}, element("h3", {}, given.name), card.state),
    card.facts,
    given.kind === "api" ? element("p", { class: "hint" }, word("this_page")) : "",
    element("div", { class: "buttons" }, ...buttons.values(), card.pending),
  );
  card.root.style.setProperty("--own", given.colour);
  cards.set(given.name, card);
  return card;
}

function update(card, given) {
  const key = JSON.stringify(given);
  if (key === card.shown) return;
  card.shown = key;
  card.root.dataset.tone = given.tone;
  show(card.state, `${given.sign} ${given.state}`);
  if (card.facts.children.length !== 2 * given.facts.length) {
    card.facts.replaceChildren(...given.facts.flatMap(() => [element("dt"), element("dd")]));
  }
  given.facts.forEach(([name, value], row) => {
    show(card.facts.children[2 * row], name);
    show(card.facts.children[2 * row + 1], value);
    card.facts.children[2 * row + 1].classList.toggle("long", value.length > 10);
  });
  show(card.pending, given.pending);
  const focused = [...card.buttons.values()].includes(document.activeElement) ? document.activeElement : null;
  for (const [name, button] of card.buttons) button.hidden = !given.commands.includes(name);
  if (focused?.hidden) [...card.buttons.values()].find((button) => !button.hidden)?.focus();
}

function act(name, label, target) {
  const address = `/api/workers/${encodeURIComponent(target)}/${name}/`;
  return tried(`${label} ${target}`, () => command("POST", address));
}
