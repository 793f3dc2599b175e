// Whatever stands in a text or in the address of the page, nothing of it runs or becomes markup.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { browser, Node, watched } from "./harness.mjs";
import { PAYLOADS } from "./payloads.mjs";

// The gateway refuses characters that disguise a text; an address may still have them.
const TEXTS = PAYLOADS.filter((payload) => !/[\t\f\u202e]/.test(payload));

let node, chrome;
before(async () => {
  node = await Node.start();
  chrome = await browser();
});
after(async () => {
  await chrome?.close();
  await node?.stop();
});

// An article with a payload in every text that one has.
function loaded(payload, place) {
  const contentType = place % 2 === 0 ? "text/plain" : "text/html";
  return {
    uri: `xss:${place}`,
    language: "en",
    urgency: 1 + (place % 9),
    headlines: [{ value: payload }, { role: "subheadline", value: payload }],
    bodies: [{ contentType, value: `before ${payload} after` }],
    slugline: payload, by: payload, located: payload, edNote: payload, usageTerms: payload,
    places: [{ name: payload }],
    infoSources: [{ name: payload }],
    subjects: [{ rel: "topic", literal: "ict.telecom", name: payload }],
    renditions: [{ name: "canonical", href: `https://news.example/${place}`, title: payload }],
    associations: [{ name: "related-1", uri: "https://news.example/other", title: payload }],
  };
}

// What of the page should not be there: an element or attribute that no template of ours writes.
function strangers() {
  const tags = new Set(
    ("A ARTICLE B BDI BODY BUTTON CODE DD DEL DETAILS DIV DL DT FORM H1 H2 H3 HEAD HEADER HTML INPUT INS LABEL LI LINK MAIN " +
      "META NAV NOSCRIPT OL OPTION P SCRIPT SECTION SELECT SPAN STRONG SUMMARY TEMPLATE TIME TITLE UL").split(" "));
  const found = [];
  if (window.pwnedCount) found.push(`ran ${window.pwnedCount} times`);
  for (const element of document.querySelectorAll("*")) {
    if (!tags.has(element.tagName)) found.push(element.outerHTML.slice(0, 200));
    for (const { name, value } of element.attributes) {
      const isAddress = ["href", "src", "action", "formaction"].includes(name);
      const isOurs = !isAddress || /^(\/|#)/.test(value);
      if (name.startsWith("on") || name === "style" || !isOurs) found.push(`${element.tagName} ${name}=${value}`);
    }
  }
  if (document.scripts.length !== 1) found.push(`${document.scripts.length} scripts`);
  return found;
}

async function trapped() {
  const context = await chrome.newContext({ locale: "en" });
  await context.addInitScript(() => {
    window.pwnedCount = 0;
    window.pwned = () => window.pwnedCount++;
  });
  return { context, ...(await watched(context)) };
}

test("there are enough payloads, and the trap does catch", async () => {
  assert.ok(new Set(TEXTS).size >= 100, `${TEXTS.length}`);
  const { context, page } = await trapped();
  // A page without a policy that believes its texts.
  await page.setContent(`<main>${PAYLOADS.slice(0, 3).join("")}</main>`);
  await page.waitForFunction(() => window.pwnedCount > 0);
  assert.notDeepEqual(await page.evaluate(strangers), []);
  await context.close();
});

test("no text of an article runs: live, after a reload, opened, by itself", async () => {
  const { context, page, faults } = await trapped();
  await page.goto(node.url);
  await page.locator("#state[data-state=live]").waitFor();
  await node.publish(...TEXTS.map(loaded));
  await page.waitForFunction((count) => document.querySelectorAll("#stories > li").length === count, TEXTS.length);
  assert.deepEqual(await page.evaluate(strangers), [], "live");
  const shown = await page.locator("#stories > li h3").allTextContents();
  // As texts they are all there, to the letter.
  const expected = TEXTS.map((payload) => payload.trim());
  assert.deepEqual(shown.map((text) => text.trim()).reverse(), expected);
  for (const row of await page.locator("#stories > li").all()) {
    const id = await row.getAttribute("data-id");
    await row.getByRole("link").dispatchEvent("click", { button: 0 });
    await page.locator(`#panel [data-article-id="${id}"]`).waitFor();
    assert.deepEqual(await page.evaluate(strangers), [], await row.locator("h3").textContent());
  }
  const ids = await page.locator("#stories > li").evaluateAll((rows) => rows.map((row) => row.dataset.id));
  let seen = 0;
  for (let path = "/"; path !== null; ) {
    await page.goto(node.url + path);
    assert.deepEqual(await page.evaluate(strangers), [], path);
    seen += await page.locator("#stories > li").count();
    path = await page.evaluate(() => document.querySelector("a[rel=next]")?.getAttribute("href") ?? null);
  }
  assert.equal(seen, TEXTS.length);
  for (const id of ids.filter((_, place) => place % 10 === 0)) {
    await page.goto(`${node.url}/desk/articles/${id}`);
    assert.deepEqual(await page.evaluate(strangers), [], id);
  }
  assert.deepEqual(faults, []);
  await context.close();
});

test("what a correction changed does not run", async () => {
  const { context, page, faults } = await trapped();
  await page.goto(node.url);
  await page.locator("#state[data-state=live]").waitFor();
  const payloads = TEXTS.filter((payload) => payload.includes("<"));
  for (const place of [3, 20, 45, 60]) {
    const mended = { ...loaded(payloads[place], place), headlines: [{ value: `${payloads[place + 1]} mended` }] };
    await node.amend("correct", `xss:${place}`, payloads[place], mended);
  }
  await page.waitForFunction(() => document.querySelectorAll("#stories > li.correct .change").length === 4);
  assert.deepEqual(await page.evaluate(strangers), []);
  await page.locator("#stories > li.correct a").first().click();
  await page.locator("#panel .revisions .change").waitFor();
  assert.deepEqual(await page.evaluate(strangers), []);
  assert.deepEqual(faults, []);
  await context.close();
});

test("nothing of the address runs", async () => {
  const { context, page, faults } = await trapped();
  for (const payload of PAYLOADS) {
    const query = new URLSearchParams();
    for (const name of ["q", "languages", "urgency", "topics", "page", "ui", "article"]) query.set(name, payload);
    // What can't be is refused before what is searched: once with a query that is good.
    for (const path of [`/?${query}`, `/?${new URLSearchParams({ q: payload, ui: payload })}`]) {
      await page.goto(node.url + path, { waitUntil: "domcontentloaded" });
      assert.deepEqual(await page.evaluate(strangers), [], path);
    }
  }
  assert.deepEqual(faults, []);
  await context.close();
});
