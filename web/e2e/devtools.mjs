// A browser that nobody looks over the shoulder of. Playwright records the network traffic of each
// page, which costs a fast upload some of its speed, and copies bodies that are not files.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CHROMIUM, CHROMIUM_ARGS } from "./harness.mjs";

/** How long something may take to appear, and how often it is looked for. Milliseconds. */
const PATIENCE = 20_000;
const POLL = 50;

export class Browser {
  #pending = new Map();
  #lastId = 0;

  static async launch() {
    const browser = new Browser();
    browser.profile = mkdtempSync(join(tmpdir(), "cloudstore-profile-"));
    const own = ["--headless=new", "--remote-debugging-pipe", `--user-data-dir=${browser.profile}`];
    const stdio = ["ignore", "ignore", "ignore", "pipe", "pipe"];
    browser.process = spawn(CHROMIUM, [...CHROMIUM_ARGS, ...own, "about:blank"], { stdio });
    let text = "";
    browser.process.stdio[4].setEncoding("utf8").on("data", (data) => {
      const messages = (text + data).split("\0");
      text = messages.pop();
      for (const message of messages) browser.#hear(JSON.parse(message));
    });
    return browser;
  }

  #hear({ id, result, error }) {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#pending.delete(id);
    if (error) pending.reject(new Error(error.message));
    else pending.resolve(result);
  }

  /** A command of the Chrome DevTools Protocol. */
  send(method, params = {}, sessionId = undefined) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  async newPage(url) {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId);
    await page.send("Page.navigate", { url });
    return page;
  }

  async close() {
    const gone = once(this.process, "exit");
    await this.send("Browser.close").catch(() => {});
    await gone;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

class Page {
  constructor(browser, session) {
    this.send = (method, params) => browser.send(method, params, session);
  }

  async #run(work, args, byValue) {
    const expression = `(${work})(...${JSON.stringify(args)})`;
    const options = { expression, awaitPromise: true, returnByValue: byValue };
    const { result, exceptionDetails: fault } = await this.send("Runtime.evaluate", options);
    if (fault) throw new Error(fault.exception?.description ?? fault.text);
    return result;
  }

  /** What a function returns in the page. */
  async evaluate(work, ...args) {
    return (await this.#run(work, args, true)).value;
  }

  /** Waits until a function says yes in the page. */
  async until(isSo) {
    const end = Date.now() + PATIENCE;
    while (!(await this.evaluate(isSo))) {
      if (Date.now() > end) throw new Error(`not in time: ${isSo}`);
      await sleep(POLL);
    }
  }

  /** Types into the field that a selector names. */
  async type(selector, text) {
    await this.evaluate((selector) => document.querySelector(selector).focus(), selector);
    await this.send("Input.insertText", { text });
  }

  /** Chooses a file, in the input that a function returns. */
  async choose(input, path) {
    const { objectId } = await this.#run(input, [], false);
    await this.send("DOM.setFileInputFiles", { files: [path], objectId });
  }
}
