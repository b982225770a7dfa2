-- Room `catalogue`: courses, units, lessons and assets as the service told each learner.
--
-- Every row is one learner's: what one may see, another may not, and two services can't overwrite each other. The bytes
-- behind them are shared (room `blobs`); these texts are small.

CREATE TABLE courses (
    profile_id     TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    id             TEXT    NOT NULL,
    title          TEXT    NOT NULL,
    summary        TEXT    NOT NULL,
    subject        TEXT    NOT NULL,
    level          TEXT    NOT NULL,
    language       TEXT    NOT NULL,
    accent         TEXT    NOT NULL,
    cover_asset_id TEXT,
    open           INTEGER NOT NULL CHECK (open IN (0, 1)),
    premium        INTEGER NOT NULL CHECK (premium IN (0, 1)),
    position       INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    generation     INTEGER NOT NULL,
    PRIMARY KEY (profile_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE units (
    profile_id     TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    id             TEXT    NOT NULL,
    course_id      TEXT    NOT NULL,
    position       INTEGER NOT NULL,
    title          TEXT    NOT NULL,
    summary        TEXT    NOT NULL,
    language       TEXT    NOT NULL,
    cover_asset_id TEXT,
    schema_version INTEGER NOT NULL,
    -- What a download would take, by quality; reckoned once, when the unit arrives.
    size_low       INTEGER NOT NULL,
    size_medium    INTEGER NOT NULL,
    size_high      INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    generation     INTEGER NOT NULL,
    PRIMARY KEY (profile_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX units_of_course ON units (profile_id, course_id, position);

CREATE TABLE lessons (
    profile_id       TEXT    NOT NULL,
    id               TEXT    NOT NULL,
    unit_id          TEXT    NOT NULL,
    position         INTEGER NOT NULL,
    kind             TEXT    NOT NULL,
    title            TEXT    NOT NULL,
    summary          TEXT    NOT NULL,
    duration_ms      INTEGER,
    primary_asset_id TEXT,
    -- JSON: what only this kind of lesson has.
    payload          TEXT    NOT NULL,
    schema_version   INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    PRIMARY KEY (profile_id, id),
    FOREIGN KEY (profile_id, unit_id) REFERENCES units (profile_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Holds all that lists show, so that they don't read the payloads.
CREATE INDEX lessons_of_unit
    ON lessons (profile_id, unit_id, position, id, kind, title, summary, duration_ms, primary_asset_id, schema_version);

CREATE TABLE assets (
    profile_id  TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    id          TEXT    NOT NULL,
    lesson_id   TEXT,
    kind        TEXT    NOT NULL,
    title       TEXT    NOT NULL,
    language    TEXT,
    duration_ms INTEGER,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (profile_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE renditions (
    profile_id TEXT    NOT NULL,
    asset_id   TEXT    NOT NULL,
    quality    TEXT    NOT NULL CHECK (quality IN ('low', 'medium', 'high')),
    hash       TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    mime       TEXT    NOT NULL,
    width      INTEGER,
    height     INTEGER,
    bitrate    INTEGER,
    PRIMARY KEY (profile_id, asset_id, quality),
    FOREIGN KEY (profile_id, asset_id) REFERENCES assets (profile_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Which assets a unit needs. One picture may serve several units.
CREATE TABLE unit_assets (
    profile_id TEXT    NOT NULL,
    unit_id    TEXT    NOT NULL,
    asset_id   TEXT    NOT NULL,
    -- In the order the unit lists them; its cover is 0.
    position   INTEGER NOT NULL,
    PRIMARY KEY (profile_id, unit_id, asset_id),
    FOREIGN KEY (profile_id, unit_id) REFERENCES units (profile_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX unit_assets_by_asset ON unit_assets (profile_id, asset_id);
