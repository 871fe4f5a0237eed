// A picture before and after the filters.
import { element, word } from "./page.js";

/** A figure with the picture as it was and as it is. */
export function pair(name, result) {
  const short = /^[0-9a-f]{32}$/.test(name) ? name.slice(0, 6) : name;
  const before = `/api/images/${encodeURIComponent(name)}/`;
  return element(
    "figure",
    {},
    element("img", { src: before, alt: word("before", { name: short }), loading: "lazy" }),
    element("img", { src: result, alt: word("after", { name: short }), loading: "lazy" }),
    element("figcaption", {}, short),
  );
}
