-- Room `outbox`: how much waits is asked with every change, and the next batch is taken from what waits alone, however much
-- is acknowledged and not pulled yet.

CREATE INDEX outbox_by_state ON outbox (profile_id, state);
