// How fast a page uploads one large file, and whether it stays responsive meanwhile, next to the command
// line client on the same server and to what this browser can do at all: the same chunks, sent by
// a script that neither hashes nor shows anything. The aims are 0.6 of the client, and no task over
// 100 ms. One after the other, each with the machine at rest.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { credentials, newPage, open, program, register, watchTasks } from "./harness.mjs";

const MEBIBYTES = Number(process.env.MEBIBYTES ?? 1_024);
const ROUNDS = Number(process.env.ROUNDS ?? 3);
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

async function fromPage(page, path) {
  // Asking the page again and again would cost time, and tell half a second late.
  await page.evaluate(() => {
    globalThis.uploaded = new Promise((resolve) => {
      const done = () => /uploaded$/.test(document.querySelector(".panel h2")?.innerText ?? "");
      const observer = new MutationObserver(() => {
        if (!done()) return;
        observer.disconnect();
        resolve();
      });
      observer.observe(document.body, { subtree: true, childList: true, characterData: true });
    });
  });
  await page.locator("[data-pick=files]").setInputFiles(path);
  await page.evaluate(() => globalThis.uploaded);
}

/** In the page, by a script. */
async function bare(page, path, headers) {
  const handle = await page.evaluateHandle(() =>
    Object.assign(document.createElement("input"), { type: "file" }),
  );
  await handle.asElement().setInputFiles(path);
  await page.evaluate(
    async ([input, headers]) => {
      const [file] = input.files;
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
    },
    [handle, headers],
  );
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

const stage = await open();
try {
  const { url } = stage;
  const page = await newPage(stage.browser);
  await register(page, url, "speed");
  const headers = await credentials(url, "speed");
  const token = headers.Authorization.replace("Bearer ", "");
  const env = { ...process.env, CLOUDSTORE_TOKEN: token, XDG_STATE_HOME: files };
  const client = (path) => {
    const args = ["--server", url, "--quiet", "upload", path, "--to", "/"];
    execFileSync(program, args, { env, stdio: ["ignore", "ignore", "inherit"] });
  };
  const speed = (name, time) =>
    `${name} ${(time / 1000).toFixed(1)} s (${Math.round((MEBIBYTES * 1000) / time)} MiB/s)`;
  for (let round = 0; round < ROUNDS; round++) {
    const path = makeFile("app");
    const longestTask = await watchTasks(page);
    const app = await timed(() => fromPage(page, path));
    const longest = await longestTask();
    await settle(url, "/app", headers);
    await page.getByRole("button", { name: "Clear finished" }).click();
    makeFile("bare");
    const script = await timed(() => bare(page, join(files, "bare"), headers));
    await settle(url, "/bare", headers);
    makeFile("cli");
    const cli = await timed(() => client(join(files, "cli")));
    await settle(url, "/cli", headers);
    console.log(
      `${speed("page", app)}, ${speed("script", script)}, ${speed("client", cli)};` +
        ` page/client ${(cli / app).toFixed(2)}, page/script ${(script / app).toFixed(2)},` +
        ` longest task ${longest} ms`,
    );
  }
} finally {
  await stage.close();
  rmSync(files, { recursive: true, force: true });
}
