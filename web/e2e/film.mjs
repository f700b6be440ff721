// Makes a film that a browser plays, with an index for seeking.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const bundle = join(
  fileURLToPath(new URL("..", import.meta.url)),
  "node_modules/mediabunny/dist/bundles/mediabunny.min.cjs",
);

/** WebM of so many seconds, a picture a second, of noise so that it is large: 0.9 MiB each. */
export async function makeFilm(page, seconds) {
  const code = readFileSync(bundle, "utf8");
  // Through the debugger, which the Content-Security-Policy does not bind.
  await page.evaluate(
    `globalThis.media = (() => { const module = { exports: {} }, exports = module.exports; ${code}; return module.exports; })(); undefined`,
  );
  const base64 = await page.evaluate(async (seconds) => {
    const { BufferTarget, CanvasSource, Output, WebMOutputFormat } = globalThis.media;
    const canvas = new OffscreenCanvas(1_280, 720);
    const context = canvas.getContext("2d");
    const picture = context.createImageData(canvas.width, canvas.height);
    const output = new Output({ format: new WebMOutputFormat(), target: new BufferTarget() });
    const source = new CanvasSource(canvas, {
      codec: "vp8",
      bitrate: 20_000_000,
      keyFrameInterval: 1,
    });
    output.addVideoTrack(source, { frameRate: 1 });
    await output.start();
    for (let frame = 0; frame < seconds; frame++) {
      for (let at = 0; at < picture.data.length; at += 65_536) {
        crypto.getRandomValues(
          picture.data.subarray(at, Math.min(at + 65_536, picture.data.length)),
        );
      }
      context.putImageData(picture, 0, 0);
      await source.add(frame, 1);
    }
    await output.finalize();
    const reader = new FileReader();
    const read = new Promise((resolve) => reader.addEventListener("load", resolve));
    reader.readAsDataURL(new Blob([output.target.buffer]));
    await read;
    return reader.result.slice(reader.result.indexOf(",") + 1);
  }, seconds);
  return Buffer.from(base64, "base64");
}
