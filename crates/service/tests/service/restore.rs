//! A backup that is put back is another database, however far it has come since (protocol.md, Cursor).

use carrel_model::LessonId;
use serde_json::Value;

use crate::{
    databases, postgres,
    site::{On, SignedIn, Site, completed, lesson, position},
};

/// A copy of the database as it is, taken while the service is down.
struct Backup {
    file: tempfile::TempDir,
    database: Option<String>,
}

impl Backup {
    async fn of(site: Site) -> (Site, Self) {
        let mut backup = Self { file: tempfile::tempdir().unwrap(), database: None };
        let site = site
            .restarted_after(async |file, address| match address {
                Some(address) => backup.database = Some(postgres::fresh_database(Some(address)).await),
                None => {
                    std::fs::copy(file, backup.file.path().join("backup.db")).unwrap();
                }
            })
            .await;
        (site, backup)
    }

    async fn restored_to(&self, site: Site) -> Site {
        site.restarted_after(async |file, address| match (address, &self.database) {
            (Some(address), Some(backup)) => databases::replace(address, backup).await,
            _ => {
                std::fs::copy(self.file.path().join("backup.db"), file).unwrap();
            }
        })
        .await
    }
}

struct Cursors {
    records: String,
    units: String,
}

async fn cursors(site: &Site, who: &SignedIn) -> Cursors {
    let records = site.pull(who, "").await["cursor"].as_str().unwrap().to_owned();
    let (_, units) = site.units_sync(who, "", 100).await;
    Cursors { records, units }
}

/// What becomes of cursors: 200 or 410, for records and for units.
async fn answers(site: &Site, who: &SignedIn, cursors: &Cursors) -> (u16, u16) {
    let records = site.get(&format!("/sync/pull?cursor={}", cursors.records), Some(who)).await;
    let units = site.get(&format!("/content/units/sync?since={}", cursors.units), Some(who)).await;
    for reply in [&records, &units] {
        if reply.status != 200 {
            assert_eq!(reply.problem(), (410, "cursor_expired".to_owned()));
        }
    }
    (records.status.as_u16(), units.status.as_u16())
}

async fn written(site: &Site, who: &SignedIn, page: LessonId, seqs: std::ops::Range<u64>) {
    for seq in seqs {
        site.push(who, &[position(seq, page, site.now(), u8::try_from(seq % 100).unwrap())]).await;
        site.pass(1_000);
    }
}

async fn published(site: &Site, title: &str) {
    let course = site.course("rivers");
    course.page("01-land/01-carry.md", "What a river carries", title);
    site.publish(&course).await;
}

async fn a_restored_backup_that_caught_up_takes_no_cursor_of_the_time_it_lost(on: On) {
    let site = Site::new(on).await;
    published(&site, "first").await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let page = lesson(&site, &amina, "What a river carries").await;
    written(&site, &amina, page, 1..5).await;
    let shared = cursors(&site, &amina).await;
    let (site, backup) = Backup::of(site).await;

    written(&site, &amina, page, 5..10).await;
    published(&site, "second").await;
    let lost = cursors(&site, &amina).await;
    let site = site.restarted().await;
    assert_eq!(answers(&site, &amina, &shared).await, (200, 200), "starting again is no restore");
    assert_eq!(answers(&site, &amina, &lost).await, (200, 200), "starting again is no restore");

    let site = backup.restored_to(site).await;
    assert_eq!(answers(&site, &amina, &lost).await, (410, 410), "it knows of numbers that were never given");
    assert_eq!(answers(&site, &amina, &shared).await, (200, 200), "this one is of a time both have");

    let tablet = site.sign_in("amina", 1002).await;
    written(&site, &tablet, page, 1..30).await;
    for title in ["third", "fourth", "fifth"] {
        published(&site, title).await;
    }
    assert_eq!(answers(&site, &amina, &lost).await, (410, 410), "the numbers have caught up, the rows have not");
    let site = site.restarted().await.restarted().await;
    written(&site, &tablet, page, 30..33).await;
    published(&site, "sixth").await;
    assert_eq!(answers(&site, &amina, &lost).await, (410, 410), "and never will");
    assert_eq!(answers(&site, &amina, &shared).await, (200, 200), "it was before the restore and still is");
    let since = site.pull(&amina, &shared.records).await;
    assert_eq!(since["progress"][0]["percent"], 32, "and what came since follows it: {since}");
}

async fn the_last_page_carries_a_checksum_of_each_set(on: On) {
    let site = Site::new(on).await;
    published(&site, "first").await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let page = lesson(&site, &amina, "What a river carries").await;
    let quiz = lesson(&site, &amina, "Check").await;
    site.push(&amina, &[position(1, page, site.now(), 5), completed(2, quiz, site.now())]).await;
    let first = site.get("/sync/pull?limit=1", Some(&amina)).await.ok();
    assert_eq!(first["checksums"], Value::Null, "not before the end");
    let all: carrel_model::wire::sync::PullPage = serde_json::from_value(site.pull(&amina, "").await).unwrap();
    let own = carrel_model::wire::sync::RecordChecksums::of(&all.progress, &all.sessions, [], &all.bookmarks);
    assert_eq!(all.checksums, Some(own), "whoever has the rows comes to the same");
    site.push(&amina, &[position(3, page, site.now(), 50)]).await;
    let later: carrel_model::wire::sync::PullPage =
        serde_json::from_value(site.pull(&amina, &all.cursor).await).unwrap();
    assert_ne!(later.checksums.unwrap().progress, all.checksums.unwrap().progress, "one row changed");
}

crate::on_both_stores! {
    a_restored_backup_that_caught_up_takes_no_cursor_of_the_time_it_lost,
    the_last_page_carries_a_checksum_of_each_set,
}
