//! What learners see of courses, and how they hear of changes.

use carrel_model::wire::content::set_checksum;
use serde_json::Value;

use crate::site::{DAY, MINUTE, On, Site};

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

/// What a device that has exactly these rows would compute.
fn checksum_of(synced: &Value) -> String {
    let rows: Vec<(String, i64)> = ["courses", "units"]
        .iter()
        .flat_map(|set| synced[set].as_array().unwrap())
        .map(|row| {
            let at: carrel_model::TimeMs = serde_json::from_value(row["updated_at"].clone()).unwrap();
            (row["id"].as_str().unwrap().to_owned(), at.as_ms())
        })
        .collect();
    set_checksum(rows.iter().map(|(id, version)| (id.as_str(), *version)))
}

async fn an_enrolment_brings_everything_and_its_end_takes_it_away(on: On) {
    let site = Site::new(on).await;
    site.publish(&site.course("rivers")).await;
    let amina = site.learner(1, "amina").await;
    let (before, cursor) = site.units_sync(&amina, "", 100).await;
    assert_eq!(ids(&before["courses"]), [""; 0], "a course that is not open is nobody's");

    site.enrol(&amina, "rivers").await;
    let (gained, cursor) = site.units_sync(&amina, &cursor, 100).await;
    assert_eq!(gained["units"].as_array().unwrap().len(), 1, "older than the cursor, and delivered all the same");
    assert_eq!(gained["checksum"], checksum_of(&gained), "the device can check that it has all");

    let (nothing, cursor) = site.units_sync(&amina, &cursor, 100).await;
    assert_eq!(ids(&nothing["units"]), [""; 0], "once");

    site.unenrol(&amina, "rivers").await;
    let (lost, cursor) = site.units_sync(&amina, &cursor, 100).await;
    let tombstones = lost["tombstones"].as_array().unwrap();
    assert_eq!(tombstones.len(), 1, "one tombstone, not two: {tombstones:?}");
    assert_eq!(tombstones[0]["entity"], "course");
    assert_eq!(tombstones[0]["id"], gained["courses"][0]["id"]);

    site.enrol(&amina, "rivers").await;
    let (back, cursor) = site.units_sync(&amina, &cursor, 100).await;
    assert_eq!(ids(&back["units"]), ids(&gained["units"]), "regained, and delivered again");
    assert_eq!(ids(&back["tombstones"]), [""; 0]);

    site.unenrol(&amina, "rivers").await;
    site.enrol(&amina, "rivers").await;
    let (same, _) = site.units_sync(&amina, &cursor, 100).await;
    assert_eq!(ids(&same["tombstones"]), [""; 0], "lost and regained between two pulls: nothing goes");
}

async fn the_end_of_an_enrolment_takes_no_open_course_away(on: On) {
    let site = Site::new(on).await;
    let course = site.course("rivers");
    course.write("course.toml", "title = \"Rivers\"\nopen = true");
    site.publish(&course).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let (_, cursor) = site.units_sync(&amina, "", 100).await;
    let pulled = site.pull(&amina, "").await["cursor"].as_str().unwrap().to_owned();
    site.unenrol(&amina, "rivers").await;
    let (after, _) = site.units_sync(&amina, &cursor, 100).await;
    assert_eq!(ids(&after["tombstones"]), [""; 0], "it is still to be seen");
    let after = site.pull(&amina, &pulled).await;
    assert_eq!((&after["enrolments"], ids(&after["tombstones"]).len()), (&serde_json::json!([]), 0));
}

async fn pages_of_one_row_add_up_to_the_whole(on: On) {
    let site = Site::new(on).await;
    let course = site.course("rivers");
    for n in 2..6 {
        course.write(&format!("{n:02}-unit-{n}/unit.toml"), format!("title = \"Unit {n}\""));
        course.page(&format!("{n:02}-unit-{n}/01-page.md"), "Page", "Text.");
    }
    site.publish(&course).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let (whole, _) = site.units_sync(&amina, "", 500).await;
    let (pages, _) = site.units_sync(&amina, "", 1).await;
    assert_eq!(whole["units"].as_array().unwrap().len(), 5);
    assert_eq!(pages, whole, "page by page the same, with the same checksum");
}

async fn publishing_again_changes_only_what_changed_and_leaves_tombstones(on: On) {
    let site = Site::new(on).await;
    let course = site.course("rivers");
    course.write("02-delta/unit.toml", "title = \"Delta\"");
    course.page("02-delta/01-year.md", "A year", "![m](m.png)");
    course.write("02-delta/m.png", crate::site::PNG);
    course.write("03-gone/unit.toml", "title = \"Gone\"");
    site.publish(&course).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let (first, cursor) = site.units_sync(&amina, "", 100).await;

    let again = site.publish(&course).await;
    assert_eq!(
        (again.course_changed, again.units_changed.len(), again.units_unchanged),
        (false, 0, 3),
        "nothing changed"
    );
    let (nothing, same_cursor) = site.units_sync(&amina, &cursor, 100).await;
    assert_eq!(same_cursor, cursor, "so the cursor has not moved: {nothing}");

    site.pass(MINUTE);
    course.page("02-delta/01-year.md", "A year on the delta", "No picture any more.");
    course.remove("01-land/02-check.md");
    course.remove("03-gone");
    let done = site.publish(&course).await;
    assert_eq!(
        (done.units_changed.as_slice(), done.units_removed.as_slice()),
        (&["land".to_owned(), "delta".to_owned()][..], &["gone".to_owned()][..])
    );
    assert_eq!((done.lessons_removed, done.assets_removed), (1, 1));

    let (changed, cursor) = site.units_sync(&amina, &cursor, 100).await;
    assert_eq!(ids(&changed["courses"]), [""; 0], "the course itself is as it was");
    assert_eq!(ids(&changed["units"]), ids(&first["units"])[..2], "both units under their old ids");
    assert_eq!(
        changed["units"][1]["lessons"][0]["id"], first["units"][1]["lessons"][0]["id"],
        "a changed file is the same lesson"
    );
    assert_eq!(
        changed["units"][0]["lessons"][0]["updated_at"], first["units"][0]["lessons"][0]["updated_at"],
        "a lesson that did not change keeps its time within a unit that did"
    );
    let mut entities: Vec<&str> =
        changed["tombstones"].as_array().unwrap().iter().map(|t| t["entity"].as_str().unwrap()).collect();
    entities.sort_unstable();
    assert_eq!(entities, ["asset", "lesson", "unit"]);

    course.write("03-gone/unit.toml", "title = \"Gone\"");
    site.publish(&course).await;
    let (back, _) = site.units_sync(&amina, &cursor, 100).await;
    assert_eq!(ids(&back["units"]), [ids(&first["units"])[2]], "what comes back is the same unit");
    assert_eq!(ids(&back["tombstones"]), [""; 0]);
}

async fn a_withdrawn_course_and_one_that_is_no_longer_open_go_from_devices(on: On) {
    let site = Site::new(on).await;
    let rivers = site.course("rivers");
    rivers.write("course.toml", "title = \"Rivers\"\nopen = true");
    site.publish(&rivers).await;
    let seas = site.course("seas");
    site.publish(&seas).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "seas").await;
    let (_, cursor) = site.units_sync(&amina, "", 100).await;
    rivers.write("course.toml", "title = \"Rivers\"\nopen = false");
    site.publish(&rivers).await;
    carrel_service::store::Store::withdraw(site.service.store.as_ref(), "seas", site.now()).await.unwrap();
    let (gone, _) = site.units_sync(&amina, &cursor, 100).await;
    assert_eq!(gone["tombstones"].as_array().unwrap().len(), 2, "{gone}");
}

async fn a_time_is_taken_for_a_cursor_and_read_generously(on: On) {
    let site = Site::new(on).await;
    let course = site.course("rivers");
    site.publish(&course).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    site.pass(DAY);
    let amina = site.sign_in("amina", 1001).await;
    let midday = site.now();
    let (nothing, cursor) = site.units_sync(&amina, &midday.to_string(), 100).await;
    assert_eq!(ids(&nothing["units"]), [""; 0], "nothing since then");
    site.pass(MINUTE);
    course.page("01-land/01-carry.md", "Changed", "Text.");
    site.publish(&course).await;
    let (by_time, _) = site.units_sync(&amina, &site.now().plus_ms(5 * MINUTE).to_string(), 100).await;
    assert_eq!(by_time["units"].as_array().unwrap().len(), 1, "even by a clock that is five minutes ahead");
    let (by_cursor, _) = site.units_sync(&amina, &cursor, 100).await;
    assert_eq!(by_cursor["units"], by_time["units"], "and the cursor of such a page goes on like any other");
    let early = midday.plus_ms(-30 * DAY).to_string().replace('Z', "%2B00:00");
    let (all, _) = site.units_sync(&amina, &early, 100).await;
    assert_eq!(all["courses"].as_array().unwrap().len(), 1, "before the enrolment: all of it");
}

async fn an_expired_cursor_is_said_to_be_one(on: On) {
    let site = Site::new(on).await;
    let course = site.course("rivers");
    course.write("02-gone/unit.toml", "title = \"Gone\"");
    site.publish(&course).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let (_, cursor) = site.units_sync(&amina, "", 100).await;
    course.remove("02-gone");
    site.publish(&course).await;
    site.pass(181 * DAY);
    carrel_service::store::Store::prune(site.service.store.as_ref(), site.now()).await.unwrap();
    let amina = site.sign_in("amina", 1001).await;
    let expired = site.get(&format!("/content/units/sync?since={cursor}"), Some(&amina)).await;
    assert_eq!(expired.problem(), (410, "cursor_expired".to_owned()), "its tombstone is no longer known");
    let (all, _) = site.units_sync(&amina, "", 100).await;
    assert_eq!(all["units"].as_array().unwrap().len(), 1, "everything anew works");

    let other = Site::new(on).await;
    let badr = other.learner(1, "badr").await;
    let strange = other.get(&format!("/content/units/sync?since={cursor}"), Some(&badr)).await;
    assert_eq!(strange.problem(), (410, "cursor_expired".to_owned()), "another incarnation of the database");
}

async fn single_units_and_scopes(on: On) {
    let site = Site::new(on).await;
    let open = site.course("open");
    open.write("course.toml", "title = \"Open\"\nopen = true");
    site.publish(&open).await;
    let course = site.course("rivers");
    site.publish(&course).await;
    let amina = site.learner(1, "amina").await;
    let badr = site.learner(2, "badr").await;
    site.enrol(&amina, "rivers").await;
    let list = async |who, scope: &str| site.get(&format!("/content/units?scope={scope}"), Some(who)).await.ok();
    let mine = list(&amina, "mine").await;
    let global = list(&amina, "global").await;
    assert_eq!((mine["units"].as_array().unwrap().len(), global["units"].as_array().unwrap().len()), (1, 1));
    assert_ne!(mine["units"], global["units"]);
    let unit = mine["units"][0]["id"].as_str().unwrap();
    assert_eq!(site.get(&format!("/content/units/{unit}"), Some(&amina)).await.ok(), mine["units"][0]);
    let path = format!("/content/units/{unit}");
    assert_eq!(site.get(&path, Some(&badr)).await.problem(), (403, "not_enrolled".to_owned()));
    assert_eq!(site.get(&path, None).await.problem(), (401, "sign_in_needed".to_owned()));
    course.remove("01-land");
    site.publish(&course).await;
    assert_eq!(site.get(&path, Some(&amina)).await.problem(), (410, "gone".to_owned()));
    let courses = site.get("/content/courses", Some(&badr)).await.ok();
    assert_eq!(courses["courses"].as_array().unwrap().len(), 1, "badr sees the open one");
}

crate::on_both_stores! {
    an_enrolment_brings_everything_and_its_end_takes_it_away,
    the_end_of_an_enrolment_takes_no_open_course_away,
    pages_of_one_row_add_up_to_the_whole,
    publishing_again_changes_only_what_changed_and_leaves_tombstones,
    a_withdrawn_course_and_one_that_is_no_longer_open_go_from_devices,
    a_time_is_taken_for_a_cursor_and_read_generously,
    an_expired_cursor_is_said_to_be_one,
    single_units_and_scopes,
}
