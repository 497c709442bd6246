-- Version 5.

-- The time of a message: `at` is its time in Unix seconds, -1 where it goes without one, and null while that is open;
-- `stamp` is the key under which it goes with the message. `known` says that the box learned the time in this boot.
ALTER TABLE message ADD COLUMN at INTEGER;
ALTER TABLE message ADD COLUMN stamp TEXT;
ALTER TABLE boot ADD COLUMN known INTEGER NOT NULL DEFAULT 0;

-- `keep: "latest"`: a newer message takes over the row of an older one, and so its place. `queued_mono` stays the time
-- since which the place is taken, because rows are in the order of it; the newer one came `later` seconds after it. A
-- place of an earlier boot moves into the clock of the newer one's, so `boot` is in the order of rows without `later`.
ALTER TABLE message ADD COLUMN later REAL;
CREATE INDEX message_renewed ON message (boot, queued_mono + later) WHERE later IS NOT NULL;
-- Budget: what went over the SIM, by UTC day. `own` are the bridge's own bytes, `apart` those of them that no
-- interface counts, `link` those that interfaces counted, `texts` the SMS that went out.
ALTER TABLE usage ADD COLUMN own INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN apart INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN link INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN texts INTEGER NOT NULL DEFAULT 0;
UPDATE usage SET own = bytes_up + bytes_down, apart = bytes_up + bytes_down;

-- Batches. A lane whose `names` is a JSON string, and no array, holds the messages of the route with that `match`; the
-- topics of each are in `topics`, which is null in an ordinary lane. A row of `batch` is about the messages of such a
-- lane up to `last`: fixed from before its first byte, so that a repeat is the same, with what was spent on it. Without
-- an id there is none now, and `ends` and `alone` say how a refused one goes on: as batches that end at these messages,
-- and as the one message that goes as an ordinary request.
ALTER TABLE message ADD COLUMN topics TEXT;
CREATE TABLE batch (
    lane       INTEGER PRIMARY KEY,
    id         TEXT,
    topic      TEXT,
    content    BLOB,
    last       INTEGER NOT NULL DEFAULT 0,
    messages   INTEGER NOT NULL DEFAULT 0,
    attempts   INTEGER NOT NULL DEFAULT 0,
    bytes_up   INTEGER NOT NULL DEFAULT 0,
    bytes_down INTEGER NOT NULL DEFAULT 0,
    ends       TEXT NOT NULL DEFAULT '[]',
    alone      INTEGER NOT NULL DEFAULT 0
);
