//! The courses that come with Carrel can be published as they are.

use std::path::Path;

use crate::site::{CourseFiles, On, Site};

#[tokio::test]
async fn the_sample_courses_are_published_whole() {
    let site = Site::new(On::Sqlite).await;
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/courses");
    let mut courses = 0;
    for entry in std::fs::read_dir(&samples).unwrap() {
        let root = entry.unwrap().path();
        if root.join("course.toml").is_file() {
            let done = site.publish(&CourseFiles { root: root.clone() }).await;
            assert!(done.course_changed && !done.units_changed.is_empty(), "{} has units", root.display());
            let again = site.publish(&CourseFiles { root }).await;
            assert!(!again.course_changed && again.units_changed.is_empty(), "the same again changes nothing");
            courses += 1;
        }
    }
    assert!(courses >= 2, "{courses} courses");
    let silent = site
        .count(
            "SELECT COUNT(*) FROM units u, json_each(u.body, '$.lessons') l
             WHERE json_extract(l.value, '$.kind') IN ('audio', 'video')
             AND json_extract(l.value, '$.duration_ms') IS NULL",
        )
        .await;
    assert_eq!(silent, 0, "every recording and film says how long it is");
}
