// Keeps the dashboard live. Texts get into the page as text only; parts that the server has made
// are parsed where nothing in them runs, and the page's policy lets no script but this one run.
"use strict";

const ROWS_MAX = 200;
const ACTIONS = ["publish", "update", "correct", "withhold", "kill"];
// Milliseconds between two looks at whether the server itself is behind, and before a stream that
// the browser has given up is opened again.
const LOOK_EVERY = 15000;
const AGAIN_AFTER = 2000;

const byId = (id) => document.getElementById(id);
// What keeps the page live, and its lists of stories: one, or one for each lane.
const wire = byId("stories") ?? byId("lanes");
const lists = wire ? [...document.querySelectorAll("#stories, .lane > ol")] : [];
const panel = byId("panel");
const form = byId("filters");
const phrases = byId("phrases");

function localTimes(root) {
  const lang = document.documentElement.lang;
  // Where times are written too, in UTC, theirs must not be taken for it.
  const zone = document.querySelector("main.board, main.sheet") ? { timeZoneName: "short" } : {};
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const clock = { hour: "2-digit", minute: "2-digit" };
    const day = at.toDateString() === today ? {} : { day: "numeric", month: "short", year: "numeric" };
    time.textContent = at.toLocaleString(lang, { ...clock, ...day, ...zone });
    time.title = at.toLocaleString(lang, { dateStyle: "full", timeStyle: "long" });
    time.dir = "auto";
  }
}

// A part of a page that the server makes; null if it can't be had.
async function part(path, selector) {
  try {
    const answer = await fetch(path, { cache: "no-store" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.querySelector(selector) ?? page.querySelector(".problem");
    if (!found) return null;
    const node = document.adoptNode(found);
    localTimes(node);
    return node;
  } catch {
    return null;
  }
}

function address(id, rest = "") {
  return `/desk/articles/${encodeURIComponent(id)}${rest}${phrases.dataset.suffix}`;
}

// ---- the list

function topicName(path) {
  const box = form.querySelector(`input[name=topics][value="${CSS.escape(path)}"]`);
  return box ? box.parentElement.textContent.trim() : path;
}

function fact(ninjs, role) {
  return ninjs.altIds?.find((fact) => fact.role === role)?.value ?? "";
}

function rowOf(ninjs, action) {
  const row = byId("row").content.firstElementChild.cloneNode(true);
  const slot = (name) => row.querySelector(`.${name}`);
  const text = (name, value) => {
    const node = slot(name);
    node.textContent = value ?? "";
    if (ninjs.language) node.lang = ninjs.language;
  };
  const id = fact(ninjs, "barid:id");
  const isNotice = action === "kill" || action === "withhold";
  row.className = `story fresh ${action}`;
  Object.assign(row.dataset, { id, revision: ninjs.version, urgency: ninjs.urgency ?? 5 });
  slot("action").textContent = phrases.dataset[action];
  slot("source").textContent = ninjs.infoSources?.[0]?.name ?? "";
  row.querySelector("time").dateTime = ninjs.versionCreated ?? "";
  const headline = ninjs.headlines?.find((line) => line.role !== "subheadline")?.value ?? "";
  text("headline", "");
  const link = document.createElement("a");
  link.href = address(id);
  link.dataset.article = id;
  link.textContent = isNotice ? phrases.dataset[action === "kill" ? "killed" : "withheld"] : headline;
  if (isNotice) slot("headline").lang = document.documentElement.lang;
  slot("headline").append(link);
  text("sub", ninjs.headlines?.find((line) => line.role === "subheadline")?.value);
  const note = slot("note").querySelector("span");
  note.textContent = ninjs.edNote ?? "";
  if (ninjs.language) note.lang = ninjs.language;
  const topics = (ninjs.subjects ?? []).filter((subject) => subject.rel === "topic");
  slot("topics").replaceChildren(...topics.map((topic) => {
    const item = document.createElement("li");
    item.textContent = topicName(topic.literal);
    return item;
  }));
  localTimes(row);
  return row;
}

function rowWith(id, list = document) {
  return list.querySelector(`li.story[data-id="${CSS.escape(id)}"]`);
}

// Whether a story belongs into a list.
function belongs(ninjs, list) {
  const lane = list.dataset.topic;
  if (!lane) return true;
  const topics = (ninjs.subjects ?? []).filter((subject) => subject.rel === "topic");
  return topics.some(({ literal }) => literal === lane || literal.startsWith(`${lane}.`));
}

function show(ninjs, action) {
  const row = rowOf(ninjs, action);
  const { id, revision } = row.dataset;
  let isNews = false;
  for (const list of lists) if (belongs(ninjs, list)) isNews = place(row.cloneNode(true), list) || isNews;
  if (!isNews) return;
  announce(row, action);
  if (action === "correct") changed(id, revision);
  reopen(id, action === "kill" || action === "withhold");
}

// Puts a story on top of a list in place of its former revision; false if the list has it already.
function place(row, list) {
  const old = rowWith(row.dataset.id, list);
  if (old && Number(old.dataset.revision) >= Number(row.dataset.revision)) return false;
  // What is focused must stay so when its row moves.
  const isFocused = old?.contains(document.activeElement);
  old?.remove();
  list.prepend(row);
  if (isFocused) row.querySelector("a").focus({ preventScroll: true });
  while (list.children.length > ROWS_MAX) list.lastElementChild.remove();
  list.parentElement.querySelector(".nothing").hidden = true;
  return true;
}

// Brings the opened article up to date if a revision concerns it. What is withdrawn goes at once,
// also from among its related articles.
function reopen(id, isNotice) {
  const isShown = panel.dataset.id === id;
  const isNamed = panel.querySelector(`a[data-article="${CSS.escape(id)}"]`) !== null;
  if (!isShown && !(isNamed && isNotice)) return;
  const isFocused = panel.contains(document.activeElement);
  if (isNotice) panel.replaceChildren();
  open(panel.dataset.id, isFocused);
}

// Says aloud only what can't wait.
function announce(row, action) {
  const isFlash = row.dataset.urgency === "1" && action === "publish";
  if (!isFlash && !["correct", "withhold", "kill"].includes(action)) return;
  const mark = isFlash ? phrases.dataset.flash : phrases.dataset[action];
  byId("loud").textContent = `${mark}: ${row.querySelector("a").textContent}`;
}

// Puts what a correction changed into its row.
async function changed(id, revision) {
  const full = await part(address(id, "/row"), "li.story");
  const change = full?.querySelector(".change");
  if (full?.dataset.revision !== revision || !change) return;
  for (const list of lists) {
    const row = rowWith(id, list);
    // It may have been overtaken meanwhile.
    if (row?.dataset.revision === revision) row.querySelector(".topics").before(change.cloneNode(true));
  }
}

// ---- the stream

let source = null;
let lastId = "";
let again = 0;

function state(name) {
  const node = byId("state");
  if (node.dataset.state === name && node.textContent) return;
  node.dataset.state = name;
  const said = phrases.content.querySelector(`[data-state="${name}"]`);
  node.textContent = said ? said.textContent : "";
}

function connect() {
  clearTimeout(again);
  source?.close();
  const path = new URL(wire.dataset.stream, location.href);
  if (lastId) path.searchParams.set("from", lastId);
  source = new EventSource(path);
  source.addEventListener("open", () => state("behind"));
  source.addEventListener("error", () => {
    state("offline");
    // It comes back by itself unless it was answered with an error.
    if (source.readyState !== EventSource.CLOSED) return;
    again = setTimeout(connect, AGAIN_AFTER);
    leave();
  });
  source.addEventListener("caught-up", (event) => {
    lastId = event.lastEventId || lastId;
    state("live");
  });
  source.addEventListener("gap", (event) => {
    lastId = event.lastEventId || lastId;
    byId("loud").textContent = phrases.content.querySelector("[data-state=gap]").textContent;
    byId("loud").className = "problem";
  });
  for (const action of ACTIONS) {
    source.addEventListener(action, (event) => {
      lastId = event.lastEventId || lastId;
      show(JSON.parse(event.data), action);
    });
  }
}

// Where the session has ended, the page itself asks for a key and comes back to this address.
async function leave() {
  try {
    const answer = await fetch("/v1/session", { cache: "no-store" });
    if (answer.status === 401) location.reload();
  } catch {
    // Tried again with the stream.
  }
}

// A connection may be dead without a word: a browser can't see the stream's heartbeats. And the
// opened article need not be among those that the stream is filtered for.
async function look() {
  refresh();
  if (source.readyState !== EventSource.OPEN) return;
  try {
    const answer = await fetch("/readyz", { cache: "no-store", signal: AbortSignal.timeout(LOOK_EVERY / 2) });
    const now = byId("state").dataset.state;
    if (!answer.ok) state("unready");
    else if (now === "unready") state("live");
  } catch {
    state("offline");
    connect();
  }
}

// ---- an opened article

function remember(id) {
  const url = new URL(location.href);
  if (id) url.searchParams.set("article", id);
  else url.searchParams.delete("article");
  history.pushState(null, "", url);
}

async function open(id, isAsked) {
  panel.dataset.id = id;
  const found = await part(address(id), "article.opened");
  // Another was opened meanwhile, or this one closed.
  if (panel.dataset.id !== id) return;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "close";
  close.textContent = phrases.dataset.close;
  close.addEventListener("click", () => shut(true));
  const problem = document.createElement("p");
  problem.textContent = phrases.content.querySelector("[data-state=offline]").textContent;
  panel.replaceChildren(close, found ?? problem);
  panel.hidden = false;
  document.body.classList.add("reading");
  if (isAsked) (panel.querySelector("h2[tabindex]") ?? close).focus();
  if (!found) setTimeout(() => panel.dataset.id === id && open(id, isAsked), AGAIN_AFTER);
}

async function refresh() {
  const id = panel.dataset.id;
  const shown = panel.querySelector("article.opened");
  if (!shown) return;
  const found = await part(address(id), "article.opened");
  const isOther = found && shown.isConnected && !found.isEqualNode(shown);
  if (!isOther) return;
  const isFocused = shown.contains(document.activeElement);
  shown.replaceWith(found);
  if (isFocused) found.querySelector("h2")?.focus({ preventScroll: true });
}

function shut(isAsked) {
  const id = panel.dataset.id;
  if (!id) return;
  delete panel.dataset.id;
  panel.hidden = true;
  panel.replaceChildren();
  document.body.classList.remove("reading");
  if (isAsked) {
    remember("");
    (rowWith(id)?.querySelector("a") ?? byId("news")).focus();
  }
}

function follow() {
  const id = new URLSearchParams(location.search).get("article");
  if (id) open(id, true);
  else shut(false);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-article]");
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!link || !panel || !isPlain) return;
  event.preventDefault();
  remember(link.dataset.article);
  open(link.dataset.article, true);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && panel && !panel.hidden) shut(true);
});

// ---- filters: the address is their only place

if (form) {
  form.addEventListener("change", (event) => {
    if (event.target.matches("select, [type=checkbox]")) form.requestSubmit();
  });
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
    if (panel.dataset.id) formData.set("article", panel.dataset.id);
  });
}

localTimes(document);
if (panel) {
  addEventListener("popstate", follow);
  follow();
}
if (wire?.dataset.stream) {
  state("connecting");
  connect();
  setInterval(look, LOOK_EVERY);
  addEventListener("online", look);
}
