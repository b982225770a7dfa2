-- Times are milliseconds since 1970 UTC, ids hyphenated UUIDs, hashes of blobs 64 hex digits. What a person typed is kept as
-- bytes of UTF-8, since a text can't hold NUL here.

CREATE TABLE service_state (
    key   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

-- Names this incarnation of the database; see protocol.md, Cursor.
INSERT INTO service_state (key, value) VALUES ('epoch', substr(md5(random()::TEXT || clock_timestamp()::TEXT), 1, 16));

-- One counter for each scope. Advancing it is the first statement of every writing transaction.
CREATE TABLE sync_scope (
    scope          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    seq            BIGINT NOT NULL DEFAULT 0,
    pruned_through BIGINT NOT NULL DEFAULT 0,
    epoch_no       BIGINT NOT NULL DEFAULT 0
);

-- The stretches of this database's life; one begins whenever the first process opens it (see epochs.rs).
CREATE TABLE epochs (
    no       BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     TEXT COLLATE "C" NOT NULL UNIQUE,
    began_at BIGINT NOT NULL
);

-- Where a scope's counter stood when an epoch first wrote to it.
CREATE TABLE epoch_marks (
    scope    TEXT COLLATE "C" NOT NULL,
    epoch_no BIGINT NOT NULL,
    seq      BIGINT NOT NULL,
    PRIMARY KEY (scope, epoch_no)
);

CREATE TABLE accounts (
    learner_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name          TEXT COLLATE "C" NOT NULL UNIQUE,
    display_name  TEXT COLLATE "C" NOT NULL,
    password_hash TEXT COLLATE "C" NOT NULL,
    quota_bytes   BIGINT,
    created_at    BIGINT NOT NULL
);

CREATE TABLE devices (
    device_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    learner_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (learner_id),
    name       TEXT COLLATE "C" NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL
);

CREATE TABLE access_tokens (
    token_hash BYTEA NOT NULL PRIMARY KEY,
    learner_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (learner_id),
    device_id  TEXT COLLATE "C" NOT NULL REFERENCES devices (device_id),
    expires_at BIGINT NOT NULL
);
CREATE INDEX access_tokens_by_device ON access_tokens (device_id);

CREATE TABLE refresh_tokens (
    token_hash  BYTEA NOT NULL PRIMARY KEY,
    learner_id  TEXT COLLATE "C" NOT NULL REFERENCES accounts (learner_id),
    device_id   TEXT COLLATE "C" NOT NULL REFERENCES devices (device_id),
    expires_at  BIGINT NOT NULL,
    replaced_at BIGINT
);
CREATE INDEX refresh_tokens_by_device ON refresh_tokens (device_id);

CREATE TABLE courses (
    course_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    key        TEXT COLLATE "C" NOT NULL UNIQUE,
    open       BOOLEAN NOT NULL,
    premium    BOOLEAN NOT NULL,
    position   BIGINT NOT NULL,
    body       TEXT COLLATE "C" NOT NULL,
    seq        BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);

-- A row is a period: an enrolment that was ended and begun again has two.
CREATE TABLE enrolments (
    id         BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    learner_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (learner_id),
    course_id  TEXT COLLATE "C" NOT NULL REFERENCES courses (course_id),
    role       TEXT COLLATE "C" NOT NULL,
    starts_at  BIGINT NOT NULL,
    expires_at BIGINT,
    ended_at   BIGINT,
    seq        BIGINT NOT NULL
);
CREATE UNIQUE INDEX enrolments_current ON enrolments (learner_id, course_id) WHERE ended_at IS NULL;
CREATE INDEX enrolments_by_learner ON enrolments (learner_id, seq);

CREATE TABLE units (
    unit_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    course_id  TEXT COLLATE "C" NOT NULL REFERENCES courses (course_id),
    key        TEXT COLLATE "C" NOT NULL,
    position   BIGINT NOT NULL,
    body       TEXT COLLATE "C" NOT NULL,
    seq        BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    UNIQUE (course_id, key)
);
CREATE INDEX units_by_seq ON units (course_id, seq);

CREATE TABLE lessons (
    lesson_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    course_id    TEXT COLLATE "C" NOT NULL REFERENCES courses (course_id),
    unit_id      TEXT COLLATE "C" NOT NULL REFERENCES units (unit_id),
    key          TEXT COLLATE "C" NOT NULL,
    kind         TEXT COLLATE "C" NOT NULL,
    max_position BIGINT,
    deleted_at   BIGINT,
    UNIQUE (course_id, key)
);
CREATE INDEX lessons_by_unit ON lessons (unit_id);

CREATE TABLE blobs (
    hash   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    size   BIGINT NOT NULL,
    mime   TEXT COLLATE "C" NOT NULL,
    pieces BYTEA NOT NULL
);

CREATE TABLE assets (
    asset_id   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    course_id  TEXT COLLATE "C" NOT NULL REFERENCES courses (course_id),
    unit_id    TEXT COLLATE "C"    REFERENCES units (unit_id),
    lesson_id  TEXT COLLATE "C",
    key        TEXT COLLATE "C" NOT NULL,
    body       TEXT COLLATE "C" NOT NULL,
    deleted_at BIGINT,
    UNIQUE (course_id, key)
);
CREATE INDEX assets_by_unit ON assets (unit_id);

CREATE TABLE renditions (
    asset_id TEXT COLLATE "C" NOT NULL REFERENCES assets (asset_id),
    quality  TEXT COLLATE "C" NOT NULL,
    hash     TEXT COLLATE "C" NOT NULL REFERENCES blobs (hash),
    PRIMARY KEY (asset_id, quality)
);
CREATE INDEX renditions_by_hash ON renditions (hash);

CREATE TABLE tombstones (
    scope      TEXT COLLATE "C" NOT NULL,
    seq        BIGINT NOT NULL,
    entity     TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    deleted_at BIGINT NOT NULL,
    PRIMARY KEY (scope, entity, id)
);
CREATE INDEX tombstones_by_seq ON tombstones (scope, seq);

-- What was pushed, by its idempotency key.
CREATE TABLE op_log (
    device_id    TEXT COLLATE "C" NOT NULL,
    op_seq       BIGINT NOT NULL,
    learner_id   TEXT COLLATE "C" NOT NULL,
    kind         TEXT COLLATE "C" NOT NULL,
    entity_id    TEXT COLLATE "C" NOT NULL,
    content_hash BYTEA NOT NULL,
    outcome      TEXT COLLATE "C" NOT NULL,
    received_at  BIGINT NOT NULL,
    PRIMARY KEY (device_id, op_seq)
);

-- The audit: every op that was judged, with both times (requirement B2).
CREATE TABLE sync_log (
    id           BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    learner_id   TEXT COLLATE "C" NOT NULL,
    device_id    TEXT COLLATE "C" NOT NULL,
    op_seq       BIGINT NOT NULL,
    entity       TEXT COLLATE "C" NOT NULL,
    entity_id    TEXT COLLATE "C" NOT NULL,
    action       TEXT COLLATE "C" NOT NULL,
    data         TEXT COLLATE "C" NOT NULL,
    outcome      TEXT COLLATE "C" NOT NULL,
    device_at    BIGINT NOT NULL,
    effective_at BIGINT NOT NULL,
    received_at  BIGINT NOT NULL
);
CREATE INDEX sync_log_by_learner ON sync_log (learner_id, id);

CREATE TABLE progress (
    learner_id         TEXT COLLATE "C" NOT NULL,
    lesson_id          TEXT COLLATE "C" NOT NULL,
    attempt            BIGINT NOT NULL,
    status             TEXT COLLATE "C" NOT NULL,
    percent            BIGINT NOT NULL,
    completed_at       BIGINT,
    position           BIGINT,
    position_at        BIGINT,
    position_device_id TEXT COLLATE "C",
    position_op_seq    BIGINT,
    seq                BIGINT NOT NULL,
    PRIMARY KEY (learner_id, lesson_id, attempt)
);
CREATE INDEX progress_by_seq ON progress (learner_id, seq);

CREATE TABLE sessions (
    session_id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    learner_id       TEXT COLLATE "C" NOT NULL,
    lesson_id        TEXT COLLATE "C" NOT NULL,
    attempt          BIGINT NOT NULL,
    kind             TEXT COLLATE "C" NOT NULL,
    status           TEXT COLLATE "C" NOT NULL,
    status_at        BIGINT NOT NULL,
    status_device_id TEXT COLLATE "C" NOT NULL,
    status_op_seq    BIGINT NOT NULL,
    started_at       BIGINT NOT NULL,
    ended_at         BIGINT,
    answered         BIGINT NOT NULL,
    correct          BIGINT NOT NULL,
    points           BIGINT NOT NULL,
    max_points       BIGINT NOT NULL,
    duration_ms      BIGINT NOT NULL,
    seq              BIGINT NOT NULL
);
CREATE INDEX sessions_by_seq ON sessions (learner_id, seq);

CREATE TABLE answers (
    device_id   TEXT COLLATE "C" NOT NULL,
    op_seq      BIGINT NOT NULL,
    learner_id  TEXT COLLATE "C" NOT NULL,
    session_id  TEXT COLLATE "C" NOT NULL,
    lesson_id   TEXT COLLATE "C" NOT NULL,
    question_id BYTEA NOT NULL,
    response    TEXT COLLATE "C" NOT NULL,
    answered_at BIGINT NOT NULL,
    seq         BIGINT NOT NULL,
    PRIMARY KEY (device_id, op_seq)
);
CREATE INDEX answers_by_seq ON answers (learner_id, seq);

CREATE TABLE bookmarks (
    bookmark_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    learner_id  TEXT COLLATE "C" NOT NULL,
    lesson_id   TEXT COLLATE "C" NOT NULL,
    position    BIGINT NOT NULL,
    note        BYTEA NOT NULL,
    deleted     BOOLEAN NOT NULL,
    written_at  BIGINT NOT NULL,
    device_id   TEXT COLLATE "C" NOT NULL,
    op_seq      BIGINT NOT NULL,
    seq         BIGINT NOT NULL
);
CREATE INDEX bookmarks_by_seq ON bookmarks (learner_id, seq);

-- What devices say they keep (requirement B3).
CREATE TABLE downloads (
    download_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    learner_id  TEXT COLLATE "C" NOT NULL,
    device_id   TEXT COLLATE "C" NOT NULL,
    unit_id     TEXT COLLATE "C" NOT NULL,
    state       TEXT COLLATE "C" NOT NULL,
    quality     TEXT COLLATE "C" NOT NULL,
    bytes       BIGINT NOT NULL,
    deleted     BOOLEAN NOT NULL,
    reported_at BIGINT NOT NULL,
    op_seq      BIGINT NOT NULL
);
CREATE INDEX downloads_by_learner ON downloads (learner_id, device_id);

CREATE TABLE storage_usage (
    learner_id TEXT COLLATE "C" NOT NULL,
    device_id  TEXT COLLATE "C" NOT NULL,
    bytes      BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (learner_id, device_id)
);
