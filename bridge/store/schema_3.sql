-- Version 3. What could not be passed on, kept for a person: a report that the broker does not take, or a delivery
-- that could not be read. An id is never given to another one. `at` is Unix seconds; `properties` is as in `report`.
CREATE TABLE set_aside (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    topic      TEXT NOT NULL,
    payload    BLOB NOT NULL,
    properties TEXT,
    retain     INTEGER NOT NULL DEFAULT 0,
    reason     TEXT NOT NULL,
    at         REAL NOT NULL
);

-- Of the ids that producers chose those whose result is there are bounded, and the oldest go: they have an
-- index of their own. No other was by age alone.
CREATE INDEX chosen_ended ON chosen (received_at) WHERE result IS NOT NULL;
DROP INDEX chosen_age;
