/**
 * What this client has written and seen, as the server names it (`Cloudstore-Position`). Sent with
 * every request, it makes each answer at least as new, whichever replica it comes from. The text is
 * the server's business; all that is known of it is that its numbers grow.
 */
const HEADER = "Cloudstore-Position";
const VALID = /^[A-Za-z0-9:,._-]{1,128}$/;

export class Position {
  private known = "";

  tell(set: (name: string, value: string) => void): void {
    if (this.known) set(HEADER, this.known);
  }

  /** Answers of concurrent requests come in any order. */
  learn(headers: { get(name: string): string | null }): void {
    const fresh = headers.get(HEADER);
    if (fresh && VALID.test(fresh) && !isCovered(fresh, this.known)) this.known = fresh;
  }
}

/** Is `first` certainly not newer than `second`? */
export function isCovered(first: string, second: string): boolean {
  const [a, b] = [pieces(first), pieces(second)];
  return a.length === b.length && a.every((piece, index) => notNewer(piece, b[index] ?? ""));
}

function pieces(text: string): string[] {
  return text.match(/\d+|\D+/g) ?? [];
}

function notNewer(a: string, b: string): boolean {
  if (!/^\d/.test(a) || !/^\d/.test(b)) return a === b;
  return BigInt(a) <= BigInt(b);
}
