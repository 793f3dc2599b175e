// A node of Barid on free ports, and a browser before it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const need = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run make browser`);
  return value;
};

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
// Where screenshots go, if they are wanted.
const SHOTS = process.env.BROWSER_SHOTS;

// How readers look at a page.
export const LOOKS = {
  light: {},
  dark: { colorScheme: "dark" },
  phone: { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true },
  arabic: { locale: "ar" },
  "arabic-phone-dark": { locale: "ar", viewport: { width: 360, height: 740 }, isMobile: true, colorScheme: "dark" },
};

// The longest that anything may take which must come.
export const LIMIT = 20_000;

export class Node {
  #child;
  #count = 0;
  #listen = { grpc: "127.0.0.1:0", http: "127.0.0.1:0", nats: "127.0.0.1:0" };

  // With keys, one that asks for them; commands show those that it makes itself.
  static async start({ withKeys = false, flags = [] } = {}) {
    const node = new Node();
    node.flags = flags;
    node.folder = await mkdtemp(join(tmpdir(), "barid-browser-"));
    if (withKeys) node.keys = join(node.folder, "data", "keys");
    await node.#serve();
    return node;
  }

  get grpc() {
    return `http://${this.#listen.grpc}`;
  }

  get url() {
    return `http://${this.#listen.http}`;
  }

  async #serve() {
    const args = ["serve", "--output", "json", "--log", "error", "--drain", "100ms", ...this.flags];
    if (!this.keys) args.push("--danger-without-keys");
    args.push("--data-dir", join(this.folder, "data"), "--nats-server", need("BARID_TEST_NATS_SERVER"));
    for (const [key, address] of Object.entries(this.#listen)) args.push(`--${key}-listen`, address);
    this.#child = this.#spawn(args);
    const [line] = await once(createInterface(this.#child.stdout), "line");
    const ready = JSON.parse(line);
    for (const key of Object.keys(this.#listen)) this.#listen[key] = ready[key].replace(/^.*:\/\//, "");
  }

  #spawn(args) {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("BARID_")));
    return spawn(need("BARID_TEST_BINARY"), args, { stdio: ["ignore", "pipe", "inherit"], cwd: this.folder, env });
  }

  async run(...args) {
    const child = this.#spawn(args);
    let text = "";
    for await (const piece of child.stdout) text += piece;
    if (child.exitCode === null) await once(child, "exit");
    if (child.exitCode !== 0) throw new Error(`barid ${args.join(" ")}: ${child.exitCode}: ${text}`);
    return text;
  }

  // kill -9, then the same addresses again.
  async down() {
    this.#child.kill("SIGKILL");
    await once(this.#child, "exit");
  }

  // Alive, and answers nothing.
  // Waits until it stands: before, it may still answer once.
  async freeze() {
    this.#child.kill("SIGSTOP");
    const state = async () => (await readFile(`/proc/${this.#child.pid}/stat`, "utf8")).split(") ").at(-1)[0];
    while ((await state()) !== "T");
  }

  thaw() {
    this.#child.kill("SIGCONT");
  }

  async up() {
    await this.#serve();
  }

  async publish(...articles) {
    const file = join(this.folder, `${this.#count++}.jsonl`);
    await writeFile(file, articles.map((article) => JSON.stringify(article)).join("\n"));
    await this.run("publish", ...this.#client(), file);
  }

  // Keeps a text in a file of the node's folder; returns where.
  async keep(name, text) {
    const file = join(this.folder, name);
    await writeFile(file, text, { mode: 0o600 });
    return file;
  }

  // What a command needs to reach the node.
  #client() {
    const server = ["--server", this.grpc];
    return this.keys ? [...server, "--key-file", this.keys] : server;
  }

  async amend(command, uri, note, article) {
    const args = [command, ...this.#client(), uri];
    if (article) {
      const file = join(this.folder, `${this.#count++}.json`);
      await writeFile(file, JSON.stringify(article));
      args.push(file);
    } else args.push("--yes");
    await this.run(...args, "--note", note);
  }

  async stop() {
    this.#child.kill("SIGTERM");
    await once(this.#child, "exit");
    await rm(this.folder, { recursive: true, force: true });
  }
}

export async function browser() {
  // A sandbox needs rights that containers seldom give; only our own pages are opened here.
  return chromium.launch({ executablePath: need("BARID_TEST_CHROMIUM"), args: ["--no-sandbox"] });
}

// A page that counts what must not be: errors, what the policy blocked, other hosts, dialogs.
export async function watched(context) {
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT);
  const faults = [];
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("console", (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) faults.push(message.text());
  });
  return { page, faults };
}

export function article(uri, headline, rest = {}) {
  return { uri, language: "en", headlines: [{ value: headline }], ...rest };
}

export function body(text, contentType = "text/plain") {
  return { bodies: [{ contentType, value: text }] };
}

// Opens pages of a node, each in a context of its own.
export function visitor(chrome, node) {
  return async (path = "/", options = {}) => {
    const context = await chrome.newContext({ locale: "en-GB", viewport: { width: 1400, height: 900 }, ...options });
    const { page, faults } = await watched(context);
    await page.goto(node.url + path);
    return { page, faults, context };
  };
}

// The key of a role that a node made itself.
export async function keyOf(node, role) {
  return (await readFile(join(node.folder, "data", "keys", role), "utf8")).trim();
}

// Opens pages as somebody with a key, or with that of a role: the page asks for it, and goes on.
export function entered(visit, node) {
  return async (path, options = {}, role = "desk") => {
    const opened = await visit(path, options);
    const key = role.startsWith("barid_") ? role : await keyOf(node, role);
    await opened.page.locator("input[name=key]").fill(key);
    await opened.page.locator("main form button").click();
    await opened.page.locator("main form input[name=key]").waitFor({ state: "detached" });
    return opened;
  };
}

export const live = (page) => page.locator("#state[data-state=live]").waitFor();

export async function shot(page, name) {
  if (SHOTS) await page.screenshot({ path: join(SHOTS, `${name}.png`) });
}

// axe in a world of its own, which the page's policy does not bind.
export async function assertAccessible(page, what) {
  const session = await page.context().newCDPSession(page);
  const { frameTree } = await session.send("Page.getFrameTree");
  const world = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
  const run = (expression) =>
    session.send("Runtime.evaluate", {
      expression, contextId: world.executionContextId, awaitPromise: true, returnByValue: true,
    });
  await run(AXE);
  const { result } = await run("axe.run().then((found) => JSON.stringify([found.violations, found.passes.length]))");
  const [violations, passes] = JSON.parse(result.value);
  assert.ok(passes > 15, `axe looked at too little of ${what}: ${passes}`);
  const told = violations.map(({ id, impact, nodes }) => ({ id, impact, at: nodes.map((one) => one.html) }));
  assert.deepEqual(told, [], what);
}

export async function assertFits(page, what) {
  // Not innerWidth: a phone's grows with what does not fit.
  const wide = await page.evaluate((width) => document.documentElement.scrollWidth - width, page.viewportSize().width);
  assert.ok(wide <= 0, `${what} is ${wide} pixels too wide`);
}
