ALTER TABLE uploads
    -- The length is not known yet: until it is, `size` holds the bytes that are reserved.
    ADD COLUMN deferred BOOLEAN       NOT NULL DEFAULT FALSE,
    -- Made to be put together with others: never becomes a file itself.
    ADD COLUMN part     BOOLEAN       NOT NULL DEFAULT FALSE,
    -- Whatever the protocol that made the upload wants to find again.
    ADD COLUMN note     VARCHAR(8192) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '';
