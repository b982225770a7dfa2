-- Room `storage`: what a learner wants to keep, by which rules room is made for them, and what was deleted, by whom and why.

CREATE TABLE pinned_units (
    profile_id TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    unit_id    TEXT    NOT NULL,
    pinned_at  INTEGER NOT NULL,
    PRIMARY KEY (profile_id, unit_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE clean_up_rules (
    profile_id TEXT NOT NULL PRIMARY KEY REFERENCES profiles (id) ON DELETE CASCADE,
    -- JSON; an absent field has its default.
    rules      TEXT NOT NULL
) STRICT;

CREATE TABLE cleanup_log (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    profile_id TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    at         INTEGER NOT NULL,
    unit_id    TEXT    NOT NULL,
    -- As it was then: the unit may be gone from the catalogue.
    title      TEXT    NOT NULL,
    -- learner, rules, service.
    by_whom    TEXT    NOT NULL,
    why        TEXT    NOT NULL,
    -- What it alone of its deletion freed: the entries of one deletion add up to what that freed.
    bytes      INTEGER NOT NULL,
    -- Until then it could be taken back; none: not at all.
    undo_until INTEGER,
    undone_at  INTEGER
) STRICT;

CREATE INDEX cleanup_log_of_profile ON cleanup_log (profile_id, id);

-- What a limit on the store is compared with, without reading rows.
CREATE INDEX blobs_present ON blobs (size) WHERE state = 'present';
