-- For the list that people look at.
ALTER TABLE sessions
    -- When it began, or its refresh token was exchanged last.
    ADD COLUMN used_at BIGINT NOT NULL DEFAULT 0,
    -- What the client called itself when it began.
    ADD COLUMN client VARCHAR(1024) NOT NULL DEFAULT '';
UPDATE sessions SET used_at = created_at;
