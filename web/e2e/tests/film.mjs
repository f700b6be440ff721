import assert from "node:assert/strict";
import { makeFilm } from "../film.mjs";
import { clear, newPage, register, row } from "../harness.mjs";

const SECONDS = 60;

export async function aFilmIsSoughtWithoutFetchingAllOfIt({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const buffer = await makeFilm(page, SECONDS);
  await page
    .locator("[data-pick=files]")
    .setInputFiles([{ name: "film.webm", mimeType: "video/webm", buffer }]);
  await clear(page);
  const ranges = [];
  page.context().on("request", (request) => {
    const range = request.headers().range;
    if (range && /film\.webm/.test(request.url())) ranges.push(range);
  });
  await row(page, "film.webm").click();
  await page.waitForFunction(() => document.querySelector("video")?.readyState >= 2);
  const shown = await page.evaluate(async () => {
    const video = document.querySelector("video");
    const sought = new Promise((resolve) => video.addEventListener("seeked", resolve));
    video.currentTime = 50;
    await sought;
    return [video.duration, video.currentTime, video.videoWidth, video.error];
  });
  assert.ok(Math.abs(shown[0] - SECONDS) < 1, `it lasts ${shown[0]} s`);
  assert.deepEqual(shown.slice(1), [50, 640, null]);
  const starts = ranges.map((range) => Number(/bytes=(\d+)/.exec(range)?.[1]));
  console.log(`      ${buffer.length >> 20} MiB, ranges from ${starts.join(", ")}`);
  assert.ok(
    starts.some((start) => start > buffer.length / 2),
    "what is near the end is asked for by itself",
  );
  return page;
}
