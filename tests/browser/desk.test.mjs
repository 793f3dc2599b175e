// The desk's own pages in a real browser: forms, and the state of the node.

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

const row = (page, text) => page.locator("#stories > li", { hasText: text });
const field = (page, name) => page.locator(`[name=${name}]`);
const send = (page) => page.locator("form.compose button[type=submit]").click();
const done = (page) => page.locator(".done").waitFor();

async function read(page, id, rest = "") {
  return page.evaluate(async (path) => (await fetch(path)).json(), `/v1/articles/${id}${rest}`);
}

const idOf = (page) => new URL(page.url()).pathname.split("/")[3];

// An article that is there, and its id.
async function published(page, uri, headline, rest = {}) {
  await node.publish(article(uri, headline, rest));
  const list = await page.evaluate(async () => (await fetch("/v1/articles?limit=100")).json());
  const found = list.articles.find((one) => one.uri === uri);
  return found.altIds.find((fact) => fact.role === "barid:id").value;
}

test("a story is written in a form, with every field, and is on the wire at once", async () => {
  const { page, faults, context } = await enter("/");
  await live(page);
  const form = await context.newPage();
  await form.goto(node.url);
  await form.getByRole("link", { name: "New story" }).click();
  const texts = {
    headline: "وزراء يوقعون اتفاقاً للأمن السيبراني", subheadline: "في عمّان", body: "الفقرة الأولى.\n\nالفقرة الثانية.",
    language: "ar", byline: "مراسل", located: "عمّان", slugline: "CYBER", source: "بريد", usage_terms: "للاستخدام",
    subjects: "04000000, 11000000", places: "عمّان\nدمشق", page: "https://news.example/1", uri: "test:form", edition_note: "ملاحظة",
  };
  for (const [name, text] of Object.entries(texts)) await field(form, name).fill(text);
  await field(form, "urgency").selectOption("1");
  await form.locator(".pick").fill("teleco");
  assert.equal(await form.locator(".topics-field li:visible").count(), 1);
  await form.getByRole("checkbox", { name: "Telecommunications" }).check();
  await shot(form, "form-filled");
  await send(form);
  await done(form);
  await row(page, texts.headline).waitFor();
  const story = await read(form, idOf(form));
  assert.equal(story.headlines[0].value, texts.headline);
  assert.equal(story.headlines[1].value, texts.subheadline);
  assert.equal(story.bodies[0].value, texts.body);
  assert.equal(story.bodies[0].contentType, "text/plain");
  assert.deepEqual([story.language, story.by, story.located, story.slugline], ["ar", texts.byline, texts.located, texts.slugline]);
  assert.deepEqual([story.infoSources[0].name, story.usageTerms, story.edNote], [texts.source, texts.usage_terms, texts.edition_note]);
  assert.deepEqual([story.uri, story.urgency, story.renditions[0].href], [texts.uri, 1, texts.page]);
  assert.deepEqual(story.places.map((place) => place.name), ["عمّان", "دمشق"]);
  assert.ok(story.subjects.some((subject) => subject.literal === "ict.telecom"));
  assert.ok(story.subjects.some((subject) => subject.literal === "medtop:11000000"));
  assert.deepEqual(faults, []);
  await context.close();
});

test("what is wrong stands at its field, and nothing of the text is lost", async () => {
  const { page, context } = await enter("/desk/new");
  await field(page, "headline").fill("A headline that stays");
  await field(page, "language").fill("english please");
  await field(page, "subjects").fill("123");
  await field(page, "body").fill("Kept.");
  await send(page);
  await page.locator(".sheet [role=alert]").waitFor();
  assert.match(await page.locator("#e-language").textContent(), /english please/);
  assert.match(await page.locator("#e-subjects").textContent(), /123/);
  assert.equal(await field(page, "language").getAttribute("aria-invalid"), "true");
  assert.equal(await field(page, "headline").getAttribute("aria-invalid"), null);
  assert.equal(await field(page, "headline").inputValue(), "A headline that stays");
  assert.equal(await field(page, "body").inputValue(), "Kept.");
  // The summary has the focus, and leads to the field.
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("role")), "alert");
  await page.locator(".sheet [role=alert]").getByRole("link", { name: "Language" }).click();
  assert.equal(await page.evaluate(() => document.activeElement.name), "language");
  await shot(page, "form-refused");
  await assertAccessible(page, "a refused form");
  await field(page, "language").fill("en");
  await field(page, "subjects").fill("");
  await send(page);
  await done(page);
  await context.close();
});

test("an editor in Arabic reads in Arabic what is wrong", async () => {
  for (const look of ["arabic", "arabic-phone-dark"]) {
    const { page, context } = await enter("/desk/new", LOOKS[look]);
    await field(page, "headline").fill("وزراء يوقعون اتفاقاً");
    await field(page, "language").fill("english please");
    await field(page, "subjects").fill("123");
    await field(page, "page").fill("news.example/1");
    await send(page);
    const alert = page.locator(".sheet [role=alert]");
    await alert.waitFor();
    const error = page.locator("#e-language");
    assert.equal(await error.textContent(), "«english please» ليس رمز لغة. اكتبوا رمزاً مثل ar أو en أو ar-EG.");
    assert.match(await page.locator("#e-subjects").textContent(), /«123» ليس رمز موضوع من IPTC/);
    for (const told of [alert, error, page.locator("#e-page")]) {
      const [direction, language] = await told.evaluate((one) => [getComputedStyle(one).direction, one.closest("[lang]").lang]);
      assert.deepEqual([direction, language, await told.locator("[lang]").count()], ["rtl", "ar", 0]);
    }
    // What was written is a word of its own in that line, and the field is told with what is wrong.
    assert.equal(await error.locator("bdi").first().textContent(), "english please");
    const session = await context.newCDPSession(page);
    const { nodes } = await session.send("Accessibility.getFullAXTree");
    const language = nodes.find((one) => one.name?.value.startsWith("اللغة") && one.role.value === "combobox");
    assert.match(language.description.value, /ليس رمز لغة/);
    await assertFits(page, `a refused form, ${look}`);
    await assertAccessible(page, `a refused form, ${look}`);
    await shot(page, `form-refused-${look}`);
    await error.scrollIntoViewIfNeeded();
    await shot(page, `form-refused-field-${look}`);
    await context.close();
  }
});

test("a double click, and a form that is sent again, publish once", async () => {
  const { page, context } = await enter("/desk/new");
  await field(page, "headline").fill("Once and no more");
  await field(page, "language").fill("en");
  // As two clicks that no script holds back, and a third after the answer.
  const places = await page.evaluate(async () => {
    const form = document.querySelector("form.compose");
    const sent = () => fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    const answers = await Promise.all([sent(), sent()]);
    answers.push(await sent());
    return answers.map((answer) => [answer.status, new URL(answer.url).pathname]);
  });
  assert.deepEqual(places.map(([status]) => status), [200, 200, 200]);
  assert.equal(new Set(places.map(([, path]) => path)).size, 1);
  const revisions = await read(page, places[0][1].split("/")[3], "/revisions");
  assert.equal(revisions.articles.length, 1);
  // And by the mouse; not where the first form stands, which the page would not leave unasked.
  const mouse = await context.newPage();
  await mouse.goto(`${node.url}/desk/new`);
  await field(mouse, "headline").fill("Twice by the mouse");
  await field(mouse, "language").fill("en");
  await mouse.locator("form.compose button[type=submit]").dblclick();
  await done(mouse);
  const list = await page.evaluate(async () => (await fetch("/v1/articles?q=twice+mouse")).json());
  assert.equal(list.articles.length, 1);
  assert.equal(list.articles[0].version, "1");
  await context.close();
});

test("two editors don't overwrite each other: the later one sees what the other changed", async () => {
  const { page, context } = await enter("/");
  const id = await published(page, "test:two", "Bridge opens", body("The bridge opens on Monday."));
  const other = await context.newPage();
  for (const one of [page, other]) await one.goto(`${node.url}/desk/articles/${id}/correct`);
  await field(page, "body").fill("The bridge opens on Tuesday.");
  await field(page, "edition_note").fill("the day was wrong");
  await field(other, "headline").fill("Bridge opens at last");
  await field(other, "edition_note").fill("a better headline");
  await send(page);
  await done(page);
  await send(other);
  const alert = other.locator(".sheet [role=alert]");
  await alert.waitFor();
  assert.match(await alert.textContent(), /Revision 2 came in between/);
  assert.match(await alert.locator("ins").textContent(), /Tuesday/);
  assert.equal(await field(other, "headline").inputValue(), "Bridge opens at last");
  await shot(other, "form-overtaken");
  await assertAccessible(other, "an overtaken form");
  assert.equal((await read(page, id)).version, "2");
  await field(other, "body").fill("The bridge opens on Tuesday.");
  await send(other);
  await done(other);
  const story = await read(page, id);
  assert.deepEqual([story.version, story.headlines[0].value], ["3", "Bridge opens at last"]);
  assert.match(story.bodies[0].value, /Tuesday/);
  await context.close();
});

test("a story is withheld and comes back, and is killed after a confirmation", async () => {
  const { page, context } = await enter("/");
  const id = await published(page, "test:kill", "Minister resigns", body("He resigned this morning."));
  await live(page);
  const wire = await context.newPage();
  await wire.goto(node.url);
  await live(wire);
  await row(page, "Minister resigns").getByRole("link").click();
  await page.locator("#panel").getByRole("link", { name: "Withhold", exact: true }).click();
  await field(page, "edition_note").fill("to be checked");
  await shot(page, "form-withhold");
  await send(page);
  await done(page);
  await wire.locator("#stories > li.withhold").getByText("to be checked").waitFor();
  // What it said is there for the desk, and for nobody else.
  await page.getByRole("link", { name: "Publish again" }).click();
  assert.equal(await field(page, "headline").inputValue(), "Minister resigns");
  assert.match(await field(page, "body").inputValue(), /this morning/);
  await send(page);
  await done(page);
  await row(wire, "Minister resigns").waitFor();

  await page.getByRole("link", { name: "Kill", exact: true }).click();
  await field(page, "edition_note").fill("he did not");
  await shot(page, "form-kill");
  await assertAccessible(page, "a kill");
  await send(page);
  // The browser holds it back until it is confirmed, and so does the server.
  assert.equal((await read(page, id)).pubStatus, "usable");
  await page.evaluate(() => document.querySelector("form.compose").setAttribute("novalidate", ""));
  await send(page);
  await page.locator("#e-confirm").getByText("Tick the box").waitFor();
  assert.equal(await field(page, "edition_note").inputValue(), "he did not");
  await page.getByRole("checkbox").check();
  await send(page);
  await done(page);
  await wire.locator("#stories > li.kill").getByText("he did not").waitFor();
  assert.equal((await read(page, id)).pubStatus, "canceled");
  assert.equal(await page.getByRole("link", { name: "Publish again" }).count(), 0);
  await page.goto(`${node.url}/desk/articles/${id}/correct`);
  await page.getByText("STATE_UNFIT").waitFor();
  await context.close();
});

test("a story under embargo is a draft that the desk alone sees, and comes out at its time", async () => {
  const { page, context } = await enter("/desk/new");
  const wire = await context.newPage();
  await wire.goto(node.url);
  await live(wire);
  await field(page, "headline").fill("Budget under embargo");
  await field(page, "language").fill("en");
  const time = (minutes) => new Date(Date.now() + minutes * 60_000).toISOString().slice(0, 16);
  await field(page, "embargoed_until").fill(time(60));
  await field(page, "expires").fill(time(600));
  await send(page);
  await done(page);
  assert.match(page.url(), /\/desk\/embargoes/);
  const draft = page.locator("tbody tr", { hasText: "Budget under embargo" });
  assert.match(await draft.textContent(), /scheduled/);
  await shot(page, "embargoes");
  await assertAccessible(page, "drafts");
  assert.equal(await row(wire, "Budget").count(), 0);
  const list = await node.run("embargo", "list", "--server", node.grpc, "--key-file", node.keys, "--output", "json");
  const id = /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(list)[0];
  await node.run("embargo", "release", id, "--server", node.grpc, "--key-file", node.keys);
  await row(wire, "Budget under embargo").waitFor();
  await page.reload();
  assert.equal(await draft.count(), 0);
  await context.close();
});

test("forms work without script", async () => {
  const { page, context } = await enter("/desk/new", { javaScriptEnabled: false });
  await field(page, "headline").fill("No script was needed");
  await field(page, "language").fill("en");
  await send(page);
  await done(page);
  await page.getByText("No script was needed").first().waitFor();
  await context.close();
});

test("who is not of the desk is told so, and sees no forms", async () => {
  const { page, context } = await enter("/", {}, "subscriber");
  await live(page);
  assert.equal(await page.getByRole("link", { name: "New story" }).count(), 0);
  for (const path of ["/desk/new", "/desk/status"]) {
    const answer = await page.goto(node.url + path);
    assert.equal(answer.status(), 403, path);
    await page.getByText("ROLE_MISSING").waitFor();
  }
  await context.close();
});

test("the state of the node: charts, NATS, subscribers with their partners, and news of them", async () => {
  const { page, faults, context } = await enter("/desk/status");
  await page.locator("#board-state .good").waitFor();
  await page.locator("#board-nats").getByText("each write is on disk").waitFor();
  const wire = await context.newPage();
  await wire.goto(node.url);
  await live(wire);
  const stream = page.locator("#board-streams tbody tr", { hasText: "sse" }).first();
  await stream.waitFor();
  assert.match(await stream.textContent(), /local.*live/);
  for (let number = 0; number < 5; number += 1) await node.publish(article(`test:rate${number}`, `Rate ${number}`));
  await page.waitForFunction(() => {
    const values = (id) => JSON.parse(document.getElementById(id).dataset.values);
    return values("chart-articles").some((value) => value > 0) && values("chart-deliveries").some((value) => value > 0);
  });
  await page.locator("#chart-articles canvas").waitFor();
  assert.equal(await page.locator("figure canvas").count(), 3);
  await shot(page, "board");
  await node.freeze();
  await page.locator("#board-state").getByText("does not answer").waitFor();
  node.thaw();
  await page.locator("#board-state .good").waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test("axe finds nothing on the desk's pages, they fit, and they are light", async () => {
  await node.run("demo", "--speed", "1000", "--server", node.grpc, "--key-file", node.keys);
  for (const [name, options] of Object.entries(LOOKS)) {
    const { page, faults, context } = await enter("/", { reducedMotion: "reduce", ...options });
    await live(page);
    await shot(page, `desk-wire-${name}`);
    for (const [what, path] of [["board", "/desk/status"], ["form", "/desk/new"], ["drafts", "/desk/embargoes"]]) {
      const bodies = [];
      page.on("response", (response) => bodies.push(response.body().catch(() => "")));
      await page.goto(node.url + path);
      await page.locator("main h2").waitFor();
      if (what === "board") await page.locator("#chart-articles canvas").waitFor();
      await shot(page, `desk-${what}-${name}`);
      await assertAccessible(page, `${what}, ${name}`);
      await assertFits(page, `${what}, ${name}`);
      const bytes = (await Promise.all(bodies)).reduce((sum, body) => sum + body.length, 0);
      assert.ok(bytes > 1000 && bytes < 200 * 1024, `${what}: ${bytes} bytes`);
      page.removeAllListeners("response");
    }
    assert.deepEqual(faults, []);
    await context.close();
  }
});
