import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream, mkdirSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import {
  allDone,
  arrived,
  clear,
  countChunks,
  credentials,
  menu,
  newPage,
  register,
  watchTasks,
} from "../harness.mjs";
import { sha256, unzip } from "../unzip.mjs";

const MEBIBYTES = 1_024;
const CHUNKS = MEBIBYTES / 8;
/** Milliseconds for the whole of it: programs of tests are not optimised. */
const LONG = 300_000;

async function hashOf(stream) {
  const hash = createHash("sha256");
  await pipeline(stream, hash);
  return hash.digest("hex");
}

export async function aGibibyteSurvivesAReloadAndTheServersDeath(stage) {
  const { browser, url, server, username, makeFile } = stage;
  const page = await newPage(browser);
  page.on("dialog", (dialog) => dialog.accept());
  await register(page, url, username);
  const path = makeFile("whole.bin", MEBIBYTES);
  const before = countChunks(page);
  await page.locator("[data-pick=files]").setInputFiles(path);
  await arrived(before, CHUNKS / 4);
  await page.reload();
  const sent = before.count;

  await page.getByRole("link", { name: "Show" }).click();
  const longest = await watchTasks(page);
  const after = countChunks(page);
  await page.locator("[data-pick=resume]").setInputFiles(path);
  if (server) {
    await arrived(after, CHUNKS / 4);
    await server.kill();
    await page.waitForTimeout(1_000);
    await server.start();
  }
  await allDone(page, LONG);
  const task = await longest();
  console.log(`      ${sent} of ${CHUNKS} chunks before the reload, ${after.count} after`);
  console.log(`      longest task of the page: ${task} ms`);
  // The requests that the reload and the server's death cut off are sent again: four each.
  assert.ok(after.count <= CHUNKS - sent + 8, "nothing that was acknowledged is sent again");

  const headers = await credentials(url, username);
  const answer = await fetch(`${url}/api/v1/content/whole.bin`, { headers });
  assert.equal(answer.status, 200);
  assert.equal(await hashOf(answer.body), await hashOf(createReadStream(path)));
  return page;
}

/** A folder with more than a thousand files below it; SHA-256 of each by its path. */
function makeTree(folder) {
  const hashes = {};
  for (let index = 0; index < 1_050; index++) {
    const parts = [`part ${index % 7}`, `${index % 31}`, "ünïcode 文件"].slice(0, index % 4);
    mkdirSync(join(folder, ...parts), { recursive: true });
    const content = `${index} `.repeat(index * 3);
    const path = [...parts, `file ${index}.txt`].join("/");
    writeFileSync(join(folder, path), content);
    hashes[`tree/${path}`] = sha256(content);
  }
  return hashes;
}

export async function aThousandFilesComeBackAsTheyWere(stage) {
  const { browser, url, username, files } = stage;
  const page = await newPage(browser);
  await register(page, url, username);
  const folder = join(files, "tree");
  const expected = makeTree(folder);
  await page.locator("[data-pick=folder]").setInputFiles(folder);
  await allDone(page, LONG);
  await clear(page);
  const coming = page.waitForEvent("download", { timeout: LONG });
  await menu(page, "tree", /^Download/);
  const download = await coming;
  assert.equal(await download.failure(), null);
  assert.equal(download.suggestedFilename(), "tree.zip");
  const found = unzip(await readFile(await download.path()));
  assert.equal(Object.keys(found).length, 1_050);
  assert.deepEqual(found, expected);
  return page;
}
