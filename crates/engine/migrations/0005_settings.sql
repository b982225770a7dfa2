-- Room `settings`: what each learner chose. An absent field has its default.

CREATE TABLE settings (
    profile_id TEXT NOT NULL PRIMARY KEY REFERENCES profiles (id) ON DELETE CASCADE,
    -- JSON.
    choices    TEXT NOT NULL
) STRICT;
