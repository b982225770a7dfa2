-- Times are milliseconds since 1970 UTC, ids hyphenated UUIDs, hashes of blobs 64 hex digits.

CREATE TABLE service_state (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Names this incarnation of the database; see protocol.md, Cursor.
INSERT INTO service_state (key, value) VALUES ('epoch', lower(hex(randomblob(8))));

-- One counter for each scope. Advancing it is the first statement of every writing transaction.
CREATE TABLE sync_scope (
    scope          TEXT    NOT NULL PRIMARY KEY,
    seq            INTEGER NOT NULL DEFAULT 0,
    pruned_through INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE accounts (
    learner_id    TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    display_name  TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,
    quota_bytes   INTEGER,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE devices (
    device_id  TEXT    NOT NULL PRIMARY KEY,
    learner_id TEXT    NOT NULL REFERENCES accounts (learner_id),
    name       TEXT    NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL
) STRICT;

CREATE TABLE access_tokens (
    token_hash BLOB    NOT NULL PRIMARY KEY,
    learner_id TEXT    NOT NULL REFERENCES accounts (learner_id),
    device_id  TEXT    NOT NULL REFERENCES devices (device_id),
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX access_tokens_by_device ON access_tokens (device_id);

CREATE TABLE refresh_tokens (
    token_hash  BLOB    NOT NULL PRIMARY KEY,
    learner_id  TEXT    NOT NULL REFERENCES accounts (learner_id),
    device_id   TEXT    NOT NULL REFERENCES devices (device_id),
    expires_at  INTEGER NOT NULL,
    replaced_at INTEGER
) STRICT;
CREATE INDEX refresh_tokens_by_device ON refresh_tokens (device_id);

CREATE TABLE courses (
    course_id  TEXT    NOT NULL PRIMARY KEY,
    key        TEXT    NOT NULL UNIQUE,
    open       INTEGER NOT NULL,
    premium    INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    body       TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;

-- A row is a period: an enrolment that was ended and begun again has two.
CREATE TABLE enrolments (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    learner_id TEXT    NOT NULL REFERENCES accounts (learner_id),
    course_id  TEXT    NOT NULL REFERENCES courses (course_id),
    role       TEXT    NOT NULL,
    starts_at  INTEGER NOT NULL,
    expires_at INTEGER,
    ended_at   INTEGER,
    seq        INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX enrolments_current ON enrolments (learner_id, course_id) WHERE ended_at IS NULL;
CREATE INDEX enrolments_by_learner ON enrolments (learner_id, seq);

CREATE TABLE units (
    unit_id    TEXT    NOT NULL PRIMARY KEY,
    course_id  TEXT    NOT NULL REFERENCES courses (course_id),
    key        TEXT    NOT NULL,
    position   INTEGER NOT NULL,
    body       TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    UNIQUE (course_id, key)
) STRICT;
CREATE INDEX units_by_seq ON units (course_id, seq);

CREATE TABLE lessons (
    lesson_id    TEXT    NOT NULL PRIMARY KEY,
    course_id    TEXT    NOT NULL REFERENCES courses (course_id),
    unit_id      TEXT    NOT NULL REFERENCES units (unit_id),
    key          TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    max_position INTEGER,
    deleted_at   INTEGER,
    UNIQUE (course_id, key)
) STRICT;
CREATE INDEX lessons_by_unit ON lessons (unit_id);

CREATE TABLE blobs (
    hash   TEXT    NOT NULL PRIMARY KEY,
    size   INTEGER NOT NULL,
    mime   TEXT    NOT NULL,
    pieces BLOB    NOT NULL
) STRICT;

CREATE TABLE assets (
    asset_id   TEXT    NOT NULL PRIMARY KEY,
    course_id  TEXT    NOT NULL REFERENCES courses (course_id),
    unit_id    TEXT    REFERENCES units (unit_id),
    lesson_id  TEXT,
    key        TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    deleted_at INTEGER,
    UNIQUE (course_id, key)
) STRICT;
CREATE INDEX assets_by_unit ON assets (unit_id);

CREATE TABLE renditions (
    asset_id TEXT NOT NULL REFERENCES assets (asset_id),
    quality  TEXT NOT NULL,
    hash     TEXT NOT NULL REFERENCES blobs (hash),
    PRIMARY KEY (asset_id, quality)
) STRICT, WITHOUT ROWID;
CREATE INDEX renditions_by_hash ON renditions (hash);

CREATE TABLE tombstones (
    scope      TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    entity     TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    deleted_at INTEGER NOT NULL,
    PRIMARY KEY (scope, entity, id)
) STRICT;
CREATE INDEX tombstones_by_seq ON tombstones (scope, seq);

-- What was pushed, by its idempotency key.
CREATE TABLE op_log (
    device_id    TEXT    NOT NULL,
    op_seq       INTEGER NOT NULL,
    learner_id   TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    entity_id    TEXT    NOT NULL,
    content_hash BLOB    NOT NULL,
    outcome      TEXT    NOT NULL,
    received_at  INTEGER NOT NULL,
    PRIMARY KEY (device_id, op_seq)
) STRICT, WITHOUT ROWID;

-- The audit: every op that was judged, with both times (requirement B2).
CREATE TABLE sync_log (
    id           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    learner_id   TEXT    NOT NULL,
    device_id    TEXT    NOT NULL,
    op_seq       INTEGER NOT NULL,
    entity       TEXT    NOT NULL,
    entity_id    TEXT    NOT NULL,
    action       TEXT    NOT NULL,
    data         TEXT    NOT NULL,
    outcome      TEXT    NOT NULL,
    device_at    INTEGER NOT NULL,
    effective_at INTEGER NOT NULL,
    received_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX sync_log_by_learner ON sync_log (learner_id, id);

CREATE TABLE progress (
    learner_id         TEXT    NOT NULL,
    lesson_id          TEXT    NOT NULL,
    attempt            INTEGER NOT NULL,
    status             TEXT    NOT NULL,
    percent            INTEGER NOT NULL,
    completed_at       INTEGER,
    position           INTEGER,
    position_at        INTEGER,
    position_device_id TEXT,
    position_op_seq    INTEGER,
    seq                INTEGER NOT NULL,
    PRIMARY KEY (learner_id, lesson_id, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX progress_by_seq ON progress (learner_id, seq);

CREATE TABLE sessions (
    session_id       TEXT    NOT NULL PRIMARY KEY,
    learner_id       TEXT    NOT NULL,
    lesson_id        TEXT    NOT NULL,
    attempt          INTEGER NOT NULL,
    kind             TEXT    NOT NULL,
    status           TEXT    NOT NULL,
    status_at        INTEGER NOT NULL,
    status_device_id TEXT    NOT NULL,
    status_op_seq    INTEGER NOT NULL,
    started_at       INTEGER NOT NULL,
    ended_at         INTEGER,
    answered         INTEGER NOT NULL,
    correct          INTEGER NOT NULL,
    points           INTEGER NOT NULL,
    max_points       INTEGER NOT NULL,
    duration_ms      INTEGER NOT NULL,
    seq              INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_seq ON sessions (learner_id, seq);

CREATE TABLE answers (
    device_id   TEXT    NOT NULL,
    op_seq      INTEGER NOT NULL,
    learner_id  TEXT    NOT NULL,
    session_id  TEXT    NOT NULL,
    lesson_id   TEXT    NOT NULL,
    question_id TEXT    NOT NULL,
    response    TEXT    NOT NULL,
    answered_at INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    PRIMARY KEY (device_id, op_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_by_seq ON answers (learner_id, seq);
CREATE INDEX answers_by_session ON answers (session_id);

CREATE TABLE bookmarks (
    bookmark_id TEXT    NOT NULL PRIMARY KEY,
    learner_id  TEXT    NOT NULL,
    lesson_id   TEXT    NOT NULL,
    position    INTEGER NOT NULL,
    note        TEXT    NOT NULL,
    deleted     INTEGER NOT NULL,
    written_at  INTEGER NOT NULL,
    device_id   TEXT    NOT NULL,
    op_seq      INTEGER NOT NULL,
    seq         INTEGER NOT NULL
) STRICT;
CREATE INDEX bookmarks_by_seq ON bookmarks (learner_id, seq);

-- What devices say they keep (requirement B3).
CREATE TABLE downloads (
    download_id TEXT    NOT NULL PRIMARY KEY,
    learner_id  TEXT    NOT NULL,
    device_id   TEXT    NOT NULL,
    unit_id     TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    quality     TEXT    NOT NULL,
    bytes       INTEGER NOT NULL,
    deleted     INTEGER NOT NULL,
    reported_at INTEGER NOT NULL,
    op_seq      INTEGER NOT NULL
) STRICT;
CREATE INDEX downloads_by_learner ON downloads (learner_id, device_id);

CREATE TABLE storage_usage (
    learner_id TEXT    NOT NULL,
    device_id  TEXT    NOT NULL,
    bytes      INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (learner_id, device_id)
) STRICT, WITHOUT ROWID;
