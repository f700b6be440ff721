import type { Run } from "../api/types";

/** Part of a file. */
export interface Chunk {
  index: number;
  offset: number;
  length: number;
}

/** What the server said of an upload makes no sense. */
export class BadRuns extends Error {}

/** The chunks of an upload that still have to be sent, in order, one at a time. */
export function* chunksOf(missing: Run[], size: number, chunkSize: number): Generator<Chunk> {
  checkRuns(missing, size, chunkSize);
  for (const [first, last] of missing) {
    for (let index = first; index <= last; index++) {
      const offset = index * chunkSize;
      yield { index, offset, length: Math.min(chunkSize, size - offset) };
    }
  }
}

/** Bytes of the chunks that still have to be sent. */
export function missingBytes(missing: Run[], size: number, chunkSize: number): number {
  checkRuns(missing, size, chunkSize);
  let bytes = 0;
  for (const [first, last] of missing) {
    bytes += Math.min((last + 1) * chunkSize, size) - first * chunkSize;
  }
  return bytes;
}

function checkRuns(missing: Run[], size: number, chunkSize: number): void {
  const count = chunkSize > 0 ? Math.ceil(size / chunkSize) : 0;
  for (const [first, last] of missing) {
    const whole = Number.isSafeInteger(first) && Number.isSafeInteger(last);
    if (!whole || first < 0 || first > last || last >= count) {
      throw new BadRuns(`the server asks for chunks ${first} to ${last} of ${count}`);
    }
  }
}
