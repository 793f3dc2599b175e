// The dashboard as editors see it, in a real browser.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { article, assertAccessible, assertFits, body, browser, live, LOOKS, Node, shot, visitor, watched } from "./harness.mjs";

let node, chrome;
before(async () => {
  node = await Node.start();
  chrome = await browser();
});
after(async () => {
  await chrome?.close();
  await node?.stop();
});

const visit = (path, options) => visitor(chrome, node)(path, options);
const row = (page, text) => page.locator("#stories > li", { hasText: text });

test("news appears within a second of publishing", async () => {
  const { page, faults, context } = await visit();
  await live(page);
  await page.evaluate(() => {
    new MutationObserver(() => (window.seenAt ??= Date.now())).observe(document.getElementById("stories"), { childList: true });
  });
  await node.publish(article("test:new", "Ports open again", { urgency: 1 }));
  const answeredAt = Date.now();
  await row(page, "Ports open again").waitFor();
  const seenAt = await page.evaluate(() => window.seenAt);
  assert.ok(seenAt - answeredAt < 1000, `${seenAt - answeredAt} ms`);
  // A flash is said aloud, too.
  assert.match(await page.locator("#loud").textContent(), /FLASH: Ports open again/);
  assert.deepEqual(faults, []);
  await context.close();
});

test("a story stands once, at its newest revision", async () => {
  const { page, context } = await visit();
  await live(page);
  await node.publish(article("test:once", "First words"));
  await row(page, "First words").waitFor();
  await node.publish(article("test:once", "Second words"));
  await row(page, "Second words").waitFor();
  assert.equal(await row(page, "First words").count(), 0);
  assert.equal(await page.locator("#stories > li").first().getAttribute("data-revision"), "2");
  await context.close();
});

test("resumes by itself after the server was killed, and says so", async () => {
  const { page, context } = await visit();
  await live(page);
  await node.down();
  await page.locator("#state[data-state=offline]").waitFor();
  assert.match(await page.locator("#state").textContent(), /Disconnected/);
  await node.up();
  // In the gap: the stream must bring it when it is back.
  await node.publish(article("test:gap", "While nobody listened"));
  await row(page, "While nobody listened").waitFor();
  await live(page);
  assert.equal(await row(page, "While nobody listened").count(), 1);
  await context.close();
});

test("a kill removes headline and body from the page, and leaves the notice", async () => {
  await node.publish(article("test:kill", "Unproven claim", body("Secret paragraph of the claim.")));
  const { page, context } = await visit();
  await live(page);
  await row(page, "Unproven claim").getByRole("link").click();
  await page.locator("#panel").getByText("Secret paragraph of the claim.").waitFor();
  await node.amend("kill", "test:kill", "it was false");
  await page.locator("#panel .kill").getByText("it was false").first().waitFor();
  const text = await page.evaluate(() => document.documentElement.outerHTML);
  assert.doesNotMatch(text, /Secret paragraph|Unproven claim/);
  await page.locator("#stories > li.kill").getByText("KILLED", { exact: true }).waitFor();
  await shot(page, "kill");
  await page.reload();
  await page.locator("#panel .kill").getByText("it was false").first().waitFor();
  assert.doesNotMatch(await page.content(), /Secret paragraph|Unproven claim/);
  await context.close();
});

test("a kill reaches what stands beside an opened article, and one that the filters leave out", async () => {
  const texts = ["Obelisk crane tips over", "Obelisk crane owner fined"];
  await node.publish(...texts.map((text, place) => article(`test:beside${place}`, text, body(`${text} downtown.`))));
  const { page, context } = await visit();
  await live(page);
  await row(page, texts[0]).getByRole("link").click();
  await page.locator("#panel .related").getByText(texts[1]).waitFor();
  await node.amend("kill", "test:beside1", "not him");
  await page.locator("#panel .related").getByText(texts[1]).waitFor({ state: "detached" });
  await page.locator("#panel .body").getByText("downtown").waitFor();

  const id = await page.locator("#panel [data-article-id]").getAttribute("data-article-id");
  await page.goto(`${node.url}/?languages=fr&article=${id}`);
  await live(page);
  await page.locator("#panel .body").getByText("downtown").waitFor();
  await node.amend("kill", "test:beside0", "nor that");
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await page.locator("#panel .kill").getByText("nor that").first().waitFor();
  assert.doesNotMatch(await page.content(), /downtown|Obelisk/);
  await context.close();
});

test("a server that has gone silent is noticed", async () => {
  const { page, context } = await visit();
  await live(page);
  await node.freeze();
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await page.locator("#state[data-state=offline]").waitFor();
  node.thaw();
  await live(page);
  await context.close();
});

test("a correction shows what changed, live and after a reload", async () => {
  await node.publish(article("test:mend", "Pact signed", body("The two sides signed the pact on Tuesday in Amman.")));
  const { page, context } = await visit();
  await live(page);
  const mended = article("test:mend", "Pact signed", body("The two sides signed the pact on Monday in Amman."));
  await node.amend("correct", "test:mend", "the day was wrong", mended);
  for (const when of ["live", "after a reload"]) {
    const changed = page.locator("#stories > li.correct .change");
    await changed.waitFor();
    assert.match(await changed.locator("del").textContent(), /Tuesday/, when);
    assert.match(await changed.locator("ins").textContent(), /Monday/, when);
    await page.reload();
  }
  await row(page, "Pact signed").getByRole("link").click();
  await page.locator("#panel .revisions ins").getByText("Monday").waitFor();
  assert.equal(await page.locator("#panel .revisions > li").count(), 2);
  await shot(page, "correction");
  await context.close();
});

test("an opened article stays so in the address; keys close it and focus goes back", async () => {
  await node.publish(article("test:keys", "Keys suffice"));
  const { page, context } = await visit();
  await live(page);
  await row(page, "Keys suffice").getByRole("link").focus();
  await page.keyboard.press("Enter");
  await page.locator("#panel h2").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), "Keys suffice");
  await page.reload();
  await page.locator("#panel h2").getByText("Keys suffice").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#panel").waitFor({ state: "hidden" });
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), "Keys suffice");
  assert.doesNotMatch(page.url(), /article=/);
  await page.goBack();
  await page.locator("#panel h2").getByText("Keys suffice").waitFor();
  await context.close();
});

test("filters stand in the address, survive a reload and hold for what comes", async () => {
  const telecom = { subjects: [{ rel: "topic", literal: "ict.telecom" }] };
  await node.publish(article("test:f1", "Fibre to villages", telecom), article("test:f2", "Wheat harvest begins"));
  const { page, faults, context } = await visit();
  await page.locator("summary").click();
  await page.getByRole("checkbox", { name: "Telecom" }).check();
  await row(page, "Wheat harvest begins").waitFor({ state: "detached" });
  await page.getByLabel("Words").fill("fibre");
  await page.getByLabel("Words").press("Enter");
  await page.waitForURL(/q=fibre/);
  assert.match(page.url(), /topics=ict\.telecom/);
  await page.reload();
  await live(page);
  assert.ok(await page.getByRole("checkbox", { name: "Telecom" }).isChecked());
  assert.equal(await page.getByLabel("Words").inputValue(), "fibre");
  assert.equal(await page.locator("#stories > li").count(), 1);
  await node.publish(article("test:f3", "No strand here", telecom), article("test:f4", "Fibre again", telecom));
  await row(page, "Fibre again").waitFor();
  assert.equal(await row(page, "No strand here").count(), 0);
  assert.deepEqual(faults, []);
  await context.close();
});

test("a filter that can't be is explained", async () => {
  const { page, context } = await visit("/?topics=ict.telecon&ui=en");
  assert.match(await page.locator(".problem").textContent(), /ict\.telecom.*TOPIC_UNKNOWN/s);
  await context.close();
});

test("Arabic is right to left, in stories and in the interface", async () => {
  const headline = "دمشق وعمّان تتفقان على فريق مشترك";
  await node.publish({ ...article("test:ar", headline, body("بحث وفدان حكوميان التعاون.")), language: "ar" });
  const { page, context } = await visit();
  await live(page);
  const direction = (locator) => locator.evaluate((element) => getComputedStyle(element).direction);
  assert.equal(await direction(row(page, headline).locator("h3")), "rtl");
  assert.equal(await row(page, headline).locator("h3").getAttribute("lang"), "ar");
  assert.equal(await direction(row(page, "Keys suffice").locator("h3")), "ltr");
  await page.getByRole("link", { name: "العربية" }).click();
  await live(page);
  assert.equal(await page.evaluate(() => document.documentElement.dir), "rtl");
  assert.equal(await page.evaluate(() => document.documentElement.lang), "ar");
  assert.equal(await direction(row(page, "Keys suffice").locator("h3")), "ltr");
  // Live stories, too.
  await node.publish({ ...article("test:ar2", "خبر جديد من حلب"), language: "ar" });
  await row(page, "خبر جديد من حلب").waitFor();
  assert.equal(await direction(row(page, "خبر جديد من حلب").locator("h3")), "rtl");
  await row(page, headline).getByRole("link").click();
  await page.locator("#panel .body").waitFor();
  assert.equal(await direction(page.locator("#panel .body p").first()), "rtl");
  // What changed runs as the text does, not as the interface.
  await node.publish(article("test:ltr", "Talks on Monday"), article("test:ltr", "Talks on Tuesday"));
  await row(page, "Talks on Tuesday").getByRole("link").click();
  await page.locator("#panel .change p").waitFor();
  assert.equal(await direction(page.locator("#panel .change p")), "ltr");
  await context.close();
  const arabic = await visit("/", { locale: "ar-JO" });
  assert.equal(await arabic.page.evaluate(() => document.documentElement.dir), "rtl");
  await arabic.context.close();
});

test("related articles stand beside an opened one, with what they share", async () => {
  await node.publish(
    article("test:r1", "Submarine cable repaired off Aqaba", body("A repair ship mended the submarine cable off Aqaba.")),
    article("test:r2", "Aqaba cable cut slows internet", body("The submarine cable off Aqaba was cut by an anchor.")),
  );
  const { page, context } = await visit();
  await live(page);
  await row(page, "Submarine cable repaired").getByRole("link").click();
  const related = page.locator("#panel .related li").first();
  await related.getByText("Aqaba cable cut slows internet").waitFor();
  assert.match(await related.textContent(), /cable/);
  await related.getByRole("link").click();
  await page.locator("#panel h2").getByText("Aqaba cable cut").waitFor();
  await context.close();
});

test("axe finds nothing, and no part is wider than its screen", async () => {
  await node.run("demo", "--speed", "1000", "--server", node.grpc);
  for (const [name, options] of Object.entries(LOOKS)) {
    const { page, faults, context } = await visit("/", { reducedMotion: "reduce", ...options });
    await live(page);
    await shot(page, name);
    await assertAccessible(page, name);
    for (const what of ["list", "article"]) {
      await assertFits(page, `${name}: ${what}`);
      if (what === "article") break;
      await page.locator("#stories > li.correct a, #stories > li.update a").first().click();
      await page.locator("#panel h2").waitFor();
    }
    await shot(page, `${name}-article`);
    await assertAccessible(page, `${name}, with an article`);
    assert.deepEqual(faults, []);
    await context.close();
  }
});

test("an article's page and the list read well without script", async () => {
  const { page, context } = await visit("/", { javaScriptEnabled: false });
  assert.equal(await page.locator("#stories > li").count(), 30);
  const link = page.locator("#stories > li.publish a").first();
  const headline = await link.textContent();
  await link.click();
  await page.locator("main article h2").getByText(headline).waitFor();
  await context.close();
});

test("the page is light and fast amid 10,000 articles, and asks nobody else", async () => {
  await node.publish(...Array.from({ length: 10_000 }, (_, number) => article(`test:many${number}`, `Number ${number}`)));
  const context = await chrome.newContext({ locale: "en" });
  const { page, faults } = await watched(context);
  let bytes = 0;
  const hosts = new Set();
  page.on("response", async (response) => {
    hosts.add(new URL(response.url()).host);
    if (!response.url().includes("/v1/stream")) bytes += (await response.body()).length;
  });
  await page.goto(node.url);
  await live(page);
  // The browser tells of it a moment after it has painted.
  const painted = await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  const paint = await painted.jsonValue();
  assert.equal(await page.locator("#stories > li").count(), 30);
  assert.ok(bytes > 10_000 && bytes < 200 * 1024, `${bytes} bytes`);
  // Bounded widely: how long it takes is measured, not tested.
  console.log(`first paint after ${Math.round(paint)} ms`);
  assert.ok(paint < 10_000, `${paint} ms`);
  assert.deepEqual([...hosts], [new URL(node.url).host]);
  assert.deepEqual(faults, []);
  await context.close();
});
