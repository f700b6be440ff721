import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { allDone, clear, drop, menu, newPage, register } from "../harness.mjs";
import { sha256, unzip } from "../unzip.mjs";

const TREE = {
  "季度报告.txt": "quarter",
  deep: { "two.txt": "2".repeat(100_000), deeper: { "three.txt": "" } },
  "one.txt": "1",
};

/** SHA-256 of every file of a dropped tree, by its path. */
function hashes(tree, below = "") {
  return Object.entries(tree).reduce(
    (all, [name, node]) =>
      typeof node === "string"
        ? Object.assign(all, { [below + name]: sha256(node) })
        : Object.assign(all, hashes(node, `${below}${name}/`)),
    {},
  );
}

async function archiveOf(page, click) {
  const coming = page.waitForEvent("download");
  await click();
  const download = await coming;
  assert.equal(await download.failure(), null);
  return {
    name: download.suggestedFilename(),
    files: unzip(await readFile(await download.path())),
  };
}

export async function aFolderIsOneArchive({ browser, url, username, makeFile }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await drop(page, { Album: TREE });
  await clear(page);
  await page.getByRole("link", { name: "Album" }).click();
  const large = makeFile("large.bin", 20);
  await page.locator("[data-pick=files]").setInputFiles(large);
  await allDone(page);
  await page.goBack();
  const { name, files } = await archiveOf(page, () => menu(page, "Album", "Download"));
  assert.equal(name, "Album.zip");
  const expected = hashes({ Album: TREE });
  expected["Album/large.bin"] = sha256(await readFile(large));
  assert.deepEqual(files, expected);
  return page;
}

export async function aSelectionIsOneArchive({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await drop(page, { ...TREE, "left out.txt": "x" });
  await clear(page);
  for (const name of [/one\.txt/, /deep/]) await page.getByRole("checkbox", { name }).check();
  const { name, files } = await archiveOf(page, () =>
    page.getByRole("toolbar").getByRole("button", { name: "Download" }).click(),
  );
  assert.equal(name, "files.zip");
  const { "one.txt": one, deep } = TREE;
  assert.deepEqual(files, hashes({ "one.txt": one, deep }));
  return page;
}

export async function whereNothingStreamsArchivesPassThroughMemory({ browser, url, username }) {
  const page = await newPage(browser, { serviceWorkers: "block" });
  await register(page, url, username);
  await drop(page, { Album: TREE });
  await clear(page);
  const { name, files } = await archiveOf(page, () => menu(page, "Album", "Download"));
  assert.equal(name, "Album.zip");
  assert.deepEqual(files, hashes({ Album: TREE }));
  return page;
}
