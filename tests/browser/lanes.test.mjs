// Lanes by topic, beside the one column, in a real browser.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { article, assertAccessible, assertFits, body, browser, live, LOOKS, Node, shot, visitor } from "./harness.mjs";

let node, chrome, visit;
before(async () => {
  node = await Node.start();
  chrome = await browser();
  visit = visitor(chrome, node);
});
after(async () => {
  await chrome?.close();
  await node?.stop();
});

const about = (uri, headline, ...topics) =>
  article(uri, headline, { subjects: topics.map((literal) => ({ rel: "topic", literal })) });
const lane = (page, name) => page.getByRole("region", { name, exact: true });
const row = (place, text) => place.locator("li.story", { hasText: text });

test("a lane for each topic, chosen in the address, and each story in all of its lanes", async () => {
  await node.publish(
    about("lane:1", "Fibre reaches the valley", "ict.telecom"),
    about("lane:2", "Envoys meet about satellites", "ict.satellite", "diplomacy.bilateral"),
    about("lane:3", "Wheat exports rise", "economy.trade"),
  );
  const { page, faults, context } = await visit("/?view=lanes");
  await live(page);
  const names = ["Diplomacy", "Economy", "General news", "Information and communications technology"];
  assert.deepEqual(await page.locator(".lane > h2").allTextContents(), names);
  await row(lane(page, "Economy"), "Wheat exports rise").waitFor();
  assert.equal(await row(page, "Envoys meet").count(), 2);
  assert.equal(await row(page, "Fibre reaches").count(), 1);
  // Live, and once in each.
  await node.publish(about("lane:4", "Ministers sign a telecom treaty", "ict.telecom", "diplomacy.treaties"));
  await row(lane(page, "Diplomacy"), "Ministers sign").waitFor();
  assert.equal(await row(page, "Ministers sign").count(), 2);
  // A correction shows what changed in each, and a kill empties all.
  const mended = { ...about("lane:4", "Ministers sign a postal treaty", "ict.telecom"), ...body("On Monday.") };
  await node.amend("correct", "lane:4", "it was about post", mended);
  await page.waitForFunction(() => document.querySelectorAll(".lane li.correct ins").length >= 2);
  await node.amend("kill", "lane:4", "there was none");
  await page.waitForFunction(() => document.querySelectorAll(".lane li.kill").length === 2);
  assert.doesNotMatch(await page.content(), /postal treaty|telecom treaty/);
  assert.deepEqual(faults, []);
  await context.close();
});

test("filters choose the lanes, and the choice of the layout keeps them", async () => {
  const { page, context } = await visit("/?topics=ict.telecom&topics=economy&q=wheat&view=lanes&ui=en");
  await live(page);
  assert.equal(await page.locator(".lane").count(), 2);
  await row(lane(page, "Economy"), "Wheat exports rise").waitFor();
  // Words hold no kill back.
  assert.equal(await page.locator(".lane li.story:not(.kill)").count(), 1);
  await page.getByLabel("Words").fill("fibre");
  await page.getByLabel("Words").press("Enter");
  await page.waitForURL(/q=fibre/);
  assert.match(page.url(), /view=lanes/);
  await row(lane(page, "Telecommunications"), "Fibre reaches").waitFor();
  await page.getByRole("link", { name: "One column" }).click();
  await page.locator("#stories").waitFor();
  assert.match(page.url(), /topics=economy&topics=ict\.telecom&q=fibre/);
  assert.doesNotMatch(page.url(), /view=/);
  await page.getByRole("link", { name: "Lanes by topic" }).click();
  await page.locator("#lanes").waitFor();
  await context.close();
});

test("an article opens beside its lanes by key, and focus goes back", async () => {
  const { page, context } = await visit("/?view=lanes");
  await live(page);
  await row(lane(page, "Economy"), "Wheat exports rise").getByRole("link").focus();
  await page.keyboard.press("Enter");
  await page.locator("#panel h2").getByText("Wheat exports rise").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#panel").waitFor({ state: "hidden" });
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), "Wheat exports rise");
  await context.close();
});

test("axe finds nothing in lanes, and a phone turns them by a finger", async () => {
  await node.run("demo", "--speed", "1000", "--server", node.grpc);
  for (const [name, options] of Object.entries(LOOKS)) {
    const { page, faults, context } = await visit("/?view=lanes", { reducedMotion: "reduce", ...options });
    await live(page);
    await shot(page, `lanes-${name}`);
    await assertAccessible(page, name);
    await assertFits(page, name);
    const { lanes, first, second } = await page.evaluate(() => {
      const width = (node) => node.getBoundingClientRect().width;
      const [first, second] = document.querySelectorAll(".lane");
      return { lanes: width(document.getElementById("lanes")), first: width(first), second: width(second) };
    });
    assert.equal(Math.round(first), Math.round(second));
    if (name.includes("phone")) {
      // One lane, and the edge of the next, which says that there is one.
      assert.ok(first > 0.8 * lanes && first < 0.95 * lanes, `${first} of ${lanes}`);
      const links = page.locator(".lane-names a");
      await links.nth(1).click();
      await page.waitForFunction(() => {
        const lane = document.querySelectorAll(".lane")[1].getBoundingClientRect();
        return lane.left >= -8 && lane.right <= innerWidth + 8;
      });
      await shot(page, `lanes-${name}-second`);
    }
    assert.deepEqual(faults, []);
    await context.close();
  }
});

test("lanes read well without script", async () => {
  await node.publish(about("lane:5", "Barley exports rise", "economy.trade"));
  const { page, context } = await visit("/?view=lanes", { javaScriptEnabled: false });
  await row(lane(page, "Economy"), "Barley exports rise").waitFor();
  await context.close();
});
