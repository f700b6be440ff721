-- Shares that collect what others upload.
ALTER TABLE shares ADD COLUMN uploads BOOLEAN NOT NULL DEFAULT FALSE;
