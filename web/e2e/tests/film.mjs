import assert from "node:assert/strict";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeFilm } from "../film.mjs";
import { clear, newPage, register, row } from "../harness.mjs";

/** Seconds of the film, and where it is sought to. */
const SECONDS = 20;
const LATER = 15;

export async function aFilmIsSought({ browser, url, username, files }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const path = join(files, "film.webm");
  writeFileSync(path, await makeFilm(page, SECONDS));
  await page.locator("[data-pick=files]").setInputFiles(path);
  await clear(page);
  await row(page, "film.webm").click();
  const shown = await seek(page, "video", LATER);
  assert.ok(Math.abs(shown.duration - SECONDS) < 1, `it lasts ${shown.duration} s`);
  assert.deepEqual([shown.at, shown.width, shown.error], [LATER, 1_280, null]);
  return page;
}

/** PCM: two channels of 16 bits, 48,000 times a second. */
const BYTES_A_SECOND = 192_000;
/** Browsers fetch some 50 MB ahead, and more if they come fast: this is far more than that. */
const SOUND_SECONDS = 3_000;
const HEADER = 44;

function waveHeader(bytes) {
  const header = Buffer.alloc(HEADER);
  header.write("RIFF", 0);
  header.writeUInt32LE(bytes + HEADER - 8, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(2, 22);
  header.writeUInt32LE(48_000, 24);
  header.writeUInt32LE(BYTES_A_SECOND, 28);
  header.writeUInt16LE(4, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(bytes, 40);
  return header;
}

export async function soundIsSoughtWithoutFetchingAllOfIt({ browser, url, username, files }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const path = join(files, "sound.wav");
  const bytes = SOUND_SECONDS * BYTES_A_SECOND;
  writeFileSync(path, waveHeader(bytes));
  truncateSync(path, HEADER + bytes);
  await page.locator("[data-pick=files]").setInputFiles(path);
  await clear(page);
  const ranges = [];
  page.context().on("request", (request) => {
    const range = request.headers().range;
    if (range) ranges.push(range);
  });
  await row(page, "sound.wav").click();
  const later = SOUND_SECONDS - 100;
  const shown = await seek(page, "audio", later);
  assert.ok(Math.abs(shown.duration - SOUND_SECONDS) < 1, `it lasts ${shown.duration} s`);
  assert.deepEqual([shown.at, shown.error], [later, null]);
  const starts = ranges.map((range) => Number(/bytes=(\d+)/.exec(range)?.[1]));
  console.log(`      ${bytes >> 20} MiB, ranges from ${starts.join(", ")}`);
  assert.ok(
    starts.some((start) => start > bytes * 0.9),
    "what is near the end is asked for by itself",
  );
  return page;
}

/** Seeks in the preview. */
async function seek(page, element, later) {
  await page.waitForFunction((name) => document.querySelector(name)?.readyState >= 2, element);
  return page.evaluate(
    async ([name, later]) => {
      const media = document.querySelector(name);
      const sought = new Promise((resolve) => media.addEventListener("seeked", resolve));
      media.currentTime = later;
      await sought;
      const { duration, currentTime: at, videoWidth: width, error } = media;
      return { duration, at, width, error };
    },
    [element, later],
  );
}
