-- WebDAV. Write locks (RFC 4918 section 6) are on paths, whether something is there or not.
CREATE TABLE dav_locks (
    token      BLOB    NOT NULL PRIMARY KEY,
    account    BLOB    NOT NULL REFERENCES accounts (id),
    path       TEXT    NOT NULL,
    -- With everything below the path.
    infinite   INTEGER NOT NULL,
    shared     INTEGER NOT NULL,
    owner_xml  TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX dav_locks_account ON dav_locks (account);

-- Dead properties: kept for clients, meaning nothing to the server.
CREATE TABLE dav_properties (
    entry     BLOB NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    xml       TEXT NOT NULL,
    PRIMARY KEY (entry, namespace, name)
) WITHOUT ROWID;
