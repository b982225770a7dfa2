-- Room `downloads`: 50,000 items are written in a second.
--
-- Items get a rowid: their indexes then name a row by a number and not by four texts, which is what most of the writing was.
-- The rest of the table is as it was.

DROP VIEW blob_refs;
DROP TRIGGER blobs_come_and_go;
DROP TRIGGER blobs_grow;

CREATE TABLE download_items_by_rowid (
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
    -- The first item of its download and generation that is this blob: each blob counts and is fetched once.
    leads       INTEGER NOT NULL DEFAULT 1,
    -- Its blob is not whole on disk.
    missing     INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (download_id, generation, asset_id, lesson_id)
) STRICT;

INSERT INTO download_items_by_rowid (download_id, profile_id, generation, asset_id, lesson_id, hash, kind, quality, mime,
                                     ordinal, leads, missing)
SELECT download_id, profile_id, generation, asset_id, lesson_id, hash, kind, quality, mime, ordinal, leads, missing
FROM download_items ORDER BY download_id, generation, ordinal;
DROP TABLE download_items;
ALTER TABLE download_items_by_rowid RENAME TO download_items;

CREATE INDEX download_items_by_hash ON download_items (hash);
CREATE INDEX download_items_by_asset ON download_items (asset_id);
CREATE INDEX download_items_wanted ON download_items (download_id, generation, ordinal) WHERE leads = 1 AND missing = 1;

CREATE TRIGGER items_let_go AFTER DELETE ON download_items
BEGIN
    INSERT INTO blobs_let_go (hash) VALUES (old.hash) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER blobs_come_and_go AFTER UPDATE OF state ON blobs WHEN new.state <> old.state
BEGIN
    UPDATE download_items SET missing = (new.state <> 'present') WHERE hash = new.hash;
    UPDATE downloads SET blobs_missing = blobs_missing + CASE new.state WHEN 'present' THEN -1 ELSE 1 END
    FROM (SELECT DISTINCT download_id, generation FROM download_items WHERE hash = new.hash) i
    WHERE downloads.id = i.download_id AND downloads.generation = i.generation;
END;

CREATE TRIGGER blobs_grow AFTER UPDATE OF verified_bytes ON blobs WHEN new.verified_bytes <> old.verified_bytes
BEGIN
    UPDATE downloads SET bytes_done = bytes_done + new.verified_bytes - old.verified_bytes
    FROM (SELECT DISTINCT download_id, generation FROM download_items WHERE hash = new.hash) i
    WHERE downloads.id = i.download_id AND downloads.generation = i.generation;
END;

CREATE VIEW blob_refs AS
    SELECT hash, profile_id, 'download' AS holder, download_id AS holder_id FROM download_items
    UNION ALL
    SELECT hash, profile_id, 'cache' AS holder, asset_id AS holder_id FROM cache_entries;

-- Its items are being written, in several transactions: what a crash leaves so is no download yet.
ALTER TABLE downloads ADD COLUMN expanding INTEGER NOT NULL DEFAULT 0 CHECK (expanding IN (0, 1));
CREATE INDEX downloads_expanding ON downloads (id) WHERE expanding = 1;
