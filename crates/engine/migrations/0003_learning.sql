-- Room `learning`: what learners did. `events` is this device's own record; the other tables are the service's word, as
-- pulled. What a learner sees is that word joined with what waits in the outbox.

CREATE TABLE events (
    profile_id  TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    seq         INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    entity_id   TEXT    NOT NULL,
    lesson_id   TEXT,
    at          INTEGER NOT NULL,
    payload     TEXT    NOT NULL,
    PRIMARY KEY (profile_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE progress (
    profile_id      TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    lesson_id       TEXT    NOT NULL,
    attempt         INTEGER NOT NULL,
    status          TEXT    NOT NULL,
    percent         INTEGER NOT NULL,
    completed_at    INTEGER,
    position        INTEGER,
    position_at     INTEGER,
    position_device TEXT,
    position_seq    INTEGER,
    generation      INTEGER NOT NULL,
    PRIMARY KEY (profile_id, lesson_id, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    profile_id TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    id         TEXT    NOT NULL,
    lesson_id  TEXT    NOT NULL,
    -- JSON: the session, whole.
    session    TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (profile_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_of_lesson ON sessions (profile_id, lesson_id);

CREATE TABLE answers (
    profile_id TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    device_id  TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    session_id TEXT    NOT NULL,
    -- JSON: the answer, whole.
    answer     TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (profile_id, device_id, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX answers_of_session ON answers (profile_id, session_id);

CREATE TABLE bookmarks (
    profile_id TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    id         TEXT    NOT NULL,
    lesson_id  TEXT    NOT NULL,
    -- JSON: the bookmark, whole.
    bookmark   TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (profile_id, id)
) STRICT, WITHOUT ROWID;
