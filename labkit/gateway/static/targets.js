// Day 3's targets with their measured values, and the recovery chain of the last fault.
import { byId, call, element, show, tried, word } from "./page.js";

const SIGNS = { true: ["✓", "met"], false: ["✕", "missed"], null: ["–", "open"] };
let shownTargets = "";
let shownChain = "";

export function beginTargets() {
  const button = byId("compare");
  button.addEventListener("click", async () => {
    button.disabled = true;
    show(button, word("comparing"));
    const body = { filters: ["sharpen", "edges"], count: 4, rounds: 1 };
    await tried(word("compare"), () => call("POST", "/api/process-batch/compare/", body));
    button.disabled = false;
    show(button, word("compare"));
  });
}

export function showTargets(moment) {
  const targets = JSON.stringify(moment.targets);
  if (targets !== shownTargets) {
    shownTargets = targets;
    byId("targets").replaceChildren(
      ...moment.targets.map(([id, title, measured, met]) => {
        const [sign, name] = SIGNS[met];
        return element(
          "tr",
          { "data-id": id, "data-met": String(met) },
          element(
            "th",
            { scope: "row" },
            element("span", { class: "met", "aria-hidden": "true" }, sign),
            element("span", { class: "visually-hidden" }, `${word(name)}: `),
            title,
          ),
          element("td", {}, measured),
        );
      }),
    );
  }
  const chain = JSON.stringify(moment.chain);
  if (chain === shownChain) return;
  shownChain = chain;
  show(byId("fault"), moment.chain ? moment.chain.title : word("no_fault"));
  byId("chain").replaceChildren(
    ...(moment.chain?.links ?? []).map(([name, after, reached]) =>
      element(
        "li",
        { "data-reached": String(reached) },
        element("span", { class: "dot", "aria-hidden": "true" }),
        element("span", {}, name),
        element("span", { class: "when" }, after),
      ),
    ),
  );
}
