//! The shell with its real permissions, host and engine, on Tauri's windowless runtime.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected has failed")]

use std::time::{Duration, Instant};

use carrel_app::Options;
use serde_json::{Value, json};
use tauri::{
    App, WebviewUrl, WebviewWindow, WebviewWindowBuilder,
    ipc::{CallbackFn, InvokeBody},
    test::{INVOKE_KEY, MockRuntime, get_ipc_response, mock_builder},
    webview::InvokeRequest,
};

struct Shell {
    app: App<MockRuntime>,
    _folder: tempfile::TempDir,
}

const OWN_PAGE: &str =
    if cfg!(any(windows, target_os = "android")) { "http://tauri.localhost" } else { "tauri://localhost" };

impl Shell {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            data_dir: Some(folder.path().join("data")),
            suggested_service: Some("http://127.0.0.1:9".to_owned()),
        };
        let mut app = carrel_app::with_host(mock_builder(), options).build(carrel_app::context()).unwrap();
        // The first turn of the event loop runs the set-up.
        #[expect(deprecated, reason = "the only way to turn the loop of a test's app by hand")]
        app.run_iteration(|_, _| {});
        Self { app, _folder: folder }
    }

    fn window(&self, label: &str) -> WebviewWindow<MockRuntime> {
        use tauri::Manager as _;
        self.app
            .get_webview_window(label)
            .unwrap_or_else(|| WebviewWindowBuilder::new(&self.app, label, WebviewUrl::default()).build().unwrap())
    }

    fn invoke(&self, window: &str, command: &str, payload: Value) -> Result<Value, Value> {
        self.invoke_from(OWN_PAGE, window, command, payload)
    }

    fn invoke_from(&self, page: &str, window: &str, command: &str, payload: Value) -> Result<Value, Value> {
        let request = InvokeRequest {
            cmd: command.to_owned(),
            callback: CallbackFn(0),
            error: CallbackFn(1),
            url: page.parse().unwrap(),
            body: InvokeBody::Json(payload),
            headers: Default::default(),
            invoke_key: INVOKE_KEY.to_owned(),
        };
        get_ipc_response(&self.window(window), request).map(|body| body.deserialize().unwrap())
    }

    fn call(&self, window: &str, command: &str, request: Value) -> Result<Value, Value> {
        self.invoke(window, command, json!({ "request": request }))
    }

    fn select(&self, window: &str, query: &str) -> Result<Value, Value> {
        self.invoke(window, "plugin:sql|select", json!({ "db": "sqlite:carrel.db", "query": query, "values": [] }))
    }

    /// The pool is handed over just after the store has opened.
    fn wait_for_pool(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while let Err(error) = self.select("diagnostics", "select 1") {
            assert!(Instant::now() < until, "the pool never came: {error}");
            std::thread::yield_now();
        }
    }
}

fn is_denied(answer: &Result<Value, Value>) -> bool {
    // Tauri's own refusals are sentences; ours are objects with a code.
    answer.as_ref().err().and_then(Value::as_str).is_some_and(|text| text.contains("not allowed"))
}

#[test]
fn commands_wait_for_the_store_and_answer() {
    let shell = Shell::open();
    // Asked at once: the store is still opening.
    let state = shell.call("main", "app_state", Value::Null).unwrap();
    assert_eq!(state["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(state["suggested_service"], "http://127.0.0.1:9");
    assert_eq!(state["failure"], Value::Null);
    assert_eq!(state["current"], Value::Null, "nobody is signed in");
    assert_eq!(state["media_base"], Value::Null);
}

#[test]
fn refusals_have_a_code() {
    let shell = Shell::open();
    let error = shell.call("main", "catalogue_library", Value::Null).unwrap_err();
    assert_eq!(error["code"], "sign_in_needed", "{error}");
    let error = shell.call("main", "access_sign_in", json!({ "name": 7 })).unwrap_err();
    assert_eq!(error["code"], "invalid_request", "{error}");
}

#[test]
fn permissions_hold_for_our_own_commands() {
    let shell = Shell::open();
    let signing_in = json!({ "service_url": "http://127.0.0.1:9", "name": "amina", "password": "x" });
    assert!(is_denied(&shell.call("diagnostics", "access_sign_in", signing_in)), "diagnostics changes nothing");
    assert!(is_denied(&shell.call("diagnostics", "storage_clear_all", Value::Null)));
    assert!(is_denied(&shell.invoke("diagnostics", "save_file", json!({ "name": "x", "content": "x" }))));
    assert!(is_denied(&shell.call("stranger", "app_state", Value::Null)), "a window without a capability");
    assert!(is_denied(&shell.call("main", "no_such_command", Value::Null)));
    shell.call("diagnostics", "app_state", Value::Null).expect("what the table gives it, it may");
}

#[test]
fn pages_from_elsewhere_reach_no_command() {
    let shell = Shell::open();
    for page in ["https://evil.example", "http://127.0.0.1:8080", "about:srcdoc", "data:text/html,x"] {
        let answer = shell.invoke_from(page, "main", "app_state", json!({ "request": null }));
        assert!(is_denied(&answer), "{page}: {answer:?}");
    }
}

#[test]
fn diagnostics_can_select_and_cannot_write() {
    let shell = Shell::open();
    shell.wait_for_pool();
    let rows = shell.select("diagnostics", "select sqlite_version() as version").unwrap();
    let version: Vec<u32> = rows[0]["version"].as_str().unwrap().split('.').map(|part| part.parse().unwrap()).collect();
    assert!(version >= vec![3, 51, 3], "older SQLite can corrupt a WAL: {rows}");

    let before = shell.select("diagnostics", "select count(*) as tables from sqlite_schema").unwrap();
    for query in [
        "create table intruder (x)",
        "insert into sqlite_schema (name) values ('x')",
        "pragma user_version = 1",
        "pragma journal_mode = delete",
    ] {
        let answer = shell.select("diagnostics", query);
        let unchanged = query.contains("journal_mode") && answer == Ok(json!([{ "journal_mode": "wal" }]));
        assert!(answer.is_err() || unchanged, "{query}: {answer:?}");
    }
    // `query_only` could be switched off from SQL; the file itself is open for reading only.
    shell.select("diagnostics", "pragma query_only = off").ok();
    let refused = shell.select("diagnostics", "create table intruder (x)").unwrap_err();
    assert!(refused.to_string().contains("readonly"), "{refused}");
    assert_eq!(shell.select("diagnostics", "select count(*) as tables from sqlite_schema").unwrap(), before);

    assert!(is_denied(&shell.select("main", "select 1")), "no other window has any sql permission");
    for command in ["plugin:sql|load", "plugin:sql|execute", "plugin:sql|close"] {
        let payload = json!({ "db": "sqlite:carrel.db", "query": "select 1", "values": [] });
        assert!(is_denied(&shell.invoke("diagnostics", command, payload.clone())), "{command}");
        assert!(is_denied(&shell.invoke("main", command, payload)), "{command}");
    }
}

#[test]
fn diagnostics_says_what_the_database_is() {
    let shell = Shell::open();
    let view = shell.call("diagnostics", "app_diagnostics", Value::Null).unwrap();
    assert_eq!(view["quick_check"], "ok");
    assert!(!view["rows"].as_array().unwrap().is_empty(), "{view}");
}
