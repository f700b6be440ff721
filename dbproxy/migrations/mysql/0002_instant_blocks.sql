-- Until when the account gets no instant upload of content that only others hold.
ALTER TABLE accounts ADD COLUMN instant_blocked_until BIGINT NOT NULL DEFAULT 0;
