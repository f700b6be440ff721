-- For the list that people look at.
-- When it began, or its refresh token was exchanged last.
ALTER TABLE sessions ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;
-- What the client called itself when it began.
ALTER TABLE sessions ADD COLUMN client TEXT NOT NULL DEFAULT '';
UPDATE sessions SET used_at = created_at;
