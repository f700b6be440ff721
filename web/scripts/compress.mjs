// Leaves a compressed copy beside each file, for servers that send files as they are.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

/** Smaller files fit into one packet anyway. Bytes. */
const WORTH = 1_200;
const dist = fileURLToPath(new URL("../dist", import.meta.url));

for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath, entry.name);
  if (!entry.isFile() || !/\.(js|css|html|svg)$/.test(entry.name)) continue;
  const plain = readFileSync(path);
  if (plain.length >= WORTH) writeFileSync(`${path}.gz`, gzipSync(plain, { level: 9 }));
}
