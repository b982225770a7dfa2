-- Rooms `access` and `sync`: who learns on this device, and how far each has been synchronised.

CREATE TABLE profiles (
    id            TEXT    NOT NULL PRIMARY KEY,
    learner_id    TEXT    NOT NULL,
    -- Without a slash at the end.
    service_url   TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    display_name  TEXT    NOT NULL,
    -- With `seq` the idempotency key of what this learner does on this device.
    device_id     TEXT    NOT NULL,
    next_seq      INTEGER NOT NULL DEFAULT 1,
    -- The device's stamps never run backwards: the last one given out.
    last_stamp_at INTEGER NOT NULL DEFAULT 0,
    signed_in     INTEGER NOT NULL DEFAULT 0 CHECK (signed_in IN (0, 1)),
    -- Signed out with writes kept: not shown until the learner signs in again.
    left_at       INTEGER,
    used_at       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    UNIQUE (service_url, learner_id)
) STRICT;

CREATE TABLE leases (
    profile_id TEXT NOT NULL PRIMARY KEY REFERENCES profiles (id) ON DELETE CASCADE,
    -- JSON: the signed lease, as it came.
    lease      TEXT NOT NULL,
    -- JSON: the service's public keys as pinned at the first sign-in.
    keys       TEXT NOT NULL
) STRICT;

-- One value by name, for the whole installation: trusted time.
CREATE TABLE metadata (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE sync_state (
    profile_id          TEXT    NOT NULL PRIMARY KEY REFERENCES profiles (id) ON DELETE CASCADE,
    -- Opaque; none: from the beginning.
    units_cursor        TEXT,
    units_fetched_at    INTEGER,
    -- Rows seen in a full pull carry its number; what has an older one at its end is swept.
    units_generation    INTEGER NOT NULL DEFAULT 1,
    units_sweep         INTEGER NOT NULL DEFAULT 0 CHECK (units_sweep IN (0, 1)),
    records_cursor      TEXT,
    records_generation  INTEGER NOT NULL DEFAULT 1,
    records_sweep       INTEGER NOT NULL DEFAULT 0 CHECK (records_sweep IN (0, 1)),
    last_success_at     INTEGER,
    last_error          TEXT,
    -- How often the catalogue was found to differ from the service's and was pulled anew.
    checksum_mismatches INTEGER NOT NULL DEFAULT 0
) STRICT;
