-- Entries that are shown to whoever knows a token. A share goes with its entry; one that has expired is
-- cleaned away by the next one of the same account.
CREATE TABLE shares (
    id            BINARY(16)    NOT NULL PRIMARY KEY,
    account       BINARY(16)    NOT NULL,
    entry         BINARY(16)    NOT NULL,
    -- SHA-256 of the token.
    hash          BINARY(32)    NOT NULL,
    password_hash VARCHAR(1024) NOT NULL,
    created_at    BIGINT        NOT NULL,
    -- NULL: never.
    expires_at    BIGINT,
    -- 0: any number.
    max_downloads BIGINT        NOT NULL,
    downloads     BIGINT        NOT NULL DEFAULT 0,
    UNIQUE KEY shares_hash (hash),
    KEY shares_account (account),
    CONSTRAINT shares_of_account FOREIGN KEY (account) REFERENCES accounts (id),
    CONSTRAINT shares_of_entry FOREIGN KEY (entry) REFERENCES entries (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Counted downloads of shares with a limit, for as long as more requests may belong to them.
CREATE TABLE share_downloads (
    id         BINARY(16) NOT NULL PRIMARY KEY,
    share      BINARY(16) NOT NULL,
    blake3     BINARY(32) NOT NULL,
    bytes_left BIGINT     NOT NULL,
    expires_at BIGINT     NOT NULL,
    KEY share_downloads_share (share, expires_at),
    CONSTRAINT share_downloads_of_share FOREIGN KEY (share) REFERENCES shares (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
