-- The same tables as on SQLite. Ids are 16 bytes, digests 32 (SHA-1: 20), times are integer Unix
-- milliseconds, numbers are signed. Enumerations hold the numbers of the .proto files.
--
-- Text that is compared or sorted is VARBINARY, which compares by bytes. Every collation that both
-- MariaDB and MySQL have ignores spaces at the end, utf8mb4_bin too; names must not.

CREATE TABLE accounts (
    id             BINARY(16)      NOT NULL PRIMARY KEY,
    username       VARCHAR(1024)   NOT NULL,
    -- The username without regard to case. As long as an index can be.
    username_key   VARBINARY(3072) NOT NULL,
    password_hash  VARBINARY(1024) NOT NULL,
    email          VARCHAR(1024)   NOT NULL,
    display_name   VARCHAR(1024)   NOT NULL,
    quota_bytes    BIGINT          NOT NULL,
    used_bytes     BIGINT          NOT NULL DEFAULT 0,
    reserved_bytes BIGINT          NOT NULL DEFAULT 0,
    created_at     BIGINT          NOT NULL,
    UNIQUE KEY accounts_username (username_key),
    CONSTRAINT accounts_quota CHECK (quota_bytes >= 0),
    CONSTRAINT accounts_used CHECK (used_bytes >= 0),
    CONSTRAINT accounts_reserved CHECK (reserved_bytes >= 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE sessions (
    id         BINARY(16) NOT NULL PRIMARY KEY,
    account    BINARY(16) NOT NULL,
    created_at BIGINT     NOT NULL,
    expires_at BIGINT     NOT NULL,
    revoked_at BIGINT,
    KEY sessions_account (account),
    KEY sessions_expiry (expires_at),
    KEY sessions_revoked (revoked_at),
    CONSTRAINT sessions_of_account FOREIGN KEY (account) REFERENCES accounts (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- A token that was exchanged stays until it would have expired, so that its reuse is recognised.
CREATE TABLE refresh_tokens (
    hash        VARBINARY(64) NOT NULL PRIMARY KEY,
    session     BINARY(16)    NOT NULL,
    expires_at  BIGINT     NOT NULL,
    -- Hash of the token it was exchanged for.
    replaced_by VARBINARY(64),
    KEY refresh_tokens_session (session, expires_at),
    CONSTRAINT refresh_tokens_of_session FOREIGN KEY (session) REFERENCES sessions (id)
        ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE signing_keys (
    kid        VARBINARY(1024) NOT NULL PRIMARY KEY,
    public_key VARBINARY(1024) NOT NULL,
    expires_at BIGINT          NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Content, by its BLAKE3 root.
CREATE TABLE blobs (
    blake3      BINARY(32)      NOT NULL PRIMARY KEY,
    size        BIGINT          NOT NULL,
    sha256      BINARY(32),
    sha1        BINARY(20),
    -- Rows of entries that refer to it, deleted ones that are not purged yet included.
    refcount    BIGINT          NOT NULL,
    state       INT             NOT NULL,
    -- The staged copy; '' and NULL once it is removed.
    node        VARBINARY(1024) NOT NULL,
    staging_id  BINARY(16),
    created_at  BIGINT          NOT NULL,
    stored_at   BIGINT,
    -- Since when nothing refers to it.
    zero_since  BIGINT,
    -- Of the claim for removal.
    fence       BIGINT          NOT NULL DEFAULT 0,
    lease_until BIGINT          NOT NULL DEFAULT 0,
    -- Since when the staged copy is not needed any more: an index without what has none.
    spare_since BIGINT GENERATED ALWAYS AS (CASE WHEN staging_id IS NOT NULL THEN stored_at END)
        STORED,
    KEY blobs_sha256 (sha256, size),
    KEY blobs_sha1 (sha1, size),
    KEY blobs_staging (staging_id),
    KEY blobs_garbage (zero_since),
    KEY blobs_spare_copies (spare_since),
    CONSTRAINT blobs_size CHECK (size >= 0),
    CONSTRAINT blobs_refcount CHECK (refcount >= 0),
    CONSTRAINT blobs_zero CHECK ((refcount = 0) = (zero_since IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Files and folders. The root folder of an account has the account's id, no parent and no name.
-- That the owner exists is not a foreign key: that would cost an index, and accounts stay.
CREATE TABLE entries (
    id          BINARY(16)      NOT NULL PRIMARY KEY,
    owner       BINARY(16)      NOT NULL,
    parent      BINARY(16),
    name        VARBINARY(255)  NOT NULL,
    -- The name without regard to case, for searching; it can be eleven times as long.
    name_key    VARBINARY(3072) NOT NULL,
    kind        INT             NOT NULL,
    blob_id     BINARY(32),
    -- 0 for folders.
    size        BIGINT          NOT NULL,
    media_type  VARCHAR(1024)   NOT NULL,
    created_at  BIGINT          NOT NULL,
    modified_at BIGINT          NOT NULL,
    version     BIGINT          NOT NULL,
    -- Set on the entry that was deleted, not on what hangs below it.
    deleted_at  BIGINT,
    -- 1 or NULL: NULLs are distinct, which makes names unique among the living only.
    live        INT GENERATED ALWAYS AS (CASE WHEN deleted_at IS NULL THEN 1 END) STORED,
    UNIQUE KEY entries_name (parent, name, live),
    -- Leads with the blob: finds whether an account holds it, and serves the foreign key.
    KEY entries_blob (blob_id, owner),
    KEY entries_deleted (kind, deleted_at),
    CONSTRAINT entries_parent FOREIGN KEY (parent) REFERENCES entries (id),
    CONSTRAINT entries_content FOREIGN KEY (blob_id) REFERENCES blobs (blake3)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE uploads (
    id          BINARY(16)      NOT NULL PRIMARY KEY,
    account     BINARY(16)      NOT NULL,
    path        VARCHAR(4096)   NOT NULL,
    size        BIGINT          NOT NULL,
    blake3      BINARY(32),
    sha256      BINARY(32),
    sha1        BINARY(20),
    on_conflict INT             NOT NULL,
    mtime       BIGINT          NOT NULL,
    media_type  VARCHAR(1024)   NOT NULL,
    node        VARBINARY(1024) NOT NULL,
    chunk_size  BIGINT          NOT NULL,
    status      INT             NOT NULL,
    created_at  BIGINT          NOT NULL,
    expires_at  BIGINT          NOT NULL,
    -- The file it became; not a foreign key, the file may be gone before the upload is forgotten.
    entry       BINARY(16),
    -- When a finished upload is forgotten.
    forget_at   BIGINT,
    KEY uploads_open (account, status, id),
    KEY uploads_expiry (node, status, expires_at),
    KEY uploads_forget (forget_at),
    CONSTRAINT uploads_size CHECK (size >= 0),
    CONSTRAINT uploads_of_account FOREIGN KEY (account) REFERENCES accounts (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Blobs on their way to durable storage; the row goes when the blob is stored.
CREATE TABLE transfers (
    blake3     BINARY(32)      NOT NULL PRIMARY KEY,
    state      INT             NOT NULL,
    attempts   INT             NOT NULL,
    fence      BIGINT          NOT NULL,
    -- Waiting: not before. Claimed: the lease ends. Parked: never.
    due_at     BIGINT,
    worker     VARCHAR(1024)   NOT NULL,
    last_error VARCHAR(1024)   NOT NULL,
    created_at BIGINT          NOT NULL,
    KEY transfers_due (due_at),
    KEY transfers_age (state, created_at),
    CONSTRAINT transfers_of_blob FOREIGN KEY (blake3) REFERENCES blobs (blake3)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Staged copies of which a node was told that nothing refers to them: a commit that was on its way
-- meanwhile must not refer to one any more. See src/mysql/staging.rs.
CREATE TABLE abandoned_copies (
    staging_id BINARY(16) NOT NULL PRIMARY KEY,
    forget_at  BIGINT     NOT NULL,
    KEY abandoned_copies_forget (forget_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Fencing tokens never repeat, not even when a blob is removed and comes back.
CREATE TABLE fences (
    id   INT    NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL,
    CONSTRAINT fences_one CHECK (id = 1)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
INSERT INTO fences (id, last) VALUES (1, 0);
