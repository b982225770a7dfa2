-- Room `blobs`: content-addressed files. No learner owns a blob; who needs it is written in 0101 (view blob_refs).

CREATE TABLE blobs (
    -- BLAKE3, 64 lower-case hex digits: also the file's name.
    hash           TEXT    NOT NULL PRIMARY KEY CHECK (length(hash) = 64),
    size           INTEGER NOT NULL CHECK (size >= 0),
    -- What the first asset that needed it was: for usage by type.
    kind           TEXT    NOT NULL,
    mime           TEXT    NOT NULL,
    -- present: whole, verified, at blobs/ab/<hash>. partial: what there is of it is at partial/<hash>.part.
    state          TEXT    NOT NULL DEFAULT 'partial' CHECK (state IN ('partial', 'present')),
    -- Bytes in verified, durable pieces; the journal keeps it together with the bitmap.
    verified_bytes INTEGER NOT NULL DEFAULT 0,
    -- It was present and was found missing or altered.
    damaged        INTEGER NOT NULL DEFAULT 0 CHECK (damaged IN (0, 1)),
    -- Modification time of the file when it was last known to be right: a change of it asks for rehashing.
    file_time_ns   INTEGER NOT NULL DEFAULT 0,
    adopted_at     INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Apart from `blobs`, so that lists don't read piece lists.
CREATE TABLE blob_pieces (
    hash     TEXT NOT NULL PRIMARY KEY REFERENCES blobs (hash) ON DELETE CASCADE,
    -- 32 bytes for each MiB; folds into the hash.
    pieces   BLOB NOT NULL,
    -- One bit for each piece that is verified and durable in the part file.
    verified BLOB NOT NULL DEFAULT x''
) STRICT;
