-- What was deleted and can be restored, by its entry. Its row hangs below the account's root folder
-- meanwhile, so that it does not go with the folder it was in.
CREATE TABLE trash (
    entry      BLOB    NOT NULL PRIMARY KEY REFERENCES entries (id) ON DELETE CASCADE,
    account    BLOB    NOT NULL REFERENCES accounts (id),
    -- Where it was.
    path       TEXT    NOT NULL,
    deleted_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX trash_account ON trash (account, deleted_at, entry);
CREATE INDEX trash_expiry ON trash (expires_at);

-- 1 while it is in the trash, else NULL.
ALTER TABLE entries ADD COLUMN trashed INTEGER;
-- Since when it is deleted for good.
ALTER TABLE entries ADD COLUMN doomed_at INTEGER
    GENERATED ALWAYS AS (CASE WHEN trashed IS NULL THEN deleted_at END) VIRTUAL;
DROP INDEX entries_deleted;
CREATE INDEX entries_doomed ON entries (kind, doomed_at) WHERE doomed_at IS NOT NULL;
