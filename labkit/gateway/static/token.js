// The cluster's token: kept for this tab only. A link may bring it as #token=…, which no server sees.
const KEY = "labkit-token";

/** Whether this page comes from another machine: reading needs the token, too, then. */
export const far = !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(location.hostname);

export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

export function takeToken(text) {
  if (text.trim()) sessionStorage.setItem(KEY, text.trim());
  else sessionStorage.removeItem(KEY);
}

function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  takeToken(given);
  history.replaceState(null, "", location.pathname + location.search);
}

fromAddress();
addEventListener("hashchange", fromAddress);
