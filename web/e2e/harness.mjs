// A server of its own, the app in front of it, and a browser.
//
//   CLOUDSTORE_E2E_URL      a running server, or gateway, with the app; else one is started
//   CLOUDSTORE_E2E_STACK    its deploy/local/stack.sh, to kill and start the services that take uploads
//   CLOUDSTORE_E2E_PROGRAM  the program to start (../target/release/cloudstore)
//   CHROMIUM                the browser (/usr/bin/chromium)
//
// A program that was built without the app gets Vite's preview of dist/ in front of it.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { preview } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
export const program =
  process.env.CLOUDSTORE_E2E_PROGRAM ?? join(root, "../target/release/cloudstore");

/** Milliseconds within which something is expected to happen. */
export const PATIENCE = 20_000;
/** Requests and answers of a page that are told when a test of it fails. */
const REMEMBERED_ANSWERS = 30;

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

/** A server that can be killed and started again. */
export class Server {
  constructor(port) {
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.data = mkdtempSync(join(tmpdir(), "cloudstore-e2e-"));
  }

  async start() {
    const args = ["serve", "--data", this.data, "--listen", `127.0.0.1:${this.port}`];
    this.process = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"] });
    const listening = once(this.process.stdout, "data").then(() => true);
    const ended = once(this.process, "exit").then(() => false);
    if (!(await Promise.race([listening, ended]))) throw new Error("the server did not start");
  }

  async kill() {
    this.process.kill("SIGKILL");
    await once(this.process, "exit");
  }

  async end() {
    const { exitCode, signalCode } = this.process;
    if (exitCode === null && signalCode === null) await this.kill();
    rmSync(this.data, { recursive: true, force: true });
  }
}

/** The services of a stack that take uploads, which can be killed and started again. */
class Stack {
  constructor(script) {
    this.script = script;
  }

  run(command) {
    execFileSync(this.script, [command, "upload-1", "upload-2"], { stdio: "ignore" });
  }

  async start() {
    this.run("start");
    this.run("wait");
  }

  async kill() {
    this.run("kill");
  }

  async end() {}
}

async function startServer() {
  const server = new Server(await freePort());
  await server.start();
  return server;
}

function stackOf(script) {
  return script ? new Stack(script) : undefined;
}

/** What Chromium is started with, whoever drives it. */
export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
export const CHROMIUM_ARGS = [
  "--no-sandbox",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

export async function open() {
  const { server, url, close: closeApp } = await serve();
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_ARGS });
  const close = async () => {
    await browser.close();
    await closeApp();
  };
  return { server, browser, url, close };
}

/** A server with the app, or the one that runs already. */
export async function serve() {
  const { CLOUDSTORE_E2E_URL: running, CLOUDSTORE_E2E_STACK: script } = process.env;
  const server = running ? stackOf(script) : await startServer();
  let app = { url: running ?? server.url, close: async () => {} };
  if (!running && !(await servesApp(server.url))) app = await serveDist(server);
  const close = async () => {
    await app.close();
    await server?.end();
  };
  return { server, url: app.url, close };
}

async function servesApp(url) {
  const page = await fetch(url);
  return page.ok && (await page.text()).includes("/assets/");
}

async function serveDist(server) {
  process.env.CLOUDSTORE_SERVER = server.url;
  const port = await freePort();
  const app = await preview({
    root,
    logLevel: "error",
    preview: { port, strictPort: true, host: "127.0.0.1" },
  });
  return { url: `http://127.0.0.1:${port}`, close: () => app.close() };
}

const axe = readFileSync(join(root, "node_modules/axe-core/axe.min.js"), "utf8");

/** A page whose errors count as failures. */
export async function newPage(browser, options = {}) {
  const context = await browser.newContext({ bypassCSP: false, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.faults = [];
  page.answers = [];
  const note = (request, outcome) => {
    page.answers.push(`${request.method()} ${request.url()}: ${outcome}`);
    page.answers.splice(0, page.answers.length - REMEMBERED_ANSWERS);
  };
  page.on("request", (request) => note(request, "sent"));
  page.on("response", (response) => note(response.request(), response.status()));
  page.on("requestfailed", (request) => note(request, request.failure()?.errorText));
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("console", (message) => {
    const text = message.text();
    // Refusals that the app shows in words are logged by the browser, too.
    const expected = /Failed to load resource|net::ERR/.test(text);
    if (message.type() === "error" && !expected) page.faults.push(text);
  });
  return page;
}

/** What the pages showed and asked for last, for whoever looks into a failure. */
export async function describe(browser) {
  const pages = browser.contexts().flatMap((context) => context.pages());
  const told = pages.map(async (page) => {
    const text = await page.locator("body").ariaSnapshot().catch(String);
    return [`--- ${page.url()}`, text, ...(page.answers ?? [])].join("\n");
  });
  return (await Promise.all(told)).join("\n");
}

/** Violations that axe finds on the page as it is. */
export async function violations(page) {
  // Through the debugger, which the Content-Security-Policy does not bind.
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const result = await globalThis.axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    });
    return result.violations.map(({ id, nodes }) => ({
      id,
      where: nodes.slice(0, 3).map((node) => `${node.target.join(" ")}: ${node.failureSummary}`),
    }));
  });
  return found;
}

export const PASSWORD = "correct horse battery";

/** Headers of requests as this user, past the page. */
export async function credentials(url, username) {
  const body = JSON.stringify({ username, password: PASSWORD });
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(`${url}/api/v1/sessions`, { method: "POST", headers, body });
  const { access_token } = await answer.json();
  return { ...headers, Authorization: `Bearer ${access_token}` };
}

/** An upload that another device has begun. */
export async function beginElsewhere(url, username, path, size) {
  const headers = await credentials(url, username);
  const body = JSON.stringify({ path, size });
  await fetch(`${url}/api/v1/uploads`, { method: "POST", headers, body });
}

/** Counts the chunks that arrive. */
export function countChunks(page) {
  const seen = { count: 0 };
  page.on("requestfinished", async (request) => {
    if (!/\/chunks\/\d+$/.test(request.url())) return;
    const answer = await request.response();
    if (answer?.ok()) seen.count += 1;
  });
  return seen;
}

/** Waits until it is so. */
export async function until(what, isSo, patience = PATIENCE) {
  const deadline = Date.now() + patience;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`it never came to that: ${what}`);
    await sleep(50);
  }
}

/** Waits until so many chunks have arrived, however slow the programs of a test are. */
export async function arrived(chunks, count) {
  await until(`${count} chunks arrived`, () => chunks.count >= count, 300_000);
}

/** Measures the longest task of the page's main thread from now on, in milliseconds. */
export async function watchTasks(page) {
  await page.evaluate(() => {
    globalThis.longest = 0;
    const observer = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) {
        globalThis.longest = Math.max(globalThis.longest, duration);
      }
    });
    observer.observe({ entryTypes: ["longtask"] });
  });
  return () => page.evaluate(() => Math.round(globalThis.longest));
}

/** Slows uploads down to this many MiB a second; a negative number lifts it. */
export async function slow(page, mebibytes) {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.emulateNetworkConditions", {
    offline: false,
    latency: 0,
    downloadThroughput: -1,
    uploadThroughput: mebibytes < 0 ? -1 : mebibytes << 20,
  });
}

export async function register(page, url, username) {
  await page.goto(`${url}/register`);
  await page.getByLabel("Username").fill(username);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByRole("heading", { name: "Nothing here yet" }).waitFor();
}

/** Drops a tree on the page, as a file manager would, once it takes drops: `{name: content | tree}`. */
export async function drop(page, tree) {
  const take = async ([tree, patience]) => {
    const entry = (name, node) =>
      typeof node === "string"
        ? {
            name,
            isFile: true,
            isDirectory: false,
            // Browsers read the entry elsewhere and answer in a task of its own.
            file: (resolve) =>
              setTimeout(() =>
                resolve(new File([node], name, { lastModified: 1_700_000_000_000 })),
              ),
          }
        : {
            name,
            isFile: false,
            isDirectory: true,
            createReader() {
              const rest = Object.entries(node).map(([name, node]) => entry(name, node));
              return { readEntries: (resolve) => resolve(rest.splice(0, 100)) };
            },
          };
    const items = Object.entries(tree).map(([name, node]) => ({
      kind: "file",
      webkitGetAsEntry: () => entry(name, node),
      getAsFile: () => null,
    }));
    const isTaken = (type) => {
      const event = new Event(type, { bubbles: true, cancelable: true });
      event.dataTransfer = { types: ["Files"], items };
      return !window.dispatchEvent(event);
    };
    // Browsers drop nothing on what did not take it while it was held over it.
    const end = Date.now() + patience;
    while (!isTaken("dragover")) {
      if (Date.now() > end) throw new Error("the page takes no drops");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    isTaken("drop");
  };
  await page.evaluate(take, [tree, PATIENCE]);
}

/** Waits until every upload is over. */
export async function allDone(page, timeout = 60_000) {
  const panel = page.getByRole("region", { name: "Uploads" });
  await panel.getByRole("heading", { name: /uploaded$/ }).waitFor({ timeout });
}

export const row = (page, name) => page.getByRole("row").filter({ hasText: name });

/** Waits for the uploads, and has them out of the way. */
export async function clear(page) {
  await allDone(page);
  await page.getByRole("button", { name: "Clear finished" }).click();
  await page.getByRole("region", { name: "Uploads" }).waitFor({ state: "hidden" });
}

/** Chooses from the menu of the entry whose name matches. */
export async function menu(page, name, entry) {
  await page.getByRole("button", { name: new RegExp(`Actions for .*${name}`) }).click();
  await page.getByRole("menuitem", { name: entry }).click();
}
