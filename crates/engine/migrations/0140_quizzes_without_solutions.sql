-- Room `learning`: units are read anew, since solutions of graded quizzes no longer come along. Nobody's own rows are
-- touched, and what is here opens until then.
UPDATE sync_state SET units_cursor = NULL, units_generation = units_generation + 1, units_sweep = 1
WHERE units_cursor IS NOT NULL;

CREATE INDEX bookmarks_of_lesson ON bookmarks (profile_id, lesson_id);
