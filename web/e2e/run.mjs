// Drives a real browser through the app. `npm run e2e -- resume` runs what has "resume" in its name.
import { randomBytes } from "node:crypto";
import { closeSync, createReadStream, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, open } from "./harness.mjs";
import * as account from "./tests/account.mjs";
import * as archive from "./tests/archive.mjs";
import * as copy from "./tests/copy.mjs";
import * as drive from "./tests/drive.mjs";
import * as film from "./tests/film.mjs";
import * as large from "./tests/large.mjs";
import * as looks from "./tests/looks.mjs";
import * as search from "./tests/search.mjs";
import * as shares from "./tests/shares.mjs";
import * as trash from "./tests/trash.mjs";
import * as uploads from "./tests/uploads.mjs";

/** Milliseconds a test may take: one that waits for ever must not hold up the others. */
const LIMIT = 900_000;

const wanted = process.argv.slice(2);
const suites = {
  account,
  drive,
  trash,
  copy,
  archive,
  search,
  film,
  looks,
  shares,
  uploads,
  large,
};
const files = mkdtempSync(join(tmpdir(), "cloudstore-e2e-files-"));

/** A file on disk with content that nobody else has. */
function makeFile(name, mebibytes) {
  const path = join(files, name);
  const block = randomBytes(1 << 20);
  const file = openSync(path, "w");
  for (let index = 0; index < mebibytes; index++) {
    block.writeUInt32LE(index);
    writeSync(file, block);
  }
  closeSync(file);
  return path;
}

async function limit() {
  await sleep(LIMIT, undefined, { ref: false });
  throw new Error(`not over after ${LIMIT / 60_000} minutes`);
}

const stage = await open();
let failed = 0;
let count = 0;
try {
  for (const [suite, tests] of Object.entries(suites)) {
    for (const [name, test] of Object.entries(tests)) {
      const title = `${suite}: ${name.replaceAll(/([A-Z])/g, " $1").toLowerCase()}`;
      if (wanted.length > 0 && !wanted.some((word) => title.includes(word))) continue;
      const started = Date.now();
      count += 1;
      try {
        const username = `user${count}-${Date.now() % 1e6}`;
        const run = test({ ...stage, username, makeFile, files, read: createReadStream });
        const page = await Promise.race([run, limit()]);
        const faults = page?.faults ?? [];
        if (faults.length > 0) throw new Error(`the page reported: ${faults.join("; ")}`);
        console.log(`ok    ${title} (${Date.now() - started} ms)`);
      } catch (error) {
        failed += 1;
        console.log(`FAIL  ${title}\n${error.stack}\n${await describe(stage.browser)}`);
      } finally {
        for (const context of stage.browser.contexts()) await context.close();
      }
    }
  }
} finally {
  await stage.close();
  rmSync(files, { recursive: true, force: true });
}
console.log(`${count - failed} passed, ${failed} failed`);
process.exit(failed > 0 || count === 0 ? 1 : 0);
