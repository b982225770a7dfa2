-- Room `outbox`: what a device that was cloned or restored needs, and what a service that was put back to a backup is told
-- again.

-- The service has another content under this key: it waits for a new one.
ALTER TABLE outbox ADD COLUMN regressed INTEGER NOT NULL DEFAULT 0 CHECK (regressed IN (0, 1));

-- The id the event was written under; with `seq` its key. Those of before this column were written under the id that the
-- profile has, or under one that nobody can speak for any more.
ALTER TABLE events ADD COLUMN device_id TEXT NOT NULL DEFAULT '';
UPDATE events SET device_id = coalesce(
    (SELECT o.device_id FROM outbox o WHERE o.profile_id = events.profile_id AND o.seq = events.seq),
    (SELECT p.device_id FROM profiles p WHERE p.id = events.profile_id), '');
