-- Every statement of the outbox, by name.

-- name: lane_find
SELECT id FROM lane WHERE endpoint = ? AND names = ? AND priority = ?;
-- name: lane_add
INSERT INTO lane (endpoint, names, priority, head) VALUES (?, ?, ?, ?);
-- name: lane_begin
UPDATE lane SET head = ?, not_before = 0 WHERE id = ?;
-- name: lane_advance
UPDATE lane SET not_before = CASE head WHEN :seq THEN 0 ELSE not_before END,
                head = coalesce((SELECT min(seq) FROM message WHERE lane = :lane), 0)
WHERE id = :lane RETURNING head;
-- name: lane_empty
SELECT id, endpoint, names, priority FROM lane WHERE head = 0 ORDER BY id;
-- name: lane_drop
DELETE FROM lane WHERE id = ? AND head = 0;
-- name: lane_defer
UPDATE lane SET not_before = ? WHERE id = ?;
-- name: lane_wake_due
UPDATE lane SET not_before = 0 WHERE not_before > 0 AND not_before <= ?;
-- name: lane_wake_all
UPDATE lane SET not_before = 0 WHERE not_before > 0;
-- A lane with a longer delay has cost too much data to be tried at each opportunity.
-- name: lane_wake_until
UPDATE lane SET not_before = 0 WHERE not_before > 0 AND not_before <= ?;
-- name: lane_wake_endpoint
UPDATE lane SET not_before = 0 WHERE not_before > 0 AND not_before <= ? AND endpoint = ?;
-- name: lane_within
SELECT EXISTS (SELECT 1 FROM lane WHERE not_before <= ? AND head > 0 AND id NOT IN ({busy}) LIMIT ?);
-- Lanes that hold messages of one topic list alone; the names of a lane of batches are a JSON string.
-- name: lane_only
SELECT id FROM lane WHERE head > 0 AND priority = ? AND (names = ? OR (names LIKE '"%' AND NOT EXISTS
    (SELECT 1 FROM message WHERE message.lane = lane.id AND topics IS NOT ?)));
-- name: lane_next_wake
SELECT min(not_before) FROM lane WHERE not_before > 0;
-- name: lane_endpoints
SELECT DISTINCT endpoint FROM lane WHERE head > 0;
-- name: lane_heads
SELECT lane.id, lane.names, lane.priority, m.seq, m.id, m.chosen, m.payload,
       m.queued_mono + coalesce(m.later, 0), m.attempts,
       m.max_attempts, m.bytes_up, m.bytes_down, m.reply_topic, m.correlation, m.boot,
       m.deadline - m.queued_at - coalesce(m.later, 0),
       m.at, m.stamp, m.topics
FROM lane JOIN message m ON m.seq = lane.head
WHERE lane.endpoint = ? AND (lane.not_before > 0) = 0 AND lane.head > 0
AND ((m.stamp IS NULL AND m.topics IS NULL) OR m.at IS NOT NULL OR m.boot <> ?
     OR EXISTS (SELECT 1 FROM batch WHERE batch.lane = lane.id AND batch.id IS NOT NULL))
AND lane.id NOT IN ({busy})
ORDER BY lane.priority, lane.head LIMIT ?;
-- name: lane_oldest
SELECT id, head FROM lane
WHERE endpoint = ? AND (not_before > 0) = ? AND priority = ? AND head > 0 ORDER BY head LIMIT ?;
-- name: lane_rest
SELECT seq FROM message WHERE lane = ? AND seq > ? ORDER BY seq LIMIT ?;
-- A lane of batches: its `names` is a JSON string.
-- name: lane_batched
SELECT id, endpoint, names, priority FROM lane WHERE head > 0 AND names GLOB '"*';
-- name: lane_count
SELECT count(*) FROM lane WHERE head > 0;

-- name: batch_all
SELECT lane, id, topic, last, messages, attempts, bytes_up, bytes_down, ends, alone FROM batch;
-- name: batch_content
SELECT content FROM batch WHERE lane = ?;
-- name: batch_set
INSERT OR REPLACE INTO batch (lane, id, topic, content, last, messages, attempts, bytes_up, bytes_down, ends, alone)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: batch_ends
UPDATE batch SET ends = ?, alone = ? WHERE lane = ?;
-- name: batch_spent
UPDATE batch SET attempts = ?, bytes_up = ?, bytes_down = ? WHERE lane = ?;
-- name: batch_charge
UPDATE message SET attempts = attempts + ?, max_attempts = max_attempts + 1, bytes_up = bytes_up + ?,
                   bytes_down = bytes_down + ?
WHERE seq = ?;
-- name: batch_drop
DELETE FROM batch WHERE lane = ?;
-- name: batch_seqs
SELECT seq FROM message WHERE lane = ? AND seq <= ? ORDER BY seq LIMIT ?;
-- name: batch_sizes
SELECT seq, topics, length(payload) + coalesce(length(topics), 0), boot, queued_mono, deadline - queued_at
FROM message WHERE lane = ? AND seq > ? ORDER BY seq LIMIT ?;

-- name: message_add
INSERT INTO message (seq, id, chosen, lane, payload, boot, queued_at, queued_mono, deadline, max_attempts,
                     reply_topic, correlation, at, stamp, topics)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: message_settle
UPDATE message SET at = ? WHERE seq = ?;
-- name: message_defer
UPDATE message SET attempts = ?, bytes_up = bytes_up + ?, bytes_down = bytes_down + ? WHERE seq = ?;
-- name: message_reply
UPDATE message SET reply_topic = ?, correlation = ? WHERE chosen = 1 AND id = ?;
-- name: message_get_reply
SELECT reply_topic, correlation FROM message WHERE seq = ?;
-- name: message_start
UPDATE message SET started = ? WHERE seq = ?;
-- name: message_started
SELECT seq FROM message WHERE started = 1;
-- name: message_drop
DELETE FROM message WHERE seq = ?;
-- name: message_full
SELECT lane.id, lane.names, lane.priority, m.seq, m.id, m.chosen, m.payload,
       m.queued_mono + coalesce(m.later, 0), m.attempts,
       m.max_attempts, m.bytes_up, m.bytes_down, m.reply_topic, m.correlation, m.boot,
       m.deadline - m.queued_at - coalesce(m.later, 0),
       m.at, m.stamp, m.topics, lane.endpoint
FROM message m JOIN lane ON lane.id = m.lane WHERE m.seq = ?;
-- name: message_seqs
SELECT seq FROM message WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?;
-- name: message_count
SELECT count(*) FROM message;
-- name: message_last
SELECT max(seq) FROM message;
-- name: message_oldest
SELECT seq, boot, queued_mono, later IS NOT NULL FROM message ORDER BY seq LIMIT 1;
-- name: message_head
SELECT seq, boot, queued_mono FROM message WHERE later IS NULL ORDER BY seq LIMIT ?;
-- name: message_stale
SELECT seq FROM message WHERE later IS NOT NULL AND boot = ? AND queued_mono + later <= ? LIMIT ?;
-- name: message_last_of
SELECT seq FROM message WHERE lane = ? AND topics IS ? ORDER BY seq DESC LIMIT ?;
-- name: message_renew
UPDATE message SET id = :id, chosen = :chosen, payload = :payload, attempts = 0, max_attempts = :max_attempts,
                   started = 0, bytes_up = 0, bytes_down = 0, reply_topic = :reply, correlation = :correlation,
                   at = :at, stamp = :stamp, later = :mono - queued_mono,
                   deadline = queued_at + (:mono - queued_mono) + :lifetime
WHERE seq = :seq;
-- The place of a message of an earlier boot in the clock of this one: it was taken before this boot.
-- name: message_reboot
UPDATE message SET boot = :boot, queued_mono = min(0.0, queued_mono + :shift),
                   queued_at = min(0.0, queued_mono + :shift) + :offset WHERE seq = :seq;
-- name: message_from
SELECT seq, boot, queued_mono FROM message WHERE seq >= ? AND later IS NULL ORDER BY seq LIMIT 1;
-- name: message_renewed_last
SELECT max(queued_mono + later) FROM message WHERE later IS NOT NULL AND boot = ?;
-- name: message_due
SELECT seq FROM message WHERE deadline IS NOT NULL AND boot = ? AND deadline - queued_at + queued_mono <= ?
ORDER BY deadline - queued_at + queued_mono LIMIT ?;
-- The wall times of a boot that never had the time are meaningless.
-- name: key_adopt
UPDATE chosen SET received_at = :now WHERE boot <> :boot AND received_at < :plausible;
-- name: key_adopt_ended
UPDATE ended SET received_at = :now WHERE boot <> :boot AND received_at < :plausible;
-- name: message_list
SELECT m.seq, m.id, lane.endpoint, coalesce(m.topics, lane.names), lane.priority, length(m.payload),
       m.queued_mono + coalesce(m.later, 0), m.attempts, m.deadline - m.queued_at - coalesce(m.later, 0),
       lane.not_before, m.boot, m.lane
FROM message m JOIN lane ON lane.id = m.lane WHERE m.seq > ? ORDER BY m.seq LIMIT ?;
-- name: depth_count
SELECT CASE endpoint WHEN 'cloud' THEN 'cloud' ELSE json_extract(endpoint, '$[0]') END AS channel, priority,
       count(*), sum(length(payload))
FROM message JOIN lane ON lane.id = message.lane WHERE message.seq > ? GROUP BY channel, priority;
-- name: sums_get
SELECT upto, value FROM sums WHERE id = 1;
-- name: sums_set
INSERT INTO sums (id, upto, value) VALUES (1, ?, ?)
ON CONFLICT DO UPDATE SET upto = excluded.upto, value = excluded.value;
-- name: sums_agree
SELECT upto, value, (SELECT count(*) FROM message WHERE seq <= upto) FROM sums WHERE id = 1;

-- name: escalation_add
INSERT OR REPLACE INTO escalation (seq, due) VALUES (?, ?);
-- name: escalation_drop
DELETE FROM escalation WHERE seq = ? RETURNING due;
-- name: escalation_due
SELECT seq FROM escalation WHERE due <= ? ORDER BY due LIMIT ?;
-- name: escalation_count
SELECT (SELECT count(*) FROM escalation), (SELECT count(*) FROM escalated);
-- name: escalated_add
INSERT OR REPLACE INTO escalated (seq, about) VALUES (?, ?);
-- name: escalated_drop
DELETE FROM escalated WHERE seq = ? RETURNING seq;
-- name: escalated_drop_about
DELETE FROM escalated WHERE about = ? RETURNING seq;
-- name: message_waits
SELECT 1 FROM message WHERE seq = ? AND started = 0;
-- name: message_rewrite
UPDATE message SET payload = ? WHERE seq = ?;

-- name: report_add
INSERT INTO report (seq, topic, payload, properties, retain) VALUES (?, ?, ?, ?, ?);
-- name: report_after
SELECT seq, topic, payload, properties, retain FROM report WHERE seq > ? ORDER BY seq LIMIT ?;
-- name: report_drop
DELETE FROM report WHERE seq BETWEEN ? AND ?
RETURNING length(payload) + length(topic) + coalesce(length(properties), 0);
-- name: report_last
SELECT max(seq) FROM report;
-- name: report_count
SELECT count(*) FROM report;
-- name: report_bytes
SELECT coalesce(sum(length(payload) + length(topic) + coalesce(length(properties), 0)), 0) FROM report;

-- name: report_get
SELECT seq, topic, payload, properties, retain FROM report WHERE seq = ?;

-- name: aside_add
INSERT INTO set_aside (kind, topic, payload, properties, retain, reason, at) VALUES (?, ?, ?, ?, ?, ?, ?);
-- name: aside_get
SELECT kind, topic, payload, properties, retain, reason, at FROM set_aside WHERE id = ?;
-- name: aside_first
SELECT min(id) FROM set_aside;
-- name: aside_last
SELECT max(id) FROM set_aside;
-- name: aside_list
SELECT id, kind, topic, length(payload), reason, at FROM set_aside ORDER BY id LIMIT ?;
-- name: aside_drop
DELETE FROM set_aside WHERE id = ?
RETURNING length(payload) + length(topic) + coalesce(length(properties), 0);
-- name: aside_sums
SELECT count(*), coalesce(sum(length(payload) + length(topic) + coalesce(length(properties), 0)), 0) FROM set_aside;

-- Table `chosen` holds the idempotency keys (the ids that producers chose) of queued messages, and from version 3
-- also some with a result; `ended` holds those with a result.
-- name: key_add
INSERT INTO chosen (id, boot, received_at) SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM ended WHERE id = ?1)
ON CONFLICT DO NOTHING;
-- name: key_queued
SELECT 1 FROM message WHERE chosen = 1 AND id = ?;
-- name: key_result
SELECT result FROM ended WHERE id = ?1 UNION ALL SELECT result FROM chosen WHERE id = ?1;
-- name: key_finish
DELETE FROM chosen WHERE id = ? AND result IS NULL RETURNING boot, received_at;
-- name: key_keep
INSERT INTO ended (id, boot, received_at, result) VALUES (?, ?, ?, ?);
-- name: key_ended
SELECT count(*), coalesce(sum(length(id) + length(result)), 0)
FROM (SELECT id, result FROM ended UNION ALL SELECT id, result FROM chosen WHERE result IS NOT NULL);
-- name: key_trim_old
DELETE FROM chosen WHERE id IN (SELECT id FROM chosen WHERE result IS NOT NULL ORDER BY received_at LIMIT ?)
RETURNING length(id) + length(result);
-- name: key_trim
DELETE FROM ended WHERE seq IN (SELECT seq FROM ended ORDER BY received_at LIMIT ?)
RETURNING length(id) + length(result);
-- name: key_orphans
DELETE FROM chosen WHERE result IS NULL AND id NOT IN (SELECT id FROM message WHERE chosen = 1)
AND 'command:' || id NOT IN (SELECT key FROM meta);
-- name: key_forget
DELETE FROM chosen WHERE id = ?;
-- name: key_expire_old
DELETE FROM chosen WHERE id IN (
    SELECT id FROM chosen WHERE result IS NOT NULL AND received_at <= max(:now, :earlier_now) - :age AND
    CASE boot WHEN :boot THEN received_at <= :now - :age ELSE received_at <= :earlier_now - :age END
    ORDER BY received_at LIMIT :limit)
RETURNING length(id) + length(result);
-- name: key_expire
DELETE FROM ended WHERE seq IN (
    SELECT seq FROM ended WHERE received_at <= max(:now, :earlier_now) - :age AND
    CASE boot WHEN :boot THEN received_at <= :now - :age ELSE received_at <= :earlier_now - :age END
    ORDER BY received_at LIMIT :limit)
RETURNING length(id) + length(result);
-- name: key_shift
UPDATE chosen SET received_at = received_at + :step WHERE boot = :boot;
-- name: key_shift_ended
UPDATE ended SET received_at = received_at + :step WHERE boot = :boot;

-- name: receipt_set
INSERT INTO receipt (slot, session, mid, digest) VALUES (?, ?, ?, ?);
-- name: receipt_trim
DELETE FROM receipt WHERE slot < ?;
-- name: receipt_all
SELECT slot, session, mid, digest FROM receipt ORDER BY slot;

-- name: usage_add
INSERT INTO usage (day, bytes_up, bytes_down, own, apart, link, texts) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET bytes_up = bytes_up + excluded.bytes_up, bytes_down = bytes_down + excluded.bytes_down,
    own = own + excluded.own, apart = apart + excluded.apart, link = link + excluded.link,
    texts = texts + excluded.texts;
-- name: usage_all
SELECT day, bytes_up, bytes_down, own, apart, link, texts FROM usage;
-- name: usage_trim
DELETE FROM usage WHERE day NOT IN (SELECT day FROM usage ORDER BY day DESC LIMIT ?);

-- name: meta_get
SELECT value FROM meta WHERE key = ?;
-- name: meta_set
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value;
-- name: meta_drop
DELETE FROM meta WHERE key = ?;
-- name: meta_get_like
SELECT key, value FROM meta WHERE key GLOB ?;

-- name: boot_find
SELECT id FROM boot WHERE boot_id = ?;
-- A boot's `lead` is its clock offset: wall time minus monotonic time.
-- name: boot_all
SELECT id, lead, known FROM boot;
-- Boots without rows; later messages are of later boots, but for those that took over a place.
-- name: boot_forget
DELETE FROM boot WHERE id < :boot
AND id < coalesce((SELECT boot FROM message WHERE later IS NULL ORDER BY seq LIMIT 1), :boot)
AND id < coalesce((SELECT min(boot) FROM message WHERE later IS NOT NULL), :boot)
AND id < coalesce((SELECT min(boot) FROM chosen), :boot) AND id < coalesce((SELECT min(boot) FROM ended), :boot);
-- name: boot_add
INSERT INTO boot (boot_id, lead) VALUES (?, ?);
-- name: boot_set
UPDATE boot SET lead = ? WHERE id = ?;
-- name: boot_know
UPDATE boot SET known = 1 WHERE id = ?;

-- After a recovery. The sums over rows are computed again at the next start; the counts are kept.
-- name: rebuild_sums
UPDATE sums SET upto = 0, value = json_remove(value, '$.depth', '$.reports', '$.ended');
-- After a recovery. The clock offset of a boot whose row was lost follows from its messages.
-- name: rebuild_boots
INSERT INTO boot (id, boot_id, lead)
SELECT boot, 'lost ' || boot, min(queued_at - queued_mono) FROM message
WHERE boot NOT IN (SELECT id FROM boot) GROUP BY boot;
-- After a recovery. Messages whose lane was lost go to the cloud under the topic "recovered".
-- name: rebuild_orphans
INSERT OR IGNORE INTO lane (endpoint, names, priority, head)
SELECT 'cloud', '["recovered"]', 1, min(seq) FROM message
WHERE lane NOT IN (SELECT id FROM lane) HAVING count(*) > 0;
-- name: rebuild_adopt
UPDATE message SET lane = (SELECT id FROM lane WHERE endpoint = 'cloud' AND names = '["recovered"]' AND priority = 1)
WHERE lane NOT IN (SELECT id FROM lane);
-- name: rebuild_heads
UPDATE lane SET not_before = 0, head = coalesce((SELECT min(seq) FROM message WHERE lane = lane.id), 0);
-- name: rebuild_empty
DELETE FROM lane WHERE head = 0;

-- name: text_part_add
INSERT INTO text_part (text, sender, reference, wide, total, number, sent_at, running, pdu)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: text_part_place
SELECT text, number, sent_at FROM text_part
WHERE sender = ? AND reference = ? AND wide = ? AND total = ? ORDER BY seq;
-- name: text_part_of
SELECT number, pdu FROM text_part WHERE text = ? ORDER BY number;
-- name: text_part_drop
DELETE FROM text_part WHERE text = ?;
-- name: text_part_old
SELECT text, min(sender), min(total), min(running) FROM text_part GROUP BY text
HAVING min(running) <= ? ORDER BY min(seq);
-- name: text_part_oldest
SELECT text, sender, total, running FROM text_part ORDER BY seq LIMIT 1;
-- name: text_part_count
SELECT count(*) FROM text_part;
-- name: text_seen_find
SELECT seq FROM text_seen WHERE fingerprint = ?;
-- name: text_seen_add
INSERT INTO text_seen (fingerprint, running) VALUES (?, ?);
-- name: text_seen_again
UPDATE text_seen SET seq = (SELECT max(seq) FROM text_seen) + 1, running = ? WHERE seq = ?;
-- name: text_seen_trim
DELETE FROM text_seen WHERE running <= ? OR seq <= (SELECT max(seq) FROM text_seen) - ?;
-- name: text_sent_add
INSERT INTO text_sent (reference, recipient, message, running) VALUES (?, ?, ?, ?);
-- name: text_sent_find
SELECT seq, recipient, message FROM text_sent WHERE reference = ? ORDER BY seq DESC;
-- name: text_sent_drop
DELETE FROM text_sent WHERE seq = ?;
-- name: text_sent_trim
DELETE FROM text_sent WHERE running <= ? OR seq <= (SELECT max(seq) FROM text_sent) - ?;
