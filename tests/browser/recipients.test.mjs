// Subscriptions, webhooks and recalls in a real browser.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { article, assertAccessible, assertFits, body, browser, entered, LOOKS, Node, shot, visitor } from "./harness.mjs";

let node, chrome, enter, receiver;
// What the receiver of the webhooks answers, by path.
const answers = new Map();
const taken = [];

before(async () => {
  node = await Node.start({ withKeys: true, flags: ["--danger-call-without-tls", "--danger-call-internal-addresses"] });
  chrome = await browser();
  enter = entered(visitor(chrome, node), node);
  receiver = createServer((request, response) => {
    request.resume();
    const path = request.url.split("?")[0];
    const status = answers.get(path) ?? 200;
    if (status === 200) taken.push([path, request.headers["webhook-id"]]);
    // Its fifth refusal parks a revision: not minutes later.
    response.writeHead(status, status === 200 ? {} : { "retry-after": "1" }).end(status === 200 ? "thank you" : "no, thank you");
  });
  await new Promise((ready) => receiver.listen(0, "127.0.0.1", ready));
});
after(async () => {
  await chrome?.close();
  await node?.stop();
  receiver?.close();
});

const desk = () => ["--server", node.grpc, "--key-file", node.keys];
const json = async (...args) => JSON.parse(await node.run(...args, ...desk(), "--output", "json"));

// A partner with a key of its own, as the desk makes it.
async function partner(name) {
  await node.run("partner", "add", name, "--subscribe", "all", ...desk());
  return (await json("key", "add", name, "--role", "subscriber")).secret;
}

// A webhook of a partner, and its id.
async function webhook(name, path) {
  const url = `http://127.0.0.1:${receiver.address().port}${path}`;
  return (await json("webhook", "add", url, "--partner", name)).id;
}

// A durable subscription of the key's partner that is at the log's end, and not connected.
async function subscription(name, key) {
  const file = await node.keep(`${name}.key`, key);
  await node.run("tail", "--subscription", name, "--from", "earliest", "--until-caught-up", "--server", node.grpc, "--key-file", file);
}

const row = (page, text) => page.locator("tbody tr", { hasText: text });
const act = (page, name) => page.locator(`.acts form.to-${name} button`).click();

test("the desk sees all subscriptions with their lag, live, and a partner its own", async () => {
  const gazette = await partner("gazette");
  const tribune = await partner("tribune");
  await node.publish(article("test:first", "The first of all"));
  await subscription("gazette-bot", gazette);
  await subscription("tribune-bot", tribune);
  const { page, faults, context } = await enter("/");
  await page.getByRole("link", { name: "Subscriptions" }).click();
  await row(page, "gazette-bot").waitFor();
  await row(page, "tribune-bot").waitFor();
  assert.match(await row(page, "gazette-bot").textContent(), /nothing/);
  assert.match(await row(page, "gazette-bot").textContent(), /not connected/);
  // Without a reload.
  await node.publish(article("test:second", "The second"), article("test:third", "The third"));
  await row(page, "gazette-bot").getByText("2 articles").waitFor();
  await page.getByRole("link", { name: "tribune", exact: true }).click();
  await page.getByText("Only those of").waitFor();
  assert.equal(await row(page, "gazette-bot").count(), 0);
  await assertAccessible(page, "subscriptions of a partner");
  assert.deepEqual(faults, []);
  await context.close();

  const own = await enter("/desk/subscriptions", {}, gazette);
  await row(own.page, "gazette-bot").waitFor();
  assert.equal(await row(own.page, "tribune-bot").count(), 0);
  assert.equal(await own.page.getByRole("link", { name: "New story" }).count(), 0);
  assert.equal(await own.page.getByRole("link", { name: "Embargoes" }).count(), 0);
  const refused = await own.page.goto(`${node.url}/desk/subscriptions?partner=tribune`);
  assert.equal(refused.status(), 403);
  await own.context.close();
});

test("a webhook is tested, paused, resumed, and what it refused is sent again", async () => {
  answers.set("/hooks/a-secret-that-nobody-may-see", 400);
  const id = await webhook("gazette", "/hooks/a-secret-that-nobody-may-see?token=hush");
  await node.publish(article("test:refused", "Refused by the receiver", body("Text.")));
  const { page, faults, context } = await enter("/desk/webhooks");
  await row(page, "/hooks/").getByText("1", { exact: true }).waitFor();
  assert.doesNotMatch(await page.content(), /nobody-may-see|hush/);
  await row(page, "/hooks/").getByRole("link", { name: "127.0.0.1" }).click();
  assert.equal(new URL(page.url()).pathname, `/desk/webhooks/${id}`);
  const parked = page.locator("#webhook-parked tbody tr");
  assert.match(await parked.textContent(), /400/);
  assert.doesNotMatch(await page.content(), /nobody-may-see|hush/);
  await shot(page, "webhook-parked");
  await assertAccessible(page, "a webhook");

  await act(page, "test");
  await page.getByText("The test was refused").waitFor();
  await page.getByText("no, thank you").waitFor();
  answers.delete("/hooks/a-secret-that-nobody-may-see");
  await act(page, "test");
  await page.getByText("The test was taken").waitFor();
  await shot(page, "webhook-tested");
  await assertAccessible(page, "a tested webhook");
  await act(page, "pause");
  await page.getByText("It is paused").waitFor();
  assert.equal((await json("webhook", "show", id)).state, "paused");
  await act(page, "resume");
  await page.getByText("It is active").waitFor();
  const before = taken.length;
  await parked.getByRole("button", { name: "Send again" }).click();
  await page.getByText("on its way again").waitFor();
  // Without a reload.
  await page.getByText("Nothing is parked.").waitFor();
  assert.equal(taken.length, before + 1);
  assert.deepEqual(faults, []);
  await context.close();
});

test("after a kill the desk sees who has been told, and whom it has not reached", async () => {
  const pressing = await webhook("tribune", "/pressing");
  const { page, faults, context } = await enter("/desk/new");
  await page.locator("[name=headline]").fill("Minister resigns");
  await page.locator("[name=language]").fill("en");
  await page.locator("form.compose button[type=submit]").click();
  await page.locator(".done").waitFor();
  const id = new URL(page.url()).pathname.split("/")[3];
  assert.equal(await page.getByRole("link", { name: "Who has been told" }).count(), 0);
  // It has the story, and then refuses the kill.
  for (let tries = 0; !taken.some(([path]) => path === "/pressing"); tries += 1) {
    assert.ok(tries < 200, "the webhook got nothing");
    await page.waitForTimeout(100);
  }
  answers.set("/pressing", 400);
  await page.getByRole("link", { name: "Kill", exact: true }).click();
  await page.locator("[name=edition_note]").fill("he did not");
  await page.getByRole("checkbox").check();
  await page.locator("form.compose button[type=submit]").click();
  await page.getByRole("link", { name: "See who has been told" }).click();
  assert.equal(new URL(page.url()).pathname, `/desk/articles/${id}/recall`);
  await row(page, pressing).getByText("outstanding").waitFor();
  await page.locator("tr.acknowledged").first().waitFor();
  await row(page, "gazette-bot").waitFor();
  await shot(page, "recall");
  await assertAccessible(page, "a recall");
  await row(page, pressing).getByRole("link").click();
  // Refused for good before it takes it, or there were nothing to send again.
  await page.locator("#webhook-parked tbody tr").waitFor();
  answers.delete("/pressing");
  await page.reload();
  await page.getByRole("button", { name: "Send all parked again" }).click();
  await page.locator(".done").waitFor();
  await page.goto(`${node.url}/desk/articles/${id}`);
  await page.getByRole("link", { name: "Who has been told" }).click();
  await row(page, pressing).getByText("acknowledged").waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test("the pages work without script", async () => {
  const id = await webhook("gazette", "/plain");
  const { page, context } = await enter(`/desk/webhooks/${id}`, { javaScriptEnabled: false });
  await act(page, "pause");
  await page.getByText("It is paused").waitFor();
  await page.getByRole("link", { name: "All webhooks" }).click();
  await row(page, "/plain").getByText("paused").waitFor();
  await context.close();
});

test("axe finds nothing, everything fits, and a server that is away is told", async () => {
  const id = await webhook("gazette", "/look");
  for (const [name, options] of Object.entries(LOOKS)) {
    const { page, faults, context } = await enter("/desk/subscriptions", { reducedMotion: "reduce", ...options });
    for (const [what, path] of [
      ["subscriptions", "/desk/subscriptions"], ["webhooks", "/desk/webhooks"], ["webhook", `/desk/webhooks/${id}`],
    ]) {
      await page.goto(node.url + path);
      await page.locator("main h2").waitFor();
      await shot(page, `${what}-${name}`);
      await assertAccessible(page, `${what}, ${name}`);
      await assertFits(page, `${what}, ${name}`);
    }
    assert.deepEqual(faults, []);
    await context.close();
  }
  const { page, context } = await enter("/desk/webhooks");
  await node.freeze();
  try {
    await page.locator("#stale").getByText("does not answer").waitFor();
  } finally {
    // A node that stays stopped holds the end of all tests.
    node.thaw();
  }
  await page.locator("#stale:empty").waitFor({ state: "attached" });
  await context.close();
});
