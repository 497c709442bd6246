-- Version 5.

-- The time of a message: `at` is its time in Unix seconds, -1 where it goes without one, and null while that is open;
-- `stamp` is the key under which it goes with the message. `known` says that the box learned the time in this boot.
ALTER TABLE message ADD COLUMN at INTEGER;
ALTER TABLE message ADD COLUMN stamp TEXT;
ALTER TABLE boot ADD COLUMN known INTEGER NOT NULL DEFAULT 0;

-- `keep: "latest"`: a newer message takes over the row of an older one, and so its place. `queued_mono` stays the time
-- since which the place is taken, because rows are in the order of it; the newer one came `later` seconds after it.
ALTER TABLE message ADD COLUMN later REAL;
CREATE INDEX message_renewed ON message (boot, queued_mono + later) WHERE later IS NOT NULL;
-- Budget: what went over the SIM, by UTC day. `own` are the bridge's own bytes, `apart` those of them that no
-- interface counts, `link` those that interfaces counted, `texts` the SMS that went out.
ALTER TABLE usage ADD COLUMN own INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN apart INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN link INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN texts INTEGER NOT NULL DEFAULT 0;
UPDATE usage SET own = bytes_up + bytes_down, apart = bytes_up + bytes_down;
