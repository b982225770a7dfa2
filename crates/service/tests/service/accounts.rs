//! Signing in, staying signed in, and guessing.

use carrel_model::{
    lease::{LeaseKey, SignedLease},
    wire::auth::SignedIn,
};
use serde_json::json;

use sqlx::Connection as _;

use crate::site::{MINUTE, On, Site, id};

async fn signs_in_with_a_lease_that_the_device_can_verify(on: On) {
    let site = Site::new(on).await;
    site.publish(&site.course("rivers")).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let request = json!({ "name": " AMINA ", "password": "amina's password", "device_id": amina.device });
    let answer: SignedIn = serde_json::from_value(site.post("/auth/sign-in", None, &request).await.ok()).unwrap();
    let keys: Vec<LeaseKey> = answer.lease_keys;
    let signed: SignedLease = answer.lease;
    let lease = signed.verify(&keys, amina.learner, amina.device).unwrap();
    assert_eq!(lease.enrolments.len(), 1, "the lease names the course");
    assert_eq!(lease.service_time, site.now(), "by the service's clock");
    assert!(signed.verify(&keys, id(9), amina.device).is_err(), "and holds for nobody else");
}

async fn wrong_name_and_wrong_password_look_the_same(on: On) {
    let site = Site::new(on).await;
    site.account(1, "amina").await;
    let attempt = async |name: &str, password: &str| {
        let request = json!({ "name": name, "password": password, "device_id": id::<carrel_model::DeviceId>(5) });
        let reply = site.post("/auth/sign-in", None, &request).await;
        (reply.problem(), reply.json()["detail"].clone())
    };
    let wrong_password = attempt("amina", "guess").await;
    assert_eq!(wrong_password.0, (401, "wrong_credentials".to_owned()));
    assert_eq!(attempt("nobody", "guess").await, wrong_password, "the answer does not tell which names exist");
    for name in ["", "  ", "a\0b", &"x".repeat(5000)] {
        assert_eq!(attempt(name, "guess").await, wrong_password, "{name:.20?} can't be a name");
    }
}

async fn guessing_is_slowed_and_then_allowed_again(on: On) {
    let site = Site::new(on).await;
    site.account(1, "amina").await;
    let attempt = async |password: &str| {
        let request = json!({ "name": "amina", "password": password, "device_id": id::<carrel_model::DeviceId>(5) });
        site.post("/auth/sign-in", None, &request).await
    };
    for _ in 0..5 {
        assert_eq!(attempt("guess").await.problem().0, 401);
    }
    let stopped = attempt("amina's password").await;
    assert_eq!(stopped.problem(), (429, "rate_limited".to_owned()), "even the right one has to wait now");
    assert_eq!(stopped.headers["retry-after"], "30");
    site.pass(MINUTE / 2);
    assert_eq!(attempt("amina's password").await.status, 200);
}

async fn a_lost_refresh_can_be_repeated_for_a_minute_and_a_stolen_token_ends_the_session(on: On) {
    let site = Site::new(on).await;
    let amina = site.learner(1, "amina").await;
    let refresh = async |token: &str| {
        let request = json!({ "refresh_token": token, "device_id": amina.device });
        site.post("/auth/refresh", None, &request).await
    };
    refresh(&amina.refresh).await.ok();
    site.pass(59_000);
    let second = refresh(&amina.refresh).await.ok();
    let newest = second["refresh_token"].as_str().unwrap().to_owned();
    assert_ne!(newest, amina.refresh, "the answer was lost, and is given anew");
    site.pass(2_000);
    assert_eq!(
        refresh(&amina.refresh).await.problem(),
        (401, "sign_in_needed".to_owned()),
        "after the grace it is theft"
    );
    assert_eq!(refresh(&newest).await.problem().0, 401, "so the whole session has ended");
    let access = second["access_token"].as_str().unwrap().to_owned();
    let with_access = crate::site::SignedIn { token: access, ..amina.clone() };
    assert_eq!(site.get("/content/courses", Some(&with_access)).await.problem().0, 401);
}

async fn tokens_end_when_they_should(on: On) {
    let site = Site::new(on).await;
    let amina = site.learner(1, "amina").await;
    assert_eq!(site.get("/content/courses", Some(&amina)).await.status, 200);
    site.pass(60 * MINUTE);
    assert_eq!(site.get("/content/courses", Some(&amina)).await.problem(), (401, "sign_in_needed".to_owned()));

    let other_device = json!({ "refresh_token": amina.refresh, "device_id": id::<carrel_model::DeviceId>(77) });
    assert_eq!(site.post("/auth/refresh", None, &other_device).await.problem().0, 401, "bound to its device");

    let again = site.sign_in("amina", 1001).await;
    let reply = site.post("/auth/sign-out", Some(&again), &json!({})).await;
    assert_eq!(reply.status, 204);
    assert_eq!(site.get("/content/courses", Some(&again)).await.problem().0, 401, "signed out");
}

async fn a_device_belongs_to_one_learner(on: On) {
    let site = Site::new(on).await;
    let amina = site.learner(1, "amina").await;
    site.account(2, "badr").await;
    let request = json!({ "name": "badr", "password": "badr's password", "device_id": amina.device });
    assert_eq!(site.post("/auth/sign-in", None, &request).await.problem(), (409, "forbidden".to_owned()));
}

/// The database as whoever steals it reads it.
async fn everything_kept(site: &Site) -> Vec<u8> {
    if let Some(address) = &site.database {
        let mut connection = sqlx::PgConnection::connect(address).await.unwrap();
        let all = "SELECT database_to_xml(true, false, '')::TEXT";
        return sqlx::query_scalar::<_, String>(all).fetch_one(&mut connection).await.unwrap().into_bytes();
    }
    let files = ["carrel-service.db", "carrel-service.db-wal"];
    files.iter().flat_map(|name| std::fs::read(site.folder.path().join("data").join(name)).unwrap()).collect()
}

async fn nothing_secret_is_kept_as_it_is(on: On) {
    let site = Site::new(on).await;
    let amina = site.learner(1, "amina").await;
    let kept = everything_kept(&site).await;
    let holds = |needle: &str| kept.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(holds("amina"), "the name is there, so the files were looked into");
    for secret in ["amina's password", &amina.token, &amina.refresh] {
        assert!(!holds(secret), "{secret:.4}… is readable in the database");
    }
    #[cfg(unix)]
    for name in ["lease-signing.key", "url-signing.key"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(site.folder.path().join("data").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name} is its owner's alone");
    }
}

crate::on_both_stores! {
    signs_in_with_a_lease_that_the_device_can_verify,
    wrong_name_and_wrong_password_look_the_same,
    guessing_is_slowed_and_then_allowed_again,
    a_lost_refresh_can_be_repeated_for_a_minute_and_a_stolen_token_ends_the_session,
    tokens_end_when_they_should,
    a_device_belongs_to_one_learner,
    nothing_secret_is_kept_as_it_is,
}
