//! Learners and devices at the same moment: nobody waits for ever, nobody's rows become somebody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carrel_model::{
    BookmarkId, LessonId, TimeMs,
    op::{BookmarkPut, Op, RawOp},
    wire::sync::PullPage,
};

use crate::site::{On, SignedIn, Site, lesson, outcomes, position};

const LEARNERS: u64 = 6;
const IDS: u64 = 24;
const ROUNDS: u64 = 4;

async fn learners(on: On) -> (Arc<Site>, LessonId, Vec<SignedIn>) {
    let site = Site::new(on).await;
    let course = site.course("rivers");
    course.write("course.toml", "title = \"Rivers\"\nopen = true");
    site.publish(&course).await;
    let mut everybody = Vec::new();
    for n in 1..=LEARNERS {
        everybody.push(site.learner(n, &format!("learner{n}")).await);
    }
    let page = lesson(&site, &everybody[0], "What a river carries").await;
    (Arc::new(site), page, everybody)
}

fn bookmark(seq: u64, n: u64, page: LessonId, at: TimeMs) -> RawOp {
    let put = BookmarkPut { lesson_id: page, position: n, note: format!("mark {n}") };
    Op::BookmarkPut(crate::site::id::<BookmarkId>(5_000 + n), put).encode(seq, at).unwrap()
}

/// Ids are made on devices, so nothing keeps two learners from using the same ones at once. Each goes to one of them.
async fn learners_who_reach_for_the_same_ids_at_once_get_each_for_one_of_them(on: On) {
    let (site, page, everybody) = learners(on).await;
    for round in 0..ROUNDS {
        let together = Arc::new(tokio::sync::Barrier::new(everybody.len()));
        let mut pushes = Vec::new();
        for (n, who) in everybody.iter().cloned().enumerate() {
            let (site, together) = (site.clone(), together.clone());
            pushes.push(tokio::spawn(async move {
                let mut numbers: Vec<u64> = (round * IDS..(round + 1) * IDS).collect();
                // Everybody in another order.
                numbers.rotate_left(n * 4);
                if n % 2 == 1 {
                    numbers.reverse();
                }
                let seqs = round * IDS + 1..;
                let ops: Vec<_> = seqs.zip(&numbers).map(|(seq, n)| bookmark(seq, *n, page, site.now())).collect();
                together.wait().await;
                let results = site.push(&who, &ops).await;
                let mine = outcomes(&results).into_iter().zip(numbers).filter_map(|(outcome, n)| match outcome {
                    "applied" => Some(n),
                    "wrong_state" => None,
                    other => panic!("{other}"),
                });
                mine.collect::<BTreeSet<u64>>()
            }));
        }
        let mut owners: BTreeMap<u64, usize> = BTreeMap::new();
        for (n, push) in pushes.into_iter().enumerate() {
            for id in push.await.unwrap() {
                assert_eq!(owners.insert(id, n), None, "bookmark {id} was given to two");
            }
        }
        assert_eq!(owners.len() as u64, IDS, "and none to nobody");
    }
    let mut rows = 0;
    for who in &everybody {
        let page: PullPage = serde_json::from_value(site.pull(who, "").await).unwrap();
        rows += page.bookmarks.len() as u64;
    }
    assert_eq!(rows, IDS * ROUNDS, "each row is in the pages of its owner alone");
}

/// A device that didn't hear an answer sends the same again while the first is still under way.
async fn one_batch_sent_many_times_at_once_has_its_effect_once(on: On) {
    let (site, page, everybody) = learners(on).await;
    let who = &everybody[0];
    let ops: Vec<_> = (1..=50).map(|seq| position(seq, page, site.now(), u8::try_from(seq).unwrap())).collect();
    let mut pushes = Vec::new();
    for _ in 0..8 {
        let (site, who, ops) = (site.clone(), who.clone(), ops.clone());
        pushes.push(tokio::spawn(async move { site.push(&who, &ops).await }));
    }
    let mut applied = 0;
    for push in pushes {
        let results = push.await.unwrap();
        let outcomes = outcomes(&results);
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "one was first with all of it: {outcomes:?}");
        applied += outcomes.iter().filter(|outcome| **outcome == "applied").count();
    }
    assert_eq!(applied, 50);
    assert_eq!(site.count("SELECT COUNT(*) FROM sync_log").await, 50);
}

crate::on_both_stores! {
    learners_who_reach_for_the_same_ids_at_once_get_each_for_one_of_them,
    one_batch_sent_many_times_at_once_has_its_effect_once,
}
