-- What the service needs to grade a quiz, and what it found.
ALTER TABLE sessions ADD COLUMN grade TEXT;
ALTER TABLE lessons ADD COLUMN quiz TEXT;
UPDATE lessons SET quiz = (
    SELECT json_extract(l.value, '$.payload.quiz') FROM units u, json_each(u.body, '$.lessons') l
    WHERE u.unit_id = lessons.unit_id AND json_extract(l.value, '$.id') = lessons.lesson_id
) WHERE kind = 'quiz';
CREATE INDEX answers_by_session ON answers (session_id);
