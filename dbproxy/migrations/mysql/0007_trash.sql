-- What was deleted and can be restored, by its entry. Its row hangs below the account's root folder
-- meanwhile, so that it does not go with the folder it was in.
CREATE TABLE trash (
    entry      BINARY(16)    NOT NULL PRIMARY KEY,
    account    BINARY(16)    NOT NULL,
    -- Where it was.
    path       VARCHAR(4096) NOT NULL,
    deleted_at BIGINT        NOT NULL,
    expires_at BIGINT        NOT NULL,
    KEY trash_account (account, deleted_at, entry),
    KEY trash_expiry (expires_at),
    CONSTRAINT trash_of_account FOREIGN KEY (account) REFERENCES accounts (id),
    CONSTRAINT trash_of_entry FOREIGN KEY (entry) REFERENCES entries (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

ALTER TABLE entries
    -- 1 while it is in the trash, else NULL.
    ADD COLUMN trashed INT,
    -- Since when it is deleted for good.
    ADD COLUMN doomed_at BIGINT
        GENERATED ALWAYS AS (CASE WHEN trashed IS NULL THEN deleted_at END) STORED,
    DROP KEY entries_deleted,
    ADD KEY entries_doomed (kind, doomed_at);
