//! Reviews: the questions of a practice quiz as cards that come back when they would be forgotten.
//!
//! A review is a session like a quiz, and what is said about a card is an answer in it. Which card comes next follows from
//! the answers ([`super::schedule`]).

use std::collections::BTreeMap;

use carrel_model::{
    ErrorCode, LessonId, ProfileId, SessionId, TimeMs,
    content::{LessonPayload, OLDEST_SUPPORTED_UNIT_SCHEMA},
    op::Op,
    quiz::{Question, Quiz, Rating, Response},
    session::{Answer, AnswerRecorded, Session, SessionKind, SessionMoved, SessionStatus, Statistics},
    stamp::Stamp,
};
use sqlx::Row as _;

use super::{
    Learning,
    schedule::{CardState, Memory, choices},
    sessions::{self, Sessions, moved},
    view::{CardView, DeckView, DecksView, FinishSession, RateCard, RatingView, ReviewView},
};
use crate::{
    EngineError,
    rows::{json, parsed},
};

/// So many cards that were never seen come in one session: they all come back soon.
const NEW_IN_A_SESSION: usize = 10;

impl Learning {
    /// Every deck there is: the practice quizzes of what the learner may see.
    pub async fn decks(&self, profile: ProfileId) -> Result<DecksView, EngineError> {
        let rows = sqlx::query(
            "SELECT l.id, l.title, l.payload, u.id AS unit_id, u.title AS unit_title, c.language, c.accent FROM lessons l
             JOIN units u ON u.profile_id = l.profile_id AND u.id = l.unit_id
             JOIN courses c ON c.profile_id = u.profile_id AND c.id = u.course_id
             WHERE l.profile_id = ?1 AND l.kind = 'quiz' AND l.schema_version >= ?2 AND u.schema_version >= ?2
             ORDER BY c.position, c.id, u.position, l.position",
        )
        .bind(profile.to_string())
        .bind(OLDEST_SUPPORTED_UNIT_SCHEMA)
        .fetch_all(self.library.readers())
        .await?;
        let now = self.clock.now();
        let mut decks = Vec::new();
        for row in &rows {
            let payload: LessonPayload = json(row, "payload")?;
            let Some(quiz) = payload.quiz.filter(|quiz| quiz.questions.iter().any(Question::has_solution)) else {
                continue;
            };
            let lesson_id: LessonId = parsed(row, "id")?;
            let sessions = sessions::of_lesson(self.library.readers(), profile, lesson_id).await?;
            let deck = Deck::of(&quiz, &sessions);
            let session = sessions.latest(SessionKind::Review).filter(|session| !session.status.is_end());
            decks.push(DeckView {
                lesson_id,
                title: row.try_get("title")?,
                unit_id: parsed(row, "unit_id")?,
                unit_title: row.try_get("unit_title")?,
                language: row.try_get("language")?,
                accent: row.try_get("accent")?,
                cards: count(deck.cards.len()),
                due: count(deck.due(now).len()),
                fresh: count(deck.fresh().len()),
                next_due_at: deck.next_due_at(),
                open: session.map(|session| session.status),
            });
        }
        Ok(DecksView { decks })
    }

    /// The review of a lesson's cards.
    pub async fn review(&self, profile: ProfileId, lesson: LessonId) -> Result<ReviewView, EngineError> {
        let quiz = self.questions(profile, lesson).await?;
        let sessions = sessions::of_lesson(self.library.readers(), profile, lesson).await?;
        Ok(view(&sessions, lesson, &quiz, self.clock.now()))
    }

    /// Starts a review, or goes on with the one that was begun.
    pub async fn start_review(&self, profile: ProfileId, lesson: LessonId) -> Result<ReviewView, EngineError> {
        let _turn = self.turn.lock().await;
        let quiz = self.questions(profile, lesson).await?;
        let sessions = sessions::of_lesson(self.library.readers(), profile, lesson).await?;
        match sessions.latest(SessionKind::Review) {
            Some(session) if session.status == SessionStatus::Paused => {
                self.write(profile, &[Op::Session(session.id, SessionStatus::Running, moved(session))]).await?;
            }
            Some(session) if !session.status.is_end() => {}
            last => {
                if Deck::of(&quiz, &sessions).queue(None, self.clock.now()).is_empty() {
                    return Err(EngineError::Refused(ErrorCode::WrongState));
                }
                let attempt = last.map_or(1, |session| session.attempt.saturating_add(1));
                self.write(profile, &[self.begun(lesson, attempt, SessionKind::Review)]).await?;
            }
        }
        self.review(profile, lesson).await
    }

    /// Records how well the card that is shown was remembered. After the last one the review is finished.
    pub async fn rate(&self, profile: ProfileId, request: RateCard) -> Result<ReviewView, EngineError> {
        let _turn = self.turn.lock().await;
        let (session, sessions) = self.session(profile, request.session_id).await?;
        if session.kind != SessionKind::Review || session.status.is_end() {
            return Err(EngineError::Refused(ErrorCode::WrongState));
        }
        let lesson_id = session.lesson_id;
        let quiz = self.questions(profile, lesson_id).await?;
        let shown = view(&sessions, lesson_id, &quiz, self.clock.now());
        // A second press of the same key is not an answer about the next card.
        if shown.card.is_none_or(|card| card.question.id != request.question_id) {
            return self.review(profile, lesson_id).await;
        }
        let response = Response::Recall { rating: request.rating };
        let recorded = AnswerRecorded { lesson_id, question_id: request.question_id, response };
        let mut ops = Vec::new();
        if session.status == SessionStatus::Paused {
            ops.push(Op::Session(session.id, SessionStatus::Running, moved(&session)));
        }
        ops.push(Op::Answer(session.id, recorded));
        self.write(profile, &ops).await?;
        let after = self.review(profile, lesson_id).await?;
        if after.card.is_some() { Ok(after) } else { self.end_review(profile, session.id).await }
    }

    /// Ends a review.
    pub async fn finish_review(&self, profile: ProfileId, request: FinishSession) -> Result<ReviewView, EngineError> {
        let _turn = self.turn.lock().await;
        self.end_review(profile, request.session_id).await
    }

    async fn end_review(&self, profile: ProfileId, id: SessionId) -> Result<ReviewView, EngineError> {
        let (session, sessions) = self.session(profile, id).await?;
        if session.kind != SessionKind::Review || session.status == SessionStatus::Abandoned {
            return Err(EngineError::Refused(ErrorCode::WrongState));
        }
        if !session.status.is_end() {
            let statistics = statistics(&sessions, &session, self.clock.now());
            let handed_in = SessionMoved { statistics, ..moved(&session) };
            self.write(profile, &[Op::Session(session.id, SessionStatus::Finished, handed_in)]).await?;
        }
        self.review(profile, session.lesson_id).await
    }
}

/// One question and what is remembered of it.
struct Card<'a> {
    question: &'a Question,
    memory: Option<Memory>,
    /// The session in which it was seen first.
    first_in: Option<SessionId>,
}

struct Deck<'a> {
    cards: Vec<Card<'a>>,
}

impl<'a> Deck<'a> {
    /// The cards of a quiz: every question whose solution is here.
    fn of(quiz: &'a Quiz, sessions: &Sessions) -> Self {
        let mut said: BTreeMap<&str, Vec<(Stamp, Rating, SessionId)>> = BTreeMap::new();
        for answer in sessions.answers() {
            if let Some(rating) = rating(answer) {
                said.entry(&answer.question_id).or_default().push((answer.stamp, rating, answer.session_id));
            }
        }
        let card = |question: &'a Question| {
            let said = said.remove(question.id.as_str()).unwrap_or_default();
            Card {
                question,
                first_in: said.iter().min().map(|(.., session)| *session),
                memory: Memory::after(said.into_iter().map(|(stamp, rating, _)| (stamp, rating))),
            }
        };
        Self { cards: quiz.questions.iter().filter(|question| question.has_solution()).map(card).collect() }
    }

    /// Cards that are due, the longest first.
    fn due(&self, now: TimeMs) -> Vec<&Card<'a>> {
        self.seen(|memory| memory.is_due(now))
    }

    /// Cards that were never seen, in their order.
    fn fresh(&self) -> Vec<&Card<'a>> {
        self.cards.iter().filter(|card| card.memory.is_none()).collect()
    }

    fn next_due_at(&self) -> Option<TimeMs> {
        self.cards.iter().filter_map(|card| card.memory.as_ref()).map(Memory::due).min()
    }

    fn seen(&self, wanted: impl Fn(&Memory) -> bool) -> Vec<&Card<'a>> {
        let mut seen: Vec<_> = self
            .cards
            .iter()
            .filter_map(|card| Some((card.memory.as_ref().filter(|memory| wanted(memory))?.due(), card)))
            .collect();
        // By time alone; those of one moment stay in the order of their questions.
        seen.sort_by_key(|(due, _)| *due);
        seen.into_iter().map(|(_, card)| card).collect()
    }

    /// What a session still has before it: what is due, some that are new, and what is just being learned.
    fn queue(&self, session: Option<&Session>, now: TimeMs) -> Vec<&Card<'a>> {
        let begun_here = |card: &&Card<'_>| session.is_some_and(|session| card.first_in == Some(session.id));
        let begun = self.cards.iter().filter(begun_here).count();
        let mut queue = self.due(now);
        queue.extend(self.fresh().into_iter().take(NEW_IN_A_SESSION.saturating_sub(begun)));
        if session.is_some() {
            queue.extend(self.seen(|memory| !memory.is_due(now) && memory.is_nearly_due(now)));
        }
        queue
    }
}

const fn rating(answer: &Answer) -> Option<Rating> {
    match answer.response {
        Response::Recall { rating } => Some(rating),
        _ => None,
    }
}

/// Every card that was turned counts, each time.
fn statistics(sessions: &Sessions, session: &Session, now: TimeMs) -> Statistics {
    let ratings: Vec<Rating> = sessions.answers_in(session.id).filter_map(rating).collect();
    let correct = ratings.iter().filter(|rating| **rating != Rating::Again).count();
    Statistics {
        answered: count(ratings.len()),
        correct: count(correct),
        duration_ms: sessions.time_spent(session, now),
        ..Statistics::default()
    }
}

fn view(sessions: &Sessions, lesson_id: LessonId, quiz: &Quiz, now: TimeMs) -> ReviewView {
    let deck = Deck::of(quiz, sessions);
    let session = sessions.latest(SessionKind::Review);
    let open = session.filter(|session| !session.status.is_end());
    let queue = deck.queue(open, now);
    let shown = queue.first().filter(|_| open.is_some());
    let card = shown.map(|card| CardView {
        question: card.question.clone(),
        state: card.memory.as_ref().map_or(CardState::New, Memory::state),
        ratings: choices(card.memory.as_ref(), now)
            .into_iter()
            .map(|(rating, due_at)| RatingView { rating, due_at })
            .collect(),
    });
    ReviewView {
        lesson_id,
        card,
        cards: count(deck.cards.len()),
        remaining: count(queue.len()),
        next_due_at: deck.next_due_at(),
        statistics: session.map(|session| match open {
            Some(open) => statistics(sessions, open, now),
            None => session.statistics,
        }),
        sent: session.is_some_and(|session| sessions.is_sent(session.id)),
        session: session.cloned(),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
