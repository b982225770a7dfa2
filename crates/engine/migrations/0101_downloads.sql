-- Room `downloads`: the queue, what each download consists of, and what streaming keeps.

CREATE TABLE downloads (
    id                TEXT    NOT NULL PRIMARY KEY,
    profile_id        TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    course_id         TEXT    NOT NULL,
    unit_id           TEXT    NOT NULL,
    -- Empty: the whole unit.
    lesson_id         TEXT    NOT NULL DEFAULT '',
    -- As they were when it was asked for, so that the record reads well after the unit is gone.
    title             TEXT    NOT NULL,
    accent            TEXT    NOT NULL,
    cover_asset_id    TEXT,
    course_is_open    INTEGER NOT NULL DEFAULT 0 CHECK (course_is_open IN (0, 1)),
    quality           TEXT    NOT NULL,
    state             TEXT    NOT NULL,
    wait_reason       TEXT,
    error             TEXT,
    priority          INTEGER NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 10),
    position          INTEGER NOT NULL,
    -- The set of items being fetched, and the one that can be opened (0: none yet). They differ while another quality or
    -- a newer version comes in; the old one stays usable until the new one is verified.
    generation        INTEGER NOT NULL DEFAULT 1,
    usable_generation INTEGER NOT NULL DEFAULT 0,
    bytes_total       INTEGER NOT NULL DEFAULT 0,
    -- Rounds that failed since the last success, and when the next one may begin.
    round             INTEGER NOT NULL DEFAULT 0,
    retry_at          INTEGER,
    retry_reason      TEXT,
    created_at        INTEGER NOT NULL,
    completed_at      INTEGER,
    expires_at        INTEGER,
    -- Soft deletion: the record stays; items are released when the time for undoing is over.
    deleted_at        INTEGER,
    deleted_reason    TEXT,
    released_at       INTEGER
) STRICT;

-- One record for what a learner asked for, besides deleted ones.
CREATE UNIQUE INDEX downloads_by_wish ON downloads (profile_id, unit_id, lesson_id) WHERE deleted_at IS NULL;
CREATE INDEX downloads_queue ON downloads (priority DESC, position) WHERE deleted_at IS NULL;

-- An asset of a download and the blob it is. One blob may serve several assets, one asset several lessons.
CREATE TABLE download_items (
    download_id TEXT    NOT NULL REFERENCES downloads (id) ON DELETE CASCADE,
    profile_id  TEXT    NOT NULL,
    generation  INTEGER NOT NULL,
    asset_id    TEXT    NOT NULL,
    -- Empty: belongs to the unit as a whole (its cover).
    lesson_id   TEXT    NOT NULL DEFAULT '',
    hash        TEXT    NOT NULL REFERENCES blobs (hash),
    kind        TEXT    NOT NULL,
    quality     TEXT    NOT NULL,
    mime        TEXT    NOT NULL,
    -- Order of fetching within the download.
    ordinal     INTEGER NOT NULL,
    PRIMARY KEY (download_id, generation, asset_id, lesson_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX download_items_by_hash ON download_items (hash);
CREATE INDEX download_items_by_asset ON download_items (profile_id, asset_id);

-- Small assets that were opened without being downloaded: covers, captions, pages (requirement C4).
CREATE TABLE cache_entries (
    profile_id TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    asset_id   TEXT    NOT NULL,
    quality    TEXT    NOT NULL,
    hash       TEXT    NOT NULL REFERENCES blobs (hash),
    mime       TEXT    NOT NULL,
    -- Empty: a course's.
    unit_id    TEXT    NOT NULL DEFAULT '',
    -- Empty: a cover.
    lesson_id  TEXT    NOT NULL DEFAULT '',
    used_at    INTEGER NOT NULL,
    deleted_at INTEGER,
    PRIMARY KEY (profile_id, asset_id, quality)
) STRICT, WITHOUT ROWID;

CREATE INDEX cache_entries_by_hash ON cache_entries (hash);

-- When a unit was last opened, by learner.
CREATE TABLE unit_openings (
    profile_id TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    unit_id    TEXT    NOT NULL,
    opened_at  INTEGER NOT NULL,
    PRIMARY KEY (profile_id, unit_id)
) STRICT, WITHOUT ROWID;

-- Every reason a blob has to be on this device. A blob goes when nothing in here names it.
CREATE VIEW blob_refs AS
    SELECT hash, profile_id, 'download' AS holder, download_id AS holder_id FROM download_items
    UNION ALL
    SELECT hash, profile_id, 'cache' AS holder, asset_id AS holder_id FROM cache_entries;
