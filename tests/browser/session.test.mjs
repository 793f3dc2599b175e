// Logging in and out, in a real browser.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { article, assertAccessible, browser, Node, watched } from "./harness.mjs";

let node, chrome, key;
before(async () => {
  node = await Node.start({ withKeys: true });
  chrome = await browser();
  key = (await readFile(join(node.folder, "data/keys/subscriber"), "utf8")).trim();
});
after(async () => {
  await chrome?.close();
  await node?.stop();
});

async function visit(options = {}) {
  const context = await chrome.newContext({ locale: "en-GB", viewport: { width: 1400, height: 900 }, ...options });
  const { page, faults } = await watched(context);
  await page.goto(`${node.url}/?topics=general`);
  return { page, faults, context };
}

async function enter(page, text) {
  await page.locator("input[name=key]").fill(text);
  await page.keyboard.press("Enter");
}

for (const [locale, phrase] of [["en-GB", "Log in"], ["ar", "تسجيل الدخول"]]) {
  test(`a key is asked for in ${locale}, and the wire is live behind it`, async () => {
    const { page, faults, context } = await visit({ locale });
    await page.getByRole("heading", { name: phrase }).waitFor();
    await assertAccessible(page, `the login page in ${locale}`);
    await enter(page, "barid_nonsense");
    await page.locator(".problem").waitFor();
    await assertAccessible(page, `the refusal in ${locale}`);
    await enter(page, key);
    await page.locator("#state[data-state=live]").waitFor();
    assert.equal(new URL(page.url()).search, "?topics=general");
    await assertAccessible(page, `the wire in ${locale}`);
    await node.publish(article(`test:session-${locale}`, `behind a key in ${locale}`));
    await page.locator("#stories > li", { hasText: `behind a key in ${locale}` }).waitFor();
    // No script gets at it.
    assert.equal(await page.evaluate(() => document.cookie), "");
    await page.locator(".leave button").click();
    await page.locator("input[name=key]").waitFor();
    assert.deepEqual(await context.cookies(), []);
    assert.deepEqual(faults, []);
    await context.close();
  });
}

test("it works without script", async () => {
  const { page, context } = await visit({ javaScriptEnabled: false });
  await enter(page, key);
  await page.locator("#stories").waitFor();
  await page.locator(".leave button").click();
  await page.locator("input[name=key]").waitFor();
  await context.close();
});

test("an open page asks for a key when its session has ended", async () => {
  const { page, faults, context } = await visit();
  const made = await node.run("key", "add", "local", "--role", "subscriber", "--server", node.grpc, "--output", "json",
    "--key-file", join(node.folder, "data/keys"));
  const { id, secret } = JSON.parse(made);
  await enter(page, secret);
  await page.locator("#state[data-state=live]").waitFor();
  await node.run("key", "revoke", id, "--server", node.grpc, "--key-file", join(node.folder, "data/keys"));
  await page.locator("input[name=key]").waitFor();
  assert.equal(new URL(page.url()).search, "?topics=general");
  assert.deepEqual(faults, []);
  await context.close();
});
