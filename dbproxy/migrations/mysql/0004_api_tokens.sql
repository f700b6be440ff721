-- What programs authenticate with. A revoked one stays for a while, so that every service hears of
-- it; a new one of the same account cleans away what nobody needs any more.
CREATE TABLE api_tokens (
    id         BINARY(16)    NOT NULL PRIMARY KEY,
    account    BINARY(16)    NOT NULL,
    -- SHA-256 of the token.
    hash       BINARY(32)    NOT NULL,
    name       VARCHAR(1024) NOT NULL,
    scope      INT           NOT NULL,
    created_at BIGINT        NOT NULL,
    expires_at BIGINT        NOT NULL,
    revoked_at BIGINT,
    UNIQUE KEY api_tokens_hash (hash),
    KEY api_tokens_account (account),
    KEY api_tokens_revoked (revoked_at),
    CONSTRAINT api_tokens_of_account FOREIGN KEY (account) REFERENCES accounts (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
