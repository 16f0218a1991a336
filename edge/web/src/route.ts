// Which page is shown, by the address. Links are ordinary links; a click on one of ours changes the
// page without loading it anew.
import { Store } from "./store";

/** Path and query. */
export const place = new Store(location.pathname + location.search);

export function go(path: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", path);
  else history.replaceState(null, "", path);
  place.set(location.pathname + location.search);
}

/** From now on, links and the back button change the page. */
export function follow(): void {
  addEventListener("popstate", () => place.set(location.pathname + location.search));
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element).closest?.("a[href]");
    if (!(link instanceof HTMLAnchorElement) || link.origin !== location.origin) return;
    if (link.target !== "" || link.hash !== "") return;
    event.preventDefault();
    go(link.pathname + link.search);
  });
}

/** Where to go after log-in: `next` of the address, if it is a place of ours. */
export function next(): string {
  const wanted = new URLSearchParams(location.search).get("next") ?? "/";
  return /^\/(?![/\\])/.test(wanted) ? wanted : "/";
}

/** The log-in page, with the way back here. */
export function logInPath(): string {
  return `/log-in?next=${encodeURIComponent(location.pathname + location.search)}`;
}
