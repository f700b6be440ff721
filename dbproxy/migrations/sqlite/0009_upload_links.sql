-- Shares that collect what others upload.
ALTER TABLE shares ADD COLUMN uploads INTEGER NOT NULL DEFAULT 0;
