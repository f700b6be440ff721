import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeFilm } from "../film.mjs";
import { clear, newPage, register, row } from "../harness.mjs";

/** Browsers fetch 50 MB ahead if they come fast enough, so the film is longer than that. */
const SECONDS = 80;
/** Where it is sought to. */
const LATER = 70;

export async function aFilmIsSoughtWithoutFetchingAllOfIt({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const buffer = await makeFilm(page, SECONDS);
  const folder = mkdtempSync(join(tmpdir(), "cloudstore-film-"));
  const path = join(folder, "film.webm");
  writeFileSync(path, buffer);
  await page.locator("[data-pick=files]").setInputFiles(path);
  await clear(page);
  rmSync(folder, { recursive: true });
  const ranges = [];
  page.context().on("request", (request) => {
    const range = request.headers().range;
    if (range && /film\.webm/.test(request.url())) ranges.push(range);
  });
  await row(page, "film.webm").click();
  await page.waitForFunction(() => document.querySelector("video")?.readyState >= 2);
  const shown = await page.evaluate(async (later) => {
    const video = document.querySelector("video");
    const sought = new Promise((resolve) => video.addEventListener("seeked", resolve));
    video.currentTime = later;
    await sought;
    return [video.duration, video.currentTime, video.videoWidth, video.error];
  }, LATER);
  assert.ok(Math.abs(shown[0] - SECONDS) < 1, `it lasts ${shown[0]} s`);
  assert.deepEqual(shown.slice(1), [LATER, 1_280, null]);
  const starts = ranges.map((range) => Number(/bytes=(\d+)/.exec(range)?.[1]));
  console.log(`      ${buffer.length >> 20} MiB, ranges from ${starts.join(", ")}`);
  assert.ok(
    starts.some((start) => start > buffer.length / 2),
    "what is near the end is asked for by itself",
  );
  return page;
}
