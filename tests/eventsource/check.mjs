// Other people's EventSource against a node: the npm package `eventsource`, and that of Chromium.
//
// Each follows the wire while the service is killed (kill -9) and started again, in the middle of
// being published to. Each must get every revision once, in order, and no event without data.
//
//     node check.mjs BARID NATS_SERVER [CHROMIUM]

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { EventSource as NpmEventSource } from "eventsource";
import { chromium } from "playwright-core";

const [barid, natsServer, browserPath] = process.argv.slice(2);
const ACTIONS = ["publish", "update", "correct", "withhold", "kill"];
const ROUNDS = 3;
const PER_ROUND = 20;
// The longest that anything may take which must come.
const LIMIT = 30_000;

const folder = await mkdtemp(join(tmpdir(), "barid-eventsource-"));
let listen = { grpc: "127.0.0.1:0", http: "127.0.0.1:0", nats: "127.0.0.1:0" };

async function serve() {
  const args = ["serve", "--danger-without-keys", "--output", "json", "--log", "error", "--data-dir", join(folder, "data")];
  args.push("--nats-server", natsServer);
  for (const [key, address] of Object.entries(listen)) args.push(`--${key}-listen`, address);
  const child = spawn(barid, args, { stdio: ["ignore", "pipe", "inherit"], cwd: folder });
  const [line] = await once(createInterface(child.stdout), "line");
  const ready = JSON.parse(line);
  for (const key of Object.keys(listen)) listen[key] = ready[key].replace(/^.*:\/\//, "");
  return child;
}

async function run(...args) {
  const child = spawn(barid, args, { stdio: ["ignore", "pipe", "inherit"], cwd: folder });
  let text = "";
  for await (const piece of child.stdout) text += piece;
  if (child.exitCode === null) await once(child, "exit");
  if (child.exitCode !== 0) throw new Error(`barid ${args.join(" ")}: ${child.exitCode}`);
  return text;
}

let published = 0;
const expected = [];

// Publishes some articles; returns once each is answered.
async function publish(count) {
  const lines = Array.from({ length: count }, () => {
    const number = published++;
    return JSON.stringify({ uri: `test:${number}`, language: "en", headlines: [{ value: `number ${number}` }] });
  });
  const file = join(folder, `${published}.jsonl`);
  await writeFile(file, lines.join("\n"));
  await run("publish", "--server", `http://${listen.grpc}`, file);
  for (let number = published - count; number < published; number++) expected.push(`number ${number}`);
}

async function eventually(what, condition) {
  const deadline = Date.now() + LIMIT;
  for (;;) {
    const last = await condition();
    if (last === true) return;
    if (Date.now() > deadline) throw new Error(`not in time: ${what}: ${JSON.stringify(last)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Follows the stream; what it saw, and what it should not have.
function follow(EventSource, url, actions) {
  const seen = { headlines: [], ids: [], strange: [] };
  const source = new EventSource(url);
  for (const action of actions) {
    source.addEventListener(action, (event) => {
      seen.ids.push(event.lastEventId);
      seen.headlines.push(JSON.parse(event.data).headlines[0].value);
    });
  }
  source.addEventListener("message", (event) => seen.strange.push(`message ${event.data}`));
  source.addEventListener("error", () => {
    if (source.readyState === 2) seen.strange.push("closed for good");
  });
  return seen;
}

let node = await serve();
let browser;
try {
  const url = `http://${listen.http}/v1/stream?from=earliest`;
  const clients = { "npm eventsource": async () => npm };
  const npm = follow(NpmEventSource, url, ACTIONS);
  if (browserPath) {
    browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
    const page = await browser.newPage();
    // Of the same origin as the stream, as a dashboard would be.
    await page.goto(`http://${listen.http}/healthz`);
    await page.evaluate(`window.seen = (${follow})(EventSource, ${JSON.stringify(url)}, ${JSON.stringify(ACTIONS)})`);
    clients.Chromium = () => page.evaluate("window.seen");
  }
  for (let round = 0; round < ROUNDS; round++) {
    const publishing = publish(PER_ROUND);
    await eventually("the first of a round", async () => (await clients["npm eventsource"]()).ids.length > round * PER_ROUND);
    await publishing;
    node.kill("SIGKILL");
    await once(node, "exit");
    node = await serve();
    await publish(PER_ROUND);
  }
  for (const [name, state] of Object.entries(clients)) {
    await eventually(`all at ${name}`, async () => {
      const seen = await state();
      return seen.ids.length >= expected.length || seen;
    });
    const seen = await state();
    if (JSON.stringify(seen.headlines) !== JSON.stringify(expected)) throw new Error(`${name}: ${JSON.stringify(seen)}`);
    if (new Set(seen.ids).size !== seen.ids.length) throw new Error(`${name} saw an id twice`);
    if (seen.strange.length > 0) throw new Error(`${name}: ${seen.strange}`);
    console.log(`${name}: ${seen.ids.length} revisions, each once and in order, over ${ROUNDS} kills`);
  }
} finally {
  await browser?.close();
  node.kill("SIGTERM");
  await once(node, "exit");
  await rm(folder, { recursive: true, force: true });
}
process.exit(0);
