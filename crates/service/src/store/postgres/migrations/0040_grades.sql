-- What the service needs to grade a quiz, and what it found.
ALTER TABLE sessions ADD COLUMN grade TEXT COLLATE "C";
ALTER TABLE lessons ADD COLUMN quiz TEXT COLLATE "C";
UPDATE lessons SET quiz = (
    SELECT l -> 'payload' ->> 'quiz' FROM units u, json_array_elements(u.body::json -> 'lessons') l
    WHERE u.unit_id = lessons.unit_id AND l ->> 'id' = lessons.lesson_id
) WHERE kind = 'quiz';
CREATE INDEX answers_by_session ON answers (session_id);
