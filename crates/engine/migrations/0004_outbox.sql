-- Room `outbox`: writes that are to be sent. A row goes only when the service has it and its effect was pulled, or by the
-- learner's explicit choice.

CREATE TABLE outbox (
    profile_id      TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    -- With the device the idempotency key.
    seq             INTEGER NOT NULL,
    device_id       TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    entity_id       TEXT    NOT NULL,
    -- The lesson it speaks of; none for a download.
    lesson_id       TEXT,
    -- The unit, where it is known: lessons by the catalogue, downloads by their payload.
    unit_id         TEXT,
    -- The device's time, as it will be sent.
    at              INTEGER NOT NULL,
    payload         TEXT    NOT NULL,
    -- waiting: to be sent. acked: the service has it, its effect is not pulled yet. refused: dead letter.
    state           TEXT    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'acked', 'refused')),
    -- It left this device at least once, so it may be at the service: never changed again.
    sent_once       INTEGER NOT NULL DEFAULT 0 CHECK (sent_once IN (0, 1)),
    -- Part of the request that is under way now.
    in_flight       INTEGER NOT NULL DEFAULT 0 CHECK (in_flight IN (0, 1)),
    -- How often the service answered "not now".
    attempts        INTEGER NOT NULL DEFAULT 0,
    not_before      INTEGER NOT NULL DEFAULT 0,
    last_error      TEXT,
    rejected        TEXT,
    rejected_detail TEXT,
    PRIMARY KEY (profile_id, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX outbox_by_lesson ON outbox (profile_id, lesson_id);
CREATE INDEX outbox_by_unit ON outbox (profile_id, unit_id);
CREATE INDEX outbox_by_entity ON outbox (profile_id, entity_id, seq);
