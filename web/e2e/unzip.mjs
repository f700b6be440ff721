// Takes zip archives apart: enough of the format to compare what is inside, by hash.
import { createHash } from "node:crypto";
import { crc32, inflateRawSync } from "node:zlib";

const END = 0x06054b50;
const CENTRAL = 0x02014b50;
const STORED = 0;

/** SHA-256 of each file, by name; folders are left out. Says so when anything is not as it should be. */
export function unzip(bytes) {
  const end = bytes.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  if (end < 0 || bytes.readUInt32LE(end) !== END) throw new Error("the archive has no end");
  const count = bytes.readUInt16LE(end + 10);
  const files = {};
  let at = bytes.readUInt32LE(end + 16);
  for (let entry = 0; entry < count; entry++) {
    if (bytes.readUInt32LE(at) !== CENTRAL) throw new Error(`entry ${entry} is none`);
    const [method, crc] = [bytes.readUInt16LE(at + 10), bytes.readUInt32LE(at + 16)];
    const [packed, size] = [bytes.readUInt32LE(at + 20), bytes.readUInt32LE(at + 24)];
    const nameLength = bytes.readUInt16LE(at + 28);
    const rest = bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
    const name = bytes.toString("utf8", at + 46, at + 46 + nameLength);
    // The local header has lengths of its own.
    const local = bytes.readUInt32LE(at + 42);
    const from = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    const raw = bytes.subarray(from, from + packed);
    const content = method === STORED ? raw : inflateRawSync(raw);
    if (content.length !== size) throw new Error(`${name} has another size`);
    if (crc32 && crc32(content) !== crc) throw new Error(`${name} has another checksum`);
    if (name in files) throw new Error(`${name} is there twice`);
    if (!name.endsWith("/")) files[name] = sha256(content);
    at += 46 + nameLength + rest;
  }
  return files;
}

export function sha256(content) {
  return createHash("sha256").update(content).digest("hex");
}
