// Keeps a page of the desk up to date: at each look the server makes its live parts anew.

// Milliseconds between two looks.
const LOOK_EVERY = 5000;
// What must mean that this page is no more, and not that the server is away.
const OVER = [401, 403, 404];

const root = document.querySelector("[data-live-page]");

// What can be focused in a part.
function stops(part) {
  return [...part.querySelectorAll("a, button, [tabindex]")];
}

// What it does, which tells it from others wherever in the part it comes to stand.
function aim(stop) {
  if (stop.form) return stop.form.action + new URLSearchParams(new FormData(stop.form));
  return stop.href ?? stop.ariaLabel;
}

function renew(part, fresh) {
  localTimes(fresh);
  if (fresh.isEqualNode(part)) return;
  const focused = part.contains(document.activeElement) && aim(document.activeElement);
  part.replaceChildren(...fresh.childNodes);
  if (focused) stops(part).find((stop) => aim(stop) === focused)?.focus({ preventScroll: true });
}

async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(LOOK_EVERY) });
    // The page of an answer to a form must not ask to send it again.
    if (OVER.includes(answer.status)) return location.replace(location.pathname + location.search);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!page.querySelector("[data-live-page]")) throw new Error("another page");
    for (const part of root.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (fresh) renew(part, document.adoptNode(fresh));
    }
    root.dispatchEvent(new CustomEvent("fresh", { detail: page }));
  } catch {
    const text = document.createElement("span");
    text.className = "verdict bad";
    text.textContent = root.dataset.stale;
    root.querySelector("[data-live][role=status]").replaceChildren(text);
  }
}

setInterval(look, LOOK_EVERY);
addEventListener("online", look);
document.addEventListener("visibilitychange", look);
