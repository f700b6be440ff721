-- The length is not known yet: until it is, `size` holds the bytes that are reserved.
ALTER TABLE uploads ADD COLUMN deferred INTEGER NOT NULL DEFAULT 0;
-- Made to be put together with others: never becomes a file itself.
ALTER TABLE uploads ADD COLUMN part INTEGER NOT NULL DEFAULT 0;
-- Whatever the protocol that made the upload wants to find again.
ALTER TABLE uploads ADD COLUMN note TEXT NOT NULL DEFAULT '';
