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

export interface CreateShare {
  path: string;
  /** Seconds; for ever when absent. */
  expires_in?: number;
  password?: string;
  /** Any number when absent. */
  max_downloads?: number;
  /** Others add files to the folder instead of seeing it. */
  uploads?: true;
}

/** A link, as its owner sees it: never with its token. */
export interface Share {
  id: string;
  path: string;
  kind: "file" | "folder";
  created_at: string;
  expires_at?: string;
  max_downloads?: number;
  downloads: number;
  has_password: boolean;
  /** Others add files; servers that do not know of such links leave it out. */
  uploads?: boolean;
}

/** With the secret, which no other answer has. */
export type CreatedShare = Share & { token: string; url: string };

/** A file or folder as those see it who have a link. */
export interface SharedEntry {
  kind: "file" | "folder";
  name: string;
  /** Below what is shared, which itself is `/`. */
  path: string;
  size?: number;
  media_type?: string;
  modified_at: string;
}

/** What a link shows. Before it is unlocked nothing but when it ends. */
export interface PublicShare {
  needs_password: boolean;
  expires_at?: string;
  /** Any number when absent. */
  downloads_left?: number;
  uploads?: boolean;
  entry?: SharedEntry;
  /** Of a folder that is shown. */
  entries?: SharedEntry[];
  next_cursor?: string;
}
