// Fails the build when the first load grows beyond what a slow phone fetches without complaint.
// Counted is what index.html names and what those modules import statically; workers are loaded
// when the first file is dropped and do not count.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const BUDGET = 60 * 1024;
const dist = new URL("../dist/", import.meta.url).pathname;
const html = readFileSync(join(dist, "index.html"), "utf8");

if (/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=/i.test(html)) {
  console.error("index.html has inline code or style, which the Content-Security-Policy forbids");
  process.exit(1);
}

const seen = new Map();
function visit(path) {
  if (seen.has(path)) return;
  const text = readFileSync(join(dist, path));
  seen.set(path, gzipSync(text, { level: 9 }).length);
  if (!path.endsWith(".js")) return;
  for (const [, name] of text.toString().matchAll(/(?:from|import)\s*["']\.\/([^"']+\.js)["']/g)) {
    visit(`assets/${name}`);
  }
}
for (const [, path] of html.matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)) visit(path);

const total = [...seen.values()].reduce((sum, size) => sum + size, 0);
for (const [path, size] of seen) console.log(`${String(size).padStart(7)}  ${path}`);
console.log(`${String(total).padStart(7)}  first load, gzip (budget ${BUDGET})`);
if (total > BUDGET) {
  console.error("the first load is over its budget");
  process.exit(1);
}
