-- Entries that are shown to whoever knows a token. A share goes with its entry; one that has expired is
-- cleaned away by the next one of the same account.
CREATE TABLE shares (
    id            BLOB    NOT NULL PRIMARY KEY,
    account       BLOB    NOT NULL REFERENCES accounts (id),
    entry         BLOB    NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    -- SHA-256 of the token.
    hash          BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    password_hash TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    -- NULL: never.
    expires_at    INTEGER,
    -- 0: any number.
    max_downloads INTEGER NOT NULL,
    downloads     INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX shares_account ON shares (account);
CREATE INDEX shares_entry ON shares (entry);

-- Counted downloads of shares with a limit, for as long as more requests may belong to them.
CREATE TABLE share_downloads (
    id         BLOB    NOT NULL PRIMARY KEY,
    share      BLOB    NOT NULL REFERENCES shares (id) ON DELETE CASCADE,
    blake3     BLOB    NOT NULL,
    bytes_left INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX share_downloads_share ON share_downloads (share, expires_at);
