-- Version 1. Later versions are steps of their own, schema_2.sql and so on, never edits here.

-- Single values: broker session number, last wall time seen, counters of results, the pause switch.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY
) WITHOUT ROWID;

-- A boot of the machine, and by how much its wall clock led its monotonic one when last seen. Times of
-- an earlier boot's rows are wall times; times of this boot's rows follow the monotonic clock.
CREATE TABLE boot (
    id        INTEGER PRIMARY KEY,
    boot_id   TEXT NOT NULL UNIQUE,
    lead      REAL NOT NULL
);

-- One destination, list of topics (or recipient) and priority. `head` is the seq of its oldest message; a lane without
-- messages has no row. `not_before` is monotonic seconds of this boot, 0 when it may go at once.
CREATE TABLE lane (
    id         INTEGER PRIMARY KEY,
    endpoint   TEXT NOT NULL,
    names      TEXT NOT NULL,
    priority   INTEGER NOT NULL,
    head       INTEGER NOT NULL,
    not_before REAL NOT NULL DEFAULT 0,
    UNIQUE (endpoint, names, priority)
);
CREATE INDEX lane_ready ON lane (endpoint, priority, head) WHERE not_before = 0;
CREATE INDEX lane_waiting ON lane (not_before) WHERE not_before > 0;
CREATE INDEX lane_oldest ON lane (priority, head);

-- A message on its way out. `started` is the durable mark set before the first byte of what must not
-- be sent twice.
CREATE TABLE message (
    seq          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL,
    chosen       INTEGER NOT NULL,
    lane         INTEGER NOT NULL,
    payload      BLOB NOT NULL,
    boot         INTEGER NOT NULL,
    queued_at    REAL NOT NULL,
    queued_mono  REAL NOT NULL,
    deadline     REAL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER,
    started      INTEGER NOT NULL DEFAULT 0,
    bytes_up     INTEGER NOT NULL DEFAULT 0,
    bytes_down   INTEGER NOT NULL DEFAULT 0,
    reply_topic  TEXT,
    correlation  BLOB
);
CREATE INDEX message_lane ON message (lane, seq);
CREATE INDEX message_chosen ON message (id) WHERE chosen = 1;
CREATE INDEX message_started ON message (seq) WHERE started = 1;
CREATE INDEX message_deadline ON message (deadline) WHERE deadline IS NOT NULL;

-- How full the outbox is, kept beside the messages so that nobody has to count a million rows.
CREATE TABLE depth (
    channel  TEXT NOT NULL,
    priority INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    PRIMARY KEY (channel, priority)
) WITHOUT ROWID;

-- What waits for the broker's acknowledgement: results, and everything inbound.
CREATE TABLE report (
    seq        INTEGER PRIMARY KEY,
    topic      TEXT NOT NULL,
    payload    BLOB NOT NULL,
    properties TEXT,
    retain     INTEGER NOT NULL DEFAULT 0
);

-- Ids that producers chose, for 24 hours from the first receipt; `result` once it is there.
CREATE TABLE chosen (
    id          TEXT PRIMARY KEY,
    boot        INTEGER NOT NULL,
    received_at REAL NOT NULL,
    result      BLOB
) WITHOUT ROWID;
CREATE INDEX chosen_age ON chosen (received_at);

-- The last receipts of the broker session: a ring of Receive Maximum slots.
CREATE TABLE receipt (
    slot    INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    mid     INTEGER NOT NULL,
    digest  BLOB NOT NULL
);

-- Bytes that the IP layer carried, by UTC day.
CREATE TABLE usage (
    day        TEXT PRIMARY KEY,
    bytes_up   INTEGER NOT NULL,
    bytes_down INTEGER NOT NULL
) WITHOUT ROWID;

-- Parts of received texts that wait for the others. `text` is the id of the text they make, drawn with its
-- first part; `running` is the seconds that the bridge had run when the part came: no clock can step it.
CREATE TABLE text_part (
    seq         INTEGER PRIMARY KEY,
    text        TEXT NOT NULL,
    sender      TEXT NOT NULL,
    reference   INTEGER NOT NULL,
    wide        INTEGER NOT NULL,
    total       INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    sent_at     REAL,
    running     REAL NOT NULL,
    pdu         TEXT NOT NULL,
    UNIQUE (text, number)
);
CREATE INDEX text_part_place ON text_part (sender, reference, wide, total);

-- Fingerprints of received PDUs, newest last: one that is read again was not yet deleted from the modem.
CREATE TABLE text_seen (
    seq         INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL UNIQUE,
    running     REAL NOT NULL
);

-- Parts that were sent and whose status report is awaited, by the modem's reference.
CREATE TABLE text_sent (
    seq         INTEGER PRIMARY KEY,
    reference   INTEGER NOT NULL,
    recipient   TEXT NOT NULL,
    message     TEXT NOT NULL,
    running     REAL NOT NULL
);
CREATE INDEX text_sent_reference ON text_sent (reference);
