-- Portable where it can be: ids are 16 bytes, digests 32 (SHA-1: 20), times are integer Unix
-- milliseconds, numbers are signed. Enumerations hold the numbers of the .proto files.

CREATE TABLE accounts (
    id             BLOB    NOT NULL PRIMARY KEY,
    username       TEXT    NOT NULL,
    -- The username without regard to case.
    username_key   TEXT    NOT NULL UNIQUE,
    password_hash  TEXT    NOT NULL,
    email          TEXT    NOT NULL,
    display_name   TEXT    NOT NULL,
    quota_bytes    INTEGER NOT NULL CHECK (quota_bytes >= 0),
    used_bytes     INTEGER NOT NULL DEFAULT 0 CHECK (used_bytes >= 0),
    reserved_bytes INTEGER NOT NULL DEFAULT 0 CHECK (reserved_bytes >= 0),
    created_at     INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE sessions (
    id         BLOB    NOT NULL PRIMARY KEY,
    account    BLOB    NOT NULL REFERENCES accounts (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) WITHOUT ROWID;
CREATE INDEX sessions_account ON sessions (account);
CREATE INDEX sessions_expiry ON sessions (expires_at);
CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- A token that was exchanged stays until it would have expired, so that its reuse is recognised.
CREATE TABLE refresh_tokens (
    hash        BLOB    NOT NULL PRIMARY KEY,
    session     BLOB    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at  INTEGER NOT NULL,
    -- Hash of the token it was exchanged for.
    replaced_by BLOB
) WITHOUT ROWID;
CREATE INDEX refresh_tokens_session ON refresh_tokens (session, expires_at);

CREATE TABLE signing_keys (
    kid        TEXT    NOT NULL PRIMARY KEY,
    public_key BLOB    NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Content, by its BLAKE3 root.
CREATE TABLE blobs (
    blake3      BLOB    NOT NULL PRIMARY KEY CHECK (length(blake3) = 32),
    size        INTEGER NOT NULL CHECK (size >= 0),
    sha256      BLOB,
    sha1        BLOB,
    -- Rows of entries that refer to it, deleted ones that are not purged yet included.
    refcount    INTEGER NOT NULL CHECK (refcount >= 0),
    state       INTEGER NOT NULL,
    -- The staged copy; '' and NULL once it is removed.
    node        TEXT    NOT NULL,
    staging_id  BLOB,
    created_at  INTEGER NOT NULL,
    stored_at   INTEGER,
    -- Since when nothing refers to it.
    zero_since  INTEGER,
    -- Of the claim for removal.
    fence       INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER NOT NULL DEFAULT 0,
    CHECK ((refcount = 0) = (zero_since IS NOT NULL))
) WITHOUT ROWID;
CREATE INDEX blobs_sha256 ON blobs (sha256, size) WHERE sha256 IS NOT NULL;
CREATE INDEX blobs_sha1 ON blobs (sha1, size) WHERE sha1 IS NOT NULL;
CREATE INDEX blobs_staging ON blobs (staging_id) WHERE staging_id IS NOT NULL;
CREATE INDEX blobs_garbage ON blobs (zero_since) WHERE zero_since IS NOT NULL;
CREATE INDEX blobs_staged_copies ON blobs (stored_at)
    WHERE stored_at IS NOT NULL AND staging_id IS NOT NULL;

-- Files and folders. The root folder of an account has the account's id, no parent and no name.
CREATE TABLE entries (
    id          BLOB    NOT NULL PRIMARY KEY,
    owner       BLOB    NOT NULL REFERENCES accounts (id),
    parent      BLOB    REFERENCES entries (id),
    name        TEXT    NOT NULL,
    -- The name without regard to case, for searching.
    name_key    TEXT    NOT NULL,
    kind        INTEGER NOT NULL,
    blob        BLOB    REFERENCES blobs (blake3),
    -- 0 for folders.
    size        INTEGER NOT NULL,
    media_type  TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    modified_at INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    -- Set on the entry that was deleted, not on what hangs below it.
    deleted_at  INTEGER,
    -- 1 or NULL: NULLs are distinct, which makes names unique among the living only.
    live        INTEGER GENERATED ALWAYS AS (CASE WHEN deleted_at IS NULL THEN 1 END) VIRTUAL
) WITHOUT ROWID;
CREATE UNIQUE INDEX entries_name ON entries (parent, name, live);
-- Leads with the blob: finds whether an account holds it, and serves the foreign key.
CREATE INDEX entries_blob ON entries (blob, owner) WHERE blob IS NOT NULL;
CREATE INDEX entries_deleted ON entries (kind, deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE uploads (
    id          BLOB    NOT NULL PRIMARY KEY,
    account     BLOB    NOT NULL REFERENCES accounts (id),
    path        TEXT    NOT NULL,
    size        INTEGER NOT NULL CHECK (size >= 0),
    blake3      BLOB,
    sha256      BLOB,
    sha1        BLOB,
    on_conflict INTEGER NOT NULL,
    mtime       INTEGER NOT NULL,
    media_type  TEXT    NOT NULL,
    node        TEXT    NOT NULL,
    chunk_size  INTEGER NOT NULL,
    status      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    -- The file it became; not a foreign key, the file may be gone before the upload is forgotten.
    entry       BLOB,
    -- When a finished upload is forgotten.
    forget_at   INTEGER
) WITHOUT ROWID;
CREATE INDEX uploads_open ON uploads (account, id) WHERE status = 1;
CREATE INDEX uploads_expiry ON uploads (node, expires_at) WHERE status = 1;
CREATE INDEX uploads_forget ON uploads (forget_at) WHERE forget_at IS NOT NULL;

-- Blobs on their way to durable storage; the row goes when the blob is stored.
CREATE TABLE transfers (
    blake3     BLOB    NOT NULL PRIMARY KEY REFERENCES blobs (blake3),
    state      INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    fence      INTEGER NOT NULL,
    -- Waiting: not before. Claimed: the lease ends. Parked: never.
    due_at     INTEGER,
    worker     TEXT    NOT NULL,
    last_error TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX transfers_due ON transfers (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX transfers_age ON transfers (state, created_at);

-- Fencing tokens never repeat, not even when a blob is removed and comes back.
CREATE TABLE fences (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL
);
INSERT INTO fences (id, last) VALUES (1, 0);
