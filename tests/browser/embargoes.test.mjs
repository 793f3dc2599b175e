// Drafts under embargo in a real browser: moved, let out, cancelled.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { article, assertAccessible, assertFits, body, browser, entered, live, LOOKS, Node, shot, visitor } from "./harness.mjs";

let node, chrome, enter;
before(async () => {
  node = await Node.start({ withKeys: true });
  chrome = await browser();
  enter = entered(visitor(chrome, node), node);
});
after(async () => {
  await chrome?.close();
  await node?.stop();
});

const inMinutes = (minutes) => new Date(Date.now() + minutes * 60_000).toISOString();
const written = (minutes) => inMinutes(minutes).slice(0, 16);

// A draft that is there, and its id.
async function held(uri, headline, rest = {}) {
  await node.publish(article(uri, headline, { embargoedUntil: inMinutes(60), ...body("Not before its time."), ...rest }));
  return (await drafts()).find((one) => one.uri === uri).id;
}

async function drafts() {
  const list = await node.run("embargo", "list", "--server", node.grpc, "--key-file", node.keys, "--output", "json");
  return list.trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

const until = (page) => page.locator("[name=until]");
const send = (page, act) => page.locator(`form.to-${act} button[type=submit]`).click();
const done = (page) => page.locator(".done").waitFor();

test("a draft is found in the queue, moved later and earlier, and let out at once", async () => {
  const id = await held("test:moved", "Budget under embargo");
  const { page, faults, context } = await enter("/desk/embargoes");
  const wire = await context.newPage();
  await wire.goto(node.url);
  await live(wire);
  await page.getByRole("link", { name: "Budget under embargo" }).click();
  await page.getByText("Not before its time.").waitFor();
  for (const minutes of [120, 30]) {
    await until(page).fill(written(minutes));
    await send(page, "move");
    await done(page);
    const [draft] = await drafts();
    assert.equal(draft.until.slice(0, 16), await until(page).inputValue());
  }
  await shot(page, "draft-moved");
  await assertAccessible(page, "a draft");
  // The browser holds it back until it is confirmed.
  await send(page, "release");
  assert.equal((await drafts()).length, 1);
  await page.locator("#f-release").check();
  await send(page, "release");
  await done(page);
  assert.equal(new URL(page.url()).pathname, `/desk/articles/${id}`);
  await wire.locator("#stories > li", { hasText: "Budget under embargo" }).waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test("a time that is over is refused at its field, and stays written there", async () => {
  const id = await held("test:past", "A late decision");
  const { page, context } = await enter(`/desk/embargoes/${id}`);
  const past = written(-60);
  await until(page).fill(past);
  await send(page, "move");
  await page.locator("[role=alert]").getByText("Give a time in the future").waitFor();
  assert.match(await page.locator("#e-move").textContent(), /Give a time in the future, at most 366 days ahead/);
  assert.equal(await until(page).inputValue(), past);
  assert.equal(await until(page).getAttribute("aria-invalid"), "true");
  // The alert has the focus, and leads to the field.
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("role")), "alert");
  await page.locator("[role=alert] a").click();
  assert.equal(await page.evaluate(() => document.activeElement.name), "until");
  await shot(page, "draft-past");
  await assertAccessible(page, "a refused draft");
  await context.close();
});

test("who is overtaken sees the other's time, keeps the own, and can send it again", async () => {
  const id = await held("test:race", "Two desks, one draft");
  const { page, context } = await enter(`/desk/embargoes/${id}`);
  const mine = written(180);
  await until(page).fill(mine);
  await node.run("embargo", "move", id, "45m", "--server", node.grpc, "--key-file", node.keys);
  await send(page, "move");
  await page.locator("[role=alert]").getByText("somebody changed this draft meanwhile").waitFor();
  assert.equal(await until(page).inputValue(), mine);
  await shot(page, "draft-overtaken");
  await assertAccessible(page, "an overtaken draft");
  await send(page, "move");
  await done(page);
  assert.equal((await drafts()).find((one) => one.id === id).until.slice(0, 16), mine);
  // Let out meanwhile: what was written is still said.
  await until(page).fill(written(240));
  await node.run("embargo", "release", id, "--server", node.grpc, "--key-file", node.keys);
  await send(page, "move");
  await page.getByText("no draft any more").waitFor();
  await shot(page, "draft-gone");
  await assertAccessible(page, "a draft that is gone");
  await page.getByRole("link", { name: "Look at the story" }).click();
  await page.locator("article.opened").getByText("Not before its time.").waitFor();
  await context.close();
});

test("a draft is cancelled in Arabic and without script", async () => {
  const id = await held("test:cancel", "قرار مؤجل", { language: "ar" });
  const { page, context } = await enter(`/desk/embargoes/${id}`, { locale: "ar", javaScriptEnabled: false });
  assert.equal(await page.locator("html").getAttribute("dir"), "rtl");
  await page.locator("#f-cancel").check();
  await send(page, "cancel");
  await done(page);
  assert.match(await page.locator(".done").textContent(), /مُحيت المسودة/);
  assert.equal((await drafts()).filter((one) => one.id === id).length, 0);
  await context.close();
});

test("the queue follows by itself", async () => {
  const { page, faults, context } = await enter("/desk/embargoes");
  const id = await held("test:follow", "Comes and goes");
  const draft = page.getByRole("link", { name: "Comes and goes" });
  await draft.waitFor();
  // What has the focus keeps it, though the list is made anew.
  await draft.focus();
  await node.run("embargo", "move", id, "50m", "--server", node.grpc, "--key-file", node.keys);
  const before = await page.locator("tr", { hasText: "Comes and goes" }).locator("time").getAttribute("datetime");
  await page.waitForFunction((old) => {
    const row = [...document.querySelectorAll("tr")].find((one) => one.textContent.includes("Comes and goes"));
    return row.querySelector("time").dateTime !== old;
  }, before);
  assert.match(await page.evaluate(() => document.activeElement.textContent), /Comes and goes/);
  await node.run("embargo", "cancel", id, "--server", node.grpc, "--key-file", node.keys);
  await draft.waitFor({ state: "detached" });
  assert.deepEqual(faults, []);
  await context.close();
});

test("axe finds nothing, and everything fits", async () => {
  const id = await held("test:look", "مجلس الوزراء يقر اتفاقاً للاتصالات مع دولة مجاورة", { language: "ar" });
  await held("test:look2", "Ministers sign a treaty on cybersecurity and telecommunications in Amman");
  for (const [name, options] of Object.entries(LOOKS)) {
    const { page, faults, context } = await enter("/desk/embargoes", { reducedMotion: "reduce", ...options });
    await shot(page, `queue-${name}`);
    await assertAccessible(page, `the queue, ${name}`);
    await assertFits(page, `the queue, ${name}`);
    await page.goto(`${node.url}/desk/embargoes/${id}`);
    await shot(page, `draft-${name}`);
    await assertAccessible(page, `a draft, ${name}`);
    await assertFits(page, `a draft, ${name}`);
    assert.deepEqual(faults, []);
    await context.close();
  }
});
