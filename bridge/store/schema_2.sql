-- Version 2. A row of `message` never changes with the clock: `queued_at` is what the wall clock showed then, and
-- `deadline` is in the same reckoning, so what counts is their distance. When it was queued is `queued_mono` plus
-- the `lead` of its boot, the one value that moves when the wall clock steps.
DROP INDEX message_deadline;
CREATE INDEX message_deadline ON message (boot, deadline - queued_at + queued_mono) WHERE deadline IS NOT NULL;

-- Version 1 wrote the time into the rows of a boot that never had it; its lead has to agree with them.
UPDATE boot SET lead = coalesce((SELECT min(queued_at - queued_mono) FROM message WHERE boot = boot.id), lead)
WHERE lead < 1672531200;
