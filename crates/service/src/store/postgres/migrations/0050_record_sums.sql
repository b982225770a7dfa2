-- Running checksums of a learner's rows, each 32 hex digits; missing until the learner's next push.
CREATE TABLE record_sums (
    learner_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    shape      BIGINT NOT NULL,
    progress   TEXT COLLATE "C" NOT NULL,
    sessions   TEXT COLLATE "C" NOT NULL,
    answers    TEXT COLLATE "C" NOT NULL,
    bookmarks  TEXT COLLATE "C" NOT NULL
);
