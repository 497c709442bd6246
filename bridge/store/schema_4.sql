-- Version 4. Fewer pages for each message. A lane keeps its row for the next message on its topics, with `head` 0
-- while it has none; one index says which may go and which is the oldest of its priority. The sums are one row, of
-- the messages up to `upto`, with the bytes of the current day; `usage` has those of the days before.
DROP INDEX lane_ready;
DROP INDEX lane_oldest;
CREATE INDEX lane_ready ON lane (endpoint, not_before > 0, priority, head) WHERE head > 0;

CREATE TABLE sums (
    id    INTEGER PRIMARY KEY,
    upto  INTEGER NOT NULL,
    value TEXT NOT NULL
);
INSERT INTO sums (id, upto, value)
SELECT 1, 0, json_object('counts', json_group_object(substr(key, 7), value)) FROM meta WHERE key GLOB 'count:*';
DELETE FROM meta WHERE key GLOB 'count:*' OR key IN ('report_bytes', 'ended_ids', 'ended_bytes');
DROP TABLE depth;

-- An idempotency key moves here from `chosen` with its result. What the version before left there stays until it is
-- a day old. A table with row ids, because one without keeps a result on a page of its own.
CREATE TABLE ended (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    boot        INTEGER NOT NULL,
    received_at REAL NOT NULL,
    result      BLOB NOT NULL
);
CREATE INDEX ended_age ON ended (received_at);
