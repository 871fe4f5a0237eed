// Pictures before and after the filters.
import { element, word } from "./page.js";

/** A figure with the picture as it was and as it is. */
export async function pair(name, result, caption = "") {
  const short = /^[0-9a-f]{32}$/.test(name) ? name.slice(0, 6) : name;
  return element(
    "figure",
    {},
    element("img", { src: `/api/images/${encodeURIComponent(name)}/`, alt: word("before", { name: short }), loading: "lazy" }),
    element("img", { src: result, alt: word("after", { name: short }), loading: "lazy" }),
    element("figcaption", {}, caption || short),
  );
}
