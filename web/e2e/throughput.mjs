// How fast a page uploads one large file, and whether it stays responsive meanwhile, next to the command
// line client on the same server and to what this browser can do at all: the same chunks, sent by
// a script that neither hashes nor shows anything. One after the other, each with the machine at rest.
//
//   ROUNDS     how often (7)
//   MEBIBYTES  size of the file (1024)
//
// The results are written to bench/RESULTS-web.md, unless the size or the server is another one.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Browser } from "./devtools.mjs";
import { credentials, PASSWORD, program, serve, watchTasks } from "./harness.mjs";

const MEBIBYTES = Number(process.env.MEBIBYTES ?? 1_024);
const ROUNDS = Number(process.env.ROUNDS ?? 7);
/** What is aimed at: the client's throughput times this, and no longer task than this, in ms. */
const AIM = 0.6;
const LONGEST_TASK = 100;
/** Where what was measured is kept. */
const RESULTS = new URL("../../bench/RESULTS-web.md", import.meta.url);
/** How often the server is asked whether a file is in durable storage. Milliseconds. */
const POLL = 200;
const files = mkdtempSync(join(tmpdir(), "cloudstore-throughput-"));

function makeFile(name) {
  const path = join(files, name);
  const block = randomBytes(1 << 20);
  const file = openSync(path, "w");
  for (let index = 0; index < MEBIBYTES; index++) {
    block.writeUInt32LE(index);
    writeSync(file, block);
  }
  closeSync(file);
  // What the disk still writes would slow down whoever comes first.
  execFileSync("sync");
  return path;
}

/** Milliseconds that work takes. */
async function timed(work) {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Makes an account as people do. */
async function register(page, username) {
  await page.until(() => document.querySelector("input[type=password]") !== null);
  await page.type("input[autocomplete=username]", username);
  await page.type("input[type=password]", PASSWORD);
  await page.evaluate(() => document.querySelector("form button[type=submit]").click());
  await page.until(() => document.querySelector("[data-pick=files]") !== null);
}

/** Uploads through the page. */
async function fromPage(page, path) {
  await page.evaluate(() => {
    // Looking again and again would cost time, and tell late.
    globalThis.uploaded = new Promise((resolve) => {
      const isDone = () => /uploaded$/.test(document.querySelector(".panel h2")?.textContent ?? "");
      const observer = new MutationObserver(() => {
        if (!isDone()) return;
        observer.disconnect();
        resolve();
      });
      observer.observe(document.body, { subtree: true, childList: true, characterData: true });
    });
  });
  await page.choose(() => document.querySelector("[data-pick=files]"), path);
  await page.evaluate(() => globalThis.uploaded);
}

async function clear(page) {
  await page.evaluate(() => {
    const buttons = [...document.querySelectorAll(".panel button")];
    buttons.find((button) => button.textContent === "Clear finished").click();
  });
}

/** In the page, by a script. */
async function bare(page, path, headers) {
  const made = () => {
    globalThis.bare = Object.assign(document.createElement("input"), { type: "file" });
    return globalThis.bare;
  };
  await page.choose(made, path);
  await page.evaluate(async (headers) => {
    const [file] = globalThis.bare.files;
    const root = "/api/v1/uploads";
    const body = JSON.stringify({ path: "/bare", size: file.size });
    const created = await fetch(root, { method: "POST", headers, body });
    const { id, chunk_size: size } = await created.json();
    const put = (index) =>
      new Promise((resolve, reject) => {
        const request = new XMLHttpRequest();
        request.onload = () => (request.status < 300 ? resolve() : reject(request.status));
        request.onerror = reject;
        request.open("PUT", `${root}/${id}/chunks/${index}`);
        request.setRequestHeader("Authorization", headers.Authorization);
        request.send(file.slice(index * size, (index + 1) * size));
      });
    let next = 0;
    const lane = async () => {
      while (next * size < file.size) await put(next++);
    };
    await Promise.all(Array.from({ length: 4 }, lane));
    const ended = await fetch(`${root}/${id}/complete`, { method: "POST", headers });
    if (!ended.ok) throw new Error(await ended.text());
  }, headers);
}

/** Lets the server move the file to durable storage, and then removes it. */
async function settle(url, path, headers) {
  const address = `${url}/api/v1/files${path}`;
  for (;;) {
    const answer = await fetch(address, { headers });
    if ((await answer.json()).state !== "staged") break;
    await sleep(POLL);
  }
  await fetch(`${address}?permanent=true`, { method: "DELETE", headers });
}

/** One upload of each, in a line of a table. */
function rowOf({ page, script, client, longest }) {
  const speed = (time) => `${Math.round((MEBIBYTES * 1_000) / time)} MiB/s`;
  const cells = [speed(page), speed(client), speed(script)];
  const ratios = [client / page, script / page].map((ratio) => ratio.toFixed(2));
  return `| ${[...cells, ...ratios, `${longest} ms`].join(" | ")} |`;
}

const median = (values) => values.sort((one, other) => one - other)[values.length >> 1];

/** The whole table, and whether the aims were reached in the middle of all rounds. */
function report(rounds) {
  const ratio = median(rounds.map(({ page, client }) => client / page));
  const longest = Math.max(...rounds.map((round) => round.longest));
  const verdict = (held) => (held ? "held" : "NOT held");
  const text = [
    "# An upload in the browser",
    "",
    "Written by `make bench`; do not edit. A file of 1 GiB that the server does not know, uploaded by a page in",
    "Chromium, by `cloudstore upload`, and by a script in the same page that sends the same chunks without hashing or",
    "showing anything; a round each, with browser, server and client on the same machine. An upload ends when the page",
    "shows its end, or the client does: then the file is on disk, with its hash compared. The client gets faster once",
    "about as much has been written as the machine has memory: the server's first writes into memory are slow, presumably",
    "because the host of the virtual machine has yet to provide it. The page is bound by the browser in all rounds.",
    "",
    "| page | client | script | page / client | page / script | longest task of the page |",
    "|---|---|---|---|---|---|",
    ...rounds.map(rowOf),
    "",
    `- page / client: ${ratio.toFixed(2)} in the middle, at least ${AIM} is aimed at: ${verdict(ratio >= AIM)}`,
    `- longest task: ${longest} ms, at most ${LONGEST_TASK} ms are aimed at: ${verdict(longest <= LONGEST_TASK)}`,
    `- machine: ${cpus().length} processors, ${cpus()[0].model}`,
    "",
  ].join("\n");
  console.log(text);
  if (MEBIBYTES === 1_024 && !process.env.CLOUDSTORE_E2E_URL) writeFileSync(RESULTS, text);
}

const { url, close } = await serve();
const browser = await Browser.launch();
try {
  const page = await browser.newPage(`${url}/register`);
  const username = `speed-${Date.now()}`;
  await register(page, username);
  const headers = await credentials(url, username);
  const token = headers.Authorization.replace("Bearer ", "");
  const env = { ...process.env, CLOUDSTORE_TOKEN: token, XDG_STATE_HOME: files };
  const client = (path) => {
    const args = ["--server", url, "--quiet", "upload", path, "--to", "/"];
    execFileSync(program, args, { env, stdio: ["ignore", "ignore", "inherit"] });
  };
  const rounds = [];
  for (let round = 0; round < ROUNDS; round++) {
    const path = makeFile("app");
    const longestTask = await watchTasks(page);
    const app = await timed(() => fromPage(page, path));
    const longest = await longestTask();
    await settle(url, "/app", headers);
    await clear(page);
    makeFile("bare");
    const script = await timed(() => bare(page, join(files, "bare"), headers));
    await settle(url, "/bare", headers);
    makeFile("cli");
    const cli = await timed(() => client(join(files, "cli")));
    await settle(url, "/cli", headers);
    rounds.push({ page: app, script, client: cli, longest });
    console.log(rowOf(rounds.at(-1)));
  }
  report(rounds);
} finally {
  await browser.close();
  await close();
  rmSync(files, { recursive: true, force: true });
}
