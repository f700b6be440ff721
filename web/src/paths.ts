/** Paths inside an account: the rules of `proto/src/path.rs`, as far as a client needs them. */

/** Bytes of one name. */
const MAX_NAME_BYTES = 255;
/** Names in the path of a new entry. */
const MAX_DEPTH = 64;
const encoder = new TextEncoder();

export type NameFault = "empty" | "relative" | "slash" | "control" | "long";

/** Why an entry cannot have this name. */
export function nameFault(name: string): NameFault | undefined {
  if (name === "") return "empty";
  if (name === "." || name === "..") return "relative";
  if (name.includes("/")) return "slash";
  if (/\p{Cc}/u.test(name)) return "control";
  if (encoder.encode(name.normalize("NFC")).length > MAX_NAME_BYTES) return "long";
  return undefined;
}

/** The names of a path, from the root down. */
export function segments(path: string): string[] {
  return path.split("/").filter((name) => name !== "");
}

/** Can an entry be created here? */
export function isTooDeep(path: string): boolean {
  return segments(path).length > MAX_DEPTH;
}

/** The last name; empty for the root. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** The folder that holds it; `/` for the root itself. */
export function parentOf(path: string): string {
  const at = path.lastIndexOf("/");
  return at <= 0 ? "/" : path.slice(0, at);
}

export function join(folder: string, name: string): string {
  return folder === "/" ? `/${name}` : `${folder}/${name}`;
}

/** Is `path` below `folder`, at any depth? */
export function isBelow(path: string, folder: string): boolean {
  return path !== folder && path.startsWith(folder === "/" ? "/" : `${folder}/`);
}

/** Of paths those that are not below another one of them: what happens to that happens to them. */
export function outermost(paths: string[]): string[] {
  const all = new Set(paths);
  const covered = (path: string) => {
    for (let at = path; at !== "/"; ) {
      at = parentOf(at);
      if (all.has(at)) return true;
    }
    return false;
  };
  return paths.filter((path) => !covered(path));
}

/** For an address: every name encoded, so that nothing in it is taken for syntax. */
export function encodePath(path: string): string {
  return segments(path)
    .map((name) => `/${encodeURIComponent(name)}`)
    .join("");
}

/** The path in an address; `undefined` when it is not encoded as ours are. */
export function decodePath(encoded: string): string | undefined {
  try {
    return `/${segments(encoded).map(decodeURIComponent).join("/")}`;
  } catch {
    return undefined;
  }
}
