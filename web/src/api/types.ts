/** JSON bodies of the HTTP API, as `proto/src/http.rs` has them. Sizes are bytes. */

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail?: string;
  request_id?: string;
  /** `invalid-fields`: a message for each field. */
  errors?: Record<string, string>;
  /** `incomplete`: runs of chunks. */
  missing?: Run[];
}

/** First and last index of a run of chunks. */
export type Run = [first: number, last: number];

export interface Tokens {
  access_token: string;
  expires_in: number;
  refresh_token: string;
}

export interface Account {
  id: string;
  username: string;
  email: string;
  display_name: string;
  quota_bytes: number;
  used_bytes: number;
  reserved_bytes: number;
  created_at: string;
}

/** A login that has not ended. */
export interface Login {
  id: string;
  /** `User-Agent`; may be empty. */
  client: string;
  created_at: string;
  last_used_at: string;
  expires_at: string;
  /** It is the one that asks. */
  current: boolean;
}

export type Scope = "full" | "upload" | "read";

export interface ApiToken {
  id: string;
  name: string;
  scope: Scope;
  created_at: string;
  expires_at: string;
}

export type OnConflict = "fail" | "replace" | "rename";

export interface CreateUpload {
  path: string;
  size: number;
  digests?: { blake3: string };
  mtime?: string;
  on_conflict: OnConflict;
}

export interface Upload {
  id: string;
  path: string;
  size: number;
  length_unknown?: boolean;
  chunk_size: number;
  chunk_count: number;
  received: number;
  missing: Run[];
  unreachable?: boolean;
  expires_at: string;
}

export interface Challenge {
  /** 64 hexadecimal digits: the key. */
  nonce: string;
  windows: [offset: number, length: number][];
  expires_at: string;
}

export type Created =
  | { status: "instant"; file: FileEntry }
  | ({ status: "uploading" } & Upload)
  | ({ status: "challenge"; challenge: Challenge } & Upload)
  | { status: "direct" }
  | { status: "problem"; problem: Problem };

export type UploadState =
  | ({ status: "uploading" } & Upload)
  | { status: "completed"; file: FileEntry };

export interface FileEntry {
  kind?: "file";
  id: string;
  path: string;
  size: number;
  blake3: string;
  sha256?: string;
  sha1?: string;
  media_type: string;
  created_at: string;
  modified_at: string;
  state: "staged" | "stored";
  instant: boolean;
}

export interface FolderEntry {
  kind: "folder";
  id: string;
  path: string;
  created_at: string;
  modified_at: string;
}

export type Entry = (FileEntry & { kind: "file" }) | FolderEntry;

export type Listing = Entry & { entries?: Entry[]; next_cursor?: string };

export type SortKey = "name" | "size" | "modified";

export type Change =
  | { op: "create_folder"; path: string; parents?: boolean }
  | { op: "move"; from: string; to: string }
  | { op: "delete"; path: string };

/** Something that was deleted and can be restored. */
export interface Trashed {
  /** That of the entry. */
  id: string;
  name: string;
  /** Where it was. */
  path: string;
  kind: "file" | "folder";
  /** 0 for a folder. */
  size: number;
  deleted_at: string;
  /** When it goes for good. */
  expires_at: string;
}

export interface Restore {
  /** Where it was when absent. */
  path?: string;
  on_conflict?: "fail" | "rename";
}
