-- The stretches of this database's life; one begins whenever the first process opens it (see epochs.rs).
CREATE TABLE epochs (
    no       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name     TEXT    NOT NULL UNIQUE,
    began_at INTEGER NOT NULL
) STRICT;

-- Where a scope's counter stood when an epoch first wrote to it.
CREATE TABLE epoch_marks (
    scope    TEXT    NOT NULL,
    epoch_no INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    PRIMARY KEY (scope, epoch_no)
) STRICT, WITHOUT ROWID;

ALTER TABLE sync_scope ADD COLUMN epoch_no INTEGER NOT NULL DEFAULT 0;

-- Nothing asks for the answers of one session.
DROP INDEX answers_by_session;
