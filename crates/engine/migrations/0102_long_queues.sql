-- Room `downloads`: what a long queue needs so that nothing has to read all of it.
--
-- Counters and marks are kept by triggers, in the transaction of the change itself: whoever puts a blob in its place or
-- takes it back can't forget them, and a crash can't come between.

-- Of the generation being fetched: bytes of verified pieces, and blobs that are not whole on disk. 0 missing is complete.
ALTER TABLE downloads ADD COLUMN bytes_done INTEGER NOT NULL DEFAULT 0;
ALTER TABLE downloads ADD COLUMN blobs_missing INTEGER NOT NULL DEFAULT 0;

-- The first item of its download and generation that is this blob: each blob counts and is fetched once.
ALTER TABLE download_items ADD COLUMN leads INTEGER NOT NULL DEFAULT 1;
-- Its blob is not whole on disk.
ALTER TABLE download_items ADD COLUMN missing INTEGER NOT NULL DEFAULT 1;

-- Blobs that lost a reference since the last sweep: only they can have become needless.
CREATE TABLE blobs_let_go (
    hash TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

UPDATE download_items SET missing = (SELECT b.state <> 'present' FROM blobs b WHERE b.hash = download_items.hash);
UPDATE download_items SET leads = NOT EXISTS (
    SELECT 1 FROM download_items o
    WHERE o.download_id = download_items.download_id AND o.generation = download_items.generation
      AND o.hash = download_items.hash AND o.ordinal < download_items.ordinal
);
UPDATE downloads SET bytes_done = n.done, bytes_total = n.total, blobs_missing = n.missing
FROM (
    SELECT i.download_id, i.generation, SUM(b.size) AS total, SUM(i.missing) AS missing,
           SUM(CASE b.state WHEN 'present' THEN b.size ELSE b.verified_bytes END) AS done
    FROM download_items i JOIN blobs b USING (hash) WHERE i.leads = 1 GROUP BY i.download_id, i.generation
) n
WHERE n.download_id = downloads.id AND n.generation = downloads.generation;

-- The queue in its order. Unique, so that SQLite knows that nothing is left to sort when items are joined to it.
CREATE UNIQUE INDEX downloads_runnable ON downloads (priority DESC, position, id)
    WHERE deleted_at IS NULL AND state IN ('pending', 'downloading', 'verifying');
-- What the queue will still take of the disk, without reading its rows: so the columns of the condition are in it, too.
CREATE INDEX downloads_reserved ON downloads (bytes_total, bytes_done, state, deleted_at)
    WHERE deleted_at IS NULL AND state IN ('pending', 'downloading', 'verifying');
-- Everything is here, and nobody has said so yet.
CREATE INDEX downloads_whole ON downloads (id)
    WHERE deleted_at IS NULL AND state IN ('pending', 'downloading', 'verifying') AND blobs_missing = 0;
-- When waits end by themselves.
CREATE INDEX downloads_retry ON downloads (retry_at)
    WHERE deleted_at IS NULL AND state IN ('pending', 'downloading', 'verifying') AND retry_at IS NOT NULL;
CREATE INDEX downloads_position ON downloads (position);
CREATE INDEX download_items_wanted ON download_items (download_id, generation, ordinal, hash)
    WHERE leads = 1 AND missing = 1;

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

CREATE TRIGGER items_let_go AFTER DELETE ON download_items
BEGIN
    INSERT INTO blobs_let_go (hash) VALUES (old.hash) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER entries_let_go AFTER DELETE ON cache_entries
BEGIN
    INSERT INTO blobs_let_go (hash) VALUES (old.hash) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER entries_change AFTER UPDATE OF hash ON cache_entries WHEN new.hash <> old.hash
BEGIN
    INSERT INTO blobs_let_go (hash) VALUES (old.hash) ON CONFLICT DO NOTHING;
END;
