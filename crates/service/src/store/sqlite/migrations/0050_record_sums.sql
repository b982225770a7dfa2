-- Running checksums of a learner's rows, each 32 hex digits; missing until the learner's next push.
CREATE TABLE record_sums (
    learner_id TEXT    NOT NULL PRIMARY KEY,
    shape      INTEGER NOT NULL,
    progress   TEXT    NOT NULL,
    sessions   TEXT    NOT NULL,
    answers    TEXT    NOT NULL,
    bookmarks  TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
