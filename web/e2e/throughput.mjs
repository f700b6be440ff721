// How fast a page uploads one large file, next to the command line client on the same server, and
// whether the page stays responsive meanwhile. The aims are a ratio of 0.6 and no task over 100 ms.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { allDone, newPage, open, program, register, watchTasks } from "./harness.mjs";

const MEBIBYTES = Number(process.env.MEBIBYTES ?? 1_024);
const ROUNDS = Number(process.env.ROUNDS ?? 3);
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
  return path;
}

async function fromPage(page, path) {
  const longestTask = await watchTasks(page);
  const started = performance.now();
  let sending = 0;
  page.once("request", () => {
    sending = performance.now();
  });
  await page.locator("[data-pick=files]").setInputFiles(path);
  await allDone(page, 600_000);
  const ended = performance.now();
  const longest = await longestTask();
  await page.getByRole("button", { name: "Clear finished" }).click();
  return { seconds: (ended - started) / 1000, hashing: (sending - started) / 1000, longest };
}

function fromClient(url, path, env) {
  const started = performance.now();
  const args = ["--server", url, "--quiet", "upload", path, "--to", "/cli"];
  execFileSync(program, args, { env, stdio: ["ignore", "ignore", "inherit"] });
  return (performance.now() - started) / 1000;
}

const stage = await open();
try {
  const page = await newPage(stage.browser);
  await register(page, stage.url, "speed");
  const body = JSON.stringify({ username: "speed", password: "correct horse battery" });
  const headers = { "Content-Type": "application/json" };
  const signed = await fetch(`${stage.url}/api/v1/sessions`, { method: "POST", headers, body });
  const { access_token } = await signed.json();
  const env = { ...process.env, CLOUDSTORE_TOKEN: access_token, XDG_STATE_HOME: files };
  for (let round = 0; round < ROUNDS; round++) {
    const web = await fromPage(page, makeFile(`web${round}`));
    const client = fromClient(stage.url, makeFile(`client${round}`), env);
    const speed = (seconds) => `${Math.round(MEBIBYTES / seconds)} MiB/s`;
    console.log(
      `page ${web.seconds.toFixed(1)} s (${speed(web.seconds)}; ${web.hashing.toFixed(1)} s of it` +
        ` hashing), client ${client.toFixed(1)} s (${speed(client)}), ratio` +
        ` ${(client / web.seconds).toFixed(2)}, longest task ${web.longest} ms`,
    );
    for (const name of [`web${round}`, `client${round}`]) rmSync(join(files, name));
  }
} finally {
  await stage.close();
  rmSync(files, { recursive: true, force: true });
}
