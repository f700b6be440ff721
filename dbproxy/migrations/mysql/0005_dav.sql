-- WebDAV. Write locks (RFC 4918 section 6) are on paths, whether something is there or not.
CREATE TABLE dav_locks (
    token      BINARY(16)      NOT NULL PRIMARY KEY,
    account    BINARY(16)      NOT NULL,
    path       VARBINARY(4096) NOT NULL,
    -- With everything below the path.
    infinite   INT             NOT NULL,
    shared     INT             NOT NULL,
    owner_xml  VARCHAR(1024)   NOT NULL,
    expires_at BIGINT          NOT NULL,
    KEY dav_locks_account (account),
    CONSTRAINT dav_locks_of_account FOREIGN KEY (account) REFERENCES accounts (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Dead properties: kept for clients, meaning nothing to the server.
CREATE TABLE dav_properties (
    entry     BINARY(16)     NOT NULL,
    namespace VARBINARY(512) NOT NULL,
    name      VARBINARY(255) NOT NULL,
    xml       MEDIUMTEXT     NOT NULL,
    PRIMARY KEY (entry, namespace, name),
    CONSTRAINT dav_properties_of_entry FOREIGN KEY (entry) REFERENCES entries (id)
        ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
