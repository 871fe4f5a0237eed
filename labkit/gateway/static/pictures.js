// A picture before and after the filters.
import { element, word } from "./page.js";
import { far, token } from "./token.js";

/** An image. From another machine the token has to come with it, which the browser's own loading cannot do. */
function picture(address, alt) {
  if (!far) return element("img", { src: address, alt, loading: "lazy" });
  const image = element("img", { alt });
  load(image, address);
  return image;
}

async function load(image, address) {
  let answer;
  try {
    answer = await fetch(address, { headers: { Authorization: `Bearer ${token()}` } });
  } catch {
    return; // the server is away: the image keeps its words
  }
  if (!answer.ok) return;
  image.src = URL.createObjectURL(await answer.blob());
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
}

/** A figure with the picture as it was and as it is. */
export function pair(name, result) {
  const short = /^[0-9a-f]{32}$/.test(name) ? name.slice(0, 6) : name;
  const before = `/api/images/${encodeURIComponent(name)}/`;
  return element(
    "figure",
    {},
    picture(before, word("before", { name: short })),
    picture(result, word("after", { name: short })),
    element("figcaption", {}, short),
  );
}
