BEGIN TRANSACTION;
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
CREATE TABLE boot (
    id        INTEGER PRIMARY KEY,
    boot_id   TEXT NOT NULL UNIQUE,
    lead      REAL NOT NULL
, known INTEGER NOT NULL DEFAULT 0);
INSERT INTO "boot" VALUES(1,'boot-1',1699999900.0,0);
CREATE TABLE chosen (
    id          TEXT PRIMARY KEY,
    boot        INTEGER NOT NULL,
    received_at REAL NOT NULL,
    result      BLOB
) WITHOUT ROWID;
INSERT INTO "chosen" VALUES('m4',1,1700000000.0,NULL);
CREATE TABLE ended (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    boot        INTEGER NOT NULL,
    received_at REAL NOT NULL,
    result      BLOB NOT NULL
);
CREATE TABLE lane (
    id         INTEGER PRIMARY KEY,
    endpoint   TEXT NOT NULL,
    names      TEXT NOT NULL,
    priority   INTEGER NOT NULL,
    head       INTEGER NOT NULL,
    not_before REAL NOT NULL DEFAULT 0,
    UNIQUE (endpoint, names, priority)
);
INSERT INTO "lane" VALUES(1,'cloud','["t0"]',1,3,0.0);
INSERT INTO "lane" VALUES(2,'cloud','["t1"]',1,2,0.0);
INSERT INTO "lane" VALUES(3,'cloud','["t1"]',0,6,0.0);
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
, at INTEGER, stamp TEXT, later REAL, topics TEXT);
INSERT INTO "message" VALUES(2,'m1',0,2,X'31',1,1700000000.0,100.0,NULL,0,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "message" VALUES(3,'m2',0,1,X'32',1,1700000000.0,100.0,NULL,0,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "message" VALUES(4,'m3',0,2,X'33',1,1700000000.0,100.0,NULL,0,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "message" VALUES(5,'m4',1,1,X'34',1,1700000000.0,100.0,NULL,0,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "message" VALUES(6,'m5',0,3,X'35',1,1700000000.0,100.0,NULL,0,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY
) WITHOUT ROWID;
INSERT INTO "meta" VALUES('last_wall',1700000000);
CREATE TABLE receipt (
    slot    INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    mid     INTEGER NOT NULL,
    digest  BLOB NOT NULL
);
CREATE TABLE report (
    seq        INTEGER PRIMARY KEY,
    topic      TEXT NOT NULL,
    payload    BLOB NOT NULL,
    properties TEXT,
    retain     INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "report" VALUES(1,'hologram/result',X'7B226964223A226D30227D','[null, [["a", "b"]]]',0);
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
CREATE TABLE sums (
    id    INTEGER PRIMARY KEY,
    upto  INTEGER NOT NULL,
    value TEXT NOT NULL
);
INSERT INTO "sums" VALUES(1,6,'{"depth":[["cloud",1,4,4],["cloud",0,1,1]],"counts":{"delivered":1},"reports":46,"ended":[0,0],"day":"2023-11-14","spent":[300,80]}');
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
CREATE TABLE text_seen (
    seq         INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL UNIQUE,
    running     REAL NOT NULL
);
CREATE TABLE text_sent (
    seq         INTEGER PRIMARY KEY,
    reference   INTEGER NOT NULL,
    recipient   TEXT NOT NULL,
    message     TEXT NOT NULL,
    running     REAL NOT NULL
);
CREATE TABLE usage (
    day        TEXT PRIMARY KEY,
    bytes_up   INTEGER NOT NULL,
    bytes_down INTEGER NOT NULL
, own INTEGER NOT NULL DEFAULT 0, apart INTEGER NOT NULL DEFAULT 0, link INTEGER NOT NULL DEFAULT 0, texts INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX lane_waiting ON lane (not_before) WHERE not_before > 0;
CREATE INDEX message_lane ON message (lane, seq);
CREATE INDEX message_chosen ON message (id) WHERE chosen = 1;
CREATE INDEX message_started ON message (seq) WHERE started = 1;
CREATE INDEX text_part_place ON text_part (sender, reference, wide, total);
CREATE INDEX text_sent_reference ON text_sent (reference);
CREATE INDEX message_deadline ON message (boot, deadline - queued_at + queued_mono) WHERE deadline IS NOT NULL;
CREATE INDEX chosen_ended ON chosen (received_at) WHERE result IS NOT NULL;
CREATE INDEX lane_ready ON lane (endpoint, not_before > 0, priority, head) WHERE head > 0;
CREATE INDEX ended_age ON ended (received_at);
CREATE INDEX message_renewed ON message (boot, queued_mono + later) WHERE later IS NOT NULL;
DELETE FROM "sqlite_sequence";
COMMIT;
PRAGMA user_version = 5;
