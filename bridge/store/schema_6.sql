-- Version 6.

-- Escalation. `due` of a message that becomes a text unless it is delivered before, in seconds of the running time
-- (bridge.store.running_time); and the message (`about`) that a text in the outbox is about.
CREATE TABLE escalation (
    seq INTEGER PRIMARY KEY,
    due REAL NOT NULL
);
CREATE INDEX escalation_due ON escalation (due);
CREATE TABLE escalated (
    seq   INTEGER PRIMARY KEY,
    about INTEGER NOT NULL
);
CREATE INDEX escalated_about ON escalated (about);
