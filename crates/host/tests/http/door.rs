//! Who gets in.

use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::desk::{Desk, browser};

#[tokio::test]
async fn the_link_works_once_and_leaves_a_cookie() {
    let desk = Desk::open().await;
    let first = desk.http.get(&desk.link).send().await.unwrap();
    assert_eq!(first.status(), StatusCode::SEE_OTHER);
    assert_eq!(first.headers()[header::LOCATION], "/", "the key does not stay in the address");
    let cookie = first.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    let again = browser().get(&desk.link).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED, "whoever finds the link later is too late");
    assert!(!again.headers().contains_key(header::SET_COOKIE));

    let pair = cookie.split(';').next().unwrap();
    let page = browser().get(&desk.origin).header(header::COOKIE, pair).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.unwrap().contains("<title>Carrel</title>"));
}

#[tokio::test]
async fn nothing_opens_without_the_cookie() {
    let desk = Desk::open().await;
    let wrong_key = format!("{}/?key={}", desk.origin, "0".repeat(32));
    let name = format!("carrel_session_{}", desk.origin.rsplit(':').next().unwrap());
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/assets/app.js"),
        (Method::GET, "/api/events"),
        (Method::POST, "/api/commands/app_state"),
    ] {
        for cookie in ["", "other=1", &format!("{name}="), &format!("{name}={}", "0".repeat(32))] {
            let request = desk.http.request(method.clone(), format!("{}{path}", desk.origin));
            let request = request.header(header::COOKIE, cookie).header(header::ORIGIN, &desk.origin);
            let answer = request.json(&Value::Null).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path} with {cookie:?}");
        }
    }
    assert_eq!(desk.http.get(wrong_key).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let right = desk.http.get(&desk.link).send().await.unwrap();
    assert_eq!(right.status(), StatusCode::SEE_OTHER, "a wrong key does not use the right one up");
}

#[tokio::test]
async fn commands_are_for_our_own_page_only() {
    let desk = Desk::entered().await;
    let (status, state) = desk.call("app_state", Value::Null).await;
    assert_eq!((status, &state["failure"]), (StatusCode::OK, &Value::Null));

    let url = format!("{}/api/commands/app_state", desk.origin);
    let foreign: [&[(&str, &str)]; 6] = [
        &[],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", &desk.origin), ("sec-fetch-site", "cross-site")],
    ];
    for headers in foreign {
        let mut request = desk.http.post(&url).json(&Value::Null);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        assert_eq!(request.send().await.unwrap().status(), StatusCode::FORBIDDEN, "{headers:?}");
    }
    // A form needs no permission to be sent across sites, so its types are no requests.
    let form = desk.http.post(&url).header(header::ORIGIN, &desk.origin).header(header::CONTENT_TYPE, "text/plain");
    assert_eq!(form.body("null").send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    let answer = desk.http.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "a link or a picture runs no command");
}

#[tokio::test]
async fn another_name_for_this_machine_gets_nothing() {
    let desk = Desk::entered().await;
    let port = desk.origin.rsplit(':').next().unwrap().to_owned();
    for host in ["evil.example", &format!("localhost:{port}"), &format!("evil.example:{port}"), "127.0.0.1"] {
        for path in ["/", "/api/events", "/media/x/y"] {
            let request = desk.http.get(format!("{}{path}", desk.origin)).header(header::HOST, host);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{host}{path}");
        }
        let command = desk.post("app_state", &Value::Null).header(header::HOST, host).send().await.unwrap();
        assert_eq!(command.status(), StatusCode::FORBIDDEN, "{host}");
    }
}

#[tokio::test]
async fn the_ui_is_served_and_nothing_beside_it() {
    let desk = Desk::entered().await;
    let script = desk.http.get(format!("{}/assets/app.js", desk.origin)).send().await.unwrap();
    assert_eq!(script.status(), StatusCode::OK);
    assert_eq!(script.headers()[header::CONTENT_TYPE], "text/javascript");
    let policy = script.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for path in ["/../outside.txt", "/%2e%2e/outside.txt", "/assets/..%2f..%2foutside.txt", "/nothing.html"] {
        let answer = desk.http.get(format!("{}{path}", desk.origin)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn refusals_have_a_code_and_a_status() {
    let desk = Desk::entered().await;
    for (command, request, status, code) in [
        ("no_such_thing", Value::Null, StatusCode::NOT_FOUND, "not_found"),
        ("catalogue_library", Value::Null, StatusCode::UNAUTHORIZED, "sign_in_needed"),
        ("access_sign_in", json!({ "name": 1 }), StatusCode::BAD_REQUEST, "invalid_request"),
        ("access_sign_in", Value::Null, StatusCode::BAD_REQUEST, "invalid_request"),
    ] {
        let (got, error) = desk.call(command, request).await;
        assert_eq!((got, error["code"].as_str()), (status, Some(code)), "{command}: {error}");
    }
    let url = format!("{}/api/commands/app_state", desk.origin);
    let broken =
        desk.http.post(&url).header(header::ORIGIN, &desk.origin).header(header::CONTENT_TYPE, "application/json");
    let answer = broken.body("{").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "invalid_request");
    let large = json!("x".repeat(2 * 1024 * 1024));
    let answer = desk.post("app_state", &large).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_said_and_tried_again() {
    // A file where the folder should be.
    let mut desk = Desk::open_over(|data| std::fs::write(data, "in the way").unwrap()).await;
    desk.enter().await;
    let state = desk.ask("app_state", Value::Null).await;
    assert_eq!(state["failure"]["code"], "storage_unavailable", "{state}");
    let (status, error) = desk.call("catalogue_library", Value::Null).await;
    assert_eq!((status, &error["code"]), (StatusCode::INTERNAL_SERVER_ERROR, &state["failure"]["code"]));

    let state = desk.ask("app_reopen", Value::Null).await;
    assert_eq!(state["failure"]["code"], "storage_unavailable", "nothing has changed yet");
    std::fs::remove_file(desk.folder.path().join("data")).unwrap();
    let state = desk.ask("app_reopen", Value::Null).await;
    assert_eq!(state["failure"], Value::Null, "the cause is gone, and so is the failure");
    let diagnostics = desk.ask("app_diagnostics", Value::Null).await;
    assert_eq!(diagnostics["quick_check"], "ok");
    desk.close().await;
}
