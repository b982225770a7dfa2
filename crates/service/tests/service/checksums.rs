//! Checksums that are kept while rows are written are those of all rows, however many there are.

use carrel_model::{
    LessonId,
    bookmark::Bookmark,
    op::{BookmarkDeleted, BookmarkPut, Op, RawOp},
    progress::Progress,
    quiz::Response,
    session::{Answer, AnswerRecorded, Session, SessionKind, SessionMoved, SessionStatus, Statistics},
    wire::sync::{PullPage, RecordChecksums},
};

use crate::site::{On, SignedIn, Site, completed, id, lesson, position};

/// Everything a learner has, as a device keeps it, and what the last page says of it.
async fn pulled(site: &Site, who: &SignedIn) -> (RecordChecksums, RecordChecksums) {
    let mut progress: Vec<Progress> = Vec::new();
    let mut sessions: Vec<Session> = Vec::new();
    let mut answers: Vec<Answer> = Vec::new();
    let mut bookmarks: Vec<Bookmark> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = site.get(&format!("/sync/pull?limit=500&cursor={cursor}"), Some(who)).await.ok();
        let page: PullPage = serde_json::from_value(page).unwrap();
        progress.extend(page.progress);
        sessions.extend(page.sessions);
        answers.extend(page.answers);
        bookmarks.extend(page.bookmarks);
        cursor = page.cursor;
        if !page.has_more {
            let own = RecordChecksums::of(&progress, &sessions, answers.iter().map(|answer| answer.stamp), &bookmarks);
            return (own, page.checksums.expect("the last page has checksums"));
        }
        assert_eq!(page.checksums, None, "and no other");
    }
}

/// One of everything, in session and bookmark `n`.
fn round(site: &Site, n: u64, page: LessonId, quiz: LessonId) -> Vec<RawOp> {
    let (now, first) = (site.now(), n * 10 + 1);
    let moved = SessionMoved {
        lesson_id: quiz,
        attempt: 1,
        kind: SessionKind::Quiz,
        started_at: now,
        statistics: Statistics { answered: u32::try_from(n % 7).unwrap(), ..Statistics::default() },
    };
    let answered = |seq: u64| {
        let response = Response::Single { option: "a".into() };
        let answer = AnswerRecorded { lesson_id: quiz, question_id: "q1".into(), response };
        Op::Answer(id(7_000 + n % 5), answer).encode(seq, now).unwrap()
    };
    let put = BookmarkPut { lesson_id: page, position: n, note: format!("note {n}") };
    let deleted = BookmarkDeleted { lesson_id: page };
    vec![
        position(first, page, now, u8::try_from(n % 101).unwrap()),
        Op::Session(id(7_000 + n % 5), SessionStatus::Running, moved).encode(first + 1, now).unwrap(),
        answered(first + 2),
        Op::BookmarkPut(id(8_000 + n % 9), put).encode(first + 3, now).unwrap(),
        Op::Session(id(7_000 + n % 5), SessionStatus::Finished, moved).encode(first + 4, now).unwrap(),
        answered(first + 5),
        Op::BookmarkDeleted(id(8_000 + n % 4), deleted).encode(first + 6, now).unwrap(),
        completed(first + 7, page, now),
        // Refused, and no row of it.
        position(first + 8, id(99), now, 1),
    ]
}

async fn checksums_kept_while_writing_are_those_of_all_rows(on: On) {
    let site = Site::new(on).await;
    site.publish(&site.course("rivers")).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let page = lesson(&site, &amina, "What a river carries").await;
    let quiz = lesson(&site, &amina, "Check").await;
    let (own, theirs) = pulled(&site, &amina).await;
    assert_eq!(own, theirs, "of nothing");
    for n in 0..8 {
        let ops = round(&site, n, page, quiz);
        site.push(&amina, &ops).await;
        site.push(&amina, &ops).await;
        site.pass(1_000);
        let (own, theirs) = pulled(&site, &amina).await;
        assert_eq!(own, theirs, "after round {n}");
    }
    for batch in 0..10 {
        let rounds = (0..50).map(|n| 8 + batch * 50 + n);
        site.push(&amina, &rounds.flat_map(|n| round(&site, n, page, quiz)).collect::<Vec<_>>()).await;
    }
    let (own, theirs) = pulled(&site, &amina).await;
    assert_eq!(own, theirs, "after more than 4,000 changes");

    // A database that is older than its sums: a pull makes them for itself, the next push keeps them.
    site.execute("DELETE FROM record_sums").await;
    assert_eq!(pulled(&site, &amina).await, (own.clone(), own));
    site.push(&amina, &round(&site, 600, page, quiz)).await;
    assert_eq!(site.count("SELECT COUNT(*) FROM record_sums").await, 1);
    let (own, theirs) = pulled(&site, &amina).await;
    assert_eq!(own, theirs);
}

crate::on_both_stores! {
    checksums_kept_while_writing_are_those_of_all_rows,
}
