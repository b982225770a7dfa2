//! The app's window through WebKit's WebDriver.
//!
//! Every wait has a limit and says what it waited for; when it is over, a picture of the window and the app's output are
//! kept in `test-results/`.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use carrel_testbed::processes::{self, Process};
use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::desk::{Desk, built, test_results};

/// Long enough for a debug build on a busy machine with two cores.
pub(crate) const LIMIT: Duration = Duration::from_secs(45);
/// What an app that has started shows: the library, or who learns, or why it can't.
const FIRST_SCREENS: &str = "[data-testid=app-shell][data-ready=true], [data-testid=sign-in-form], \
                             [data-testid=learner-picker], [data-testid=failure-screen]";
/// For evidence of a failure: a driver that hangs must not take the report along.
const EVIDENCE_LIMIT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An open app; it ends with this value.
#[derive(Debug)]
pub(crate) struct Window {
    client: Client,
    driver: Process,
    data: PathBuf,
    test: &'static str,
}

impl Window {
    /// Starts the app with its data in `data`, and waits until it has painted.
    pub(crate) async fn open(desk: &Desk, data: &Path) -> Self {
        println!("open the app");
        let window = Self::start(desk, data).await;
        window.see(FIRST_SCREENS).await;
        window
    }

    async fn start(desk: &Desk, data: &Path) -> Self {
        let home = desk.folder().join("home");
        let runtime = home.join("runtime");
        std::fs::create_dir_all(&runtime).unwrap();
        std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let port = free_port();
        let mut command = Command::new("dbus-run-session");
        command.args(["--", "WebKitWebDriver", "--host=127.0.0.1", &format!("--port={port}")]);
        command
            .env("DISPLAY", &desk.screen.display)
            .env("GDK_BACKEND", "x11")
            .env("NO_AT_BRIDGE", "1")
            .env("LIBGL_ALWAYS_SOFTWARE", "1")
            .env("WEBKIT_DISABLE_DMABUF_RENDERER", "1")
            .env("TAURI_WEBVIEW_AUTOMATION", "true")
            .env("CARREL_DATA_DIR", data)
            .env("CARREL_SERVICE", desk.relay.url())
            .env("CARREL_CLOCK_AHEAD_SECONDS", desk.clock_ahead.as_secs().to_string())
            .env("XDG_DATA_HOME", home.join("data"))
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_RUNTIME_DIR", &runtime)
            .env("LANG", "C.UTF-8")
            .env_remove("WAYLAND_DISPLAY");
        let log = desk.folder().join("app.log");
        let driver = Process::start(&mut command, &log)
            .unwrap_or_else(|error| panic!("{error}; `cargo xtask setup` installs it (Debian: dbus-x11)"));
        let client = connect(port, &driver).await;
        Self { client, driver, data: data.to_owned(), test: desk.name() }
    }

    /// Kills the app, by its id and without a warning, and then what was left of the session around it.
    pub(crate) async fn kill(self) {
        let app = self.process_id();
        processes::kill_and_wait(app, LIMIT).await.unwrap();
    }

    /// The operating system's id of the app.
    pub(crate) fn process_id(&self) -> u32 {
        let found = processes::find(&built("carrel"), "CARREL_DATA_DIR", &self.data.to_string_lossy());
        found.expect("the app runs")
    }

    /// What the app and its driver printed.
    pub(crate) fn log(&self) -> String {
        self.driver.log()
    }

    /// Waits until something that matches is shown.
    pub(crate) async fn see(&self, css: &str) -> Element {
        let began = Instant::now();
        loop {
            if let Ok(element) = self.client.find(Locator::Css(css)).await
                && element.is_displayed().await.unwrap_or(false)
            {
                return element;
            }
            self.pause(began, LIMIT, &format!("{css} to be shown")).await;
        }
    }

    /// Whether something that matches is in the page now.
    pub(crate) async fn has(&self, css: &str) -> bool {
        self.client.find(Locator::Css(css)).await.is_ok()
    }

    /// Whether something that matches is in the page before the time is over.
    pub(crate) async fn soon(&self, limit: Duration, css: &str) -> bool {
        let began = Instant::now();
        while !self.has(css).await {
            if began.elapsed() > limit {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Presses a button, follows a link.
    pub(crate) async fn click(&self, css: &str) {
        println!("click {css}");
        let began = Instant::now();
        loop {
            // What is pressed may be painted anew in this moment, or still be covered: then once more.
            let element = self.see(css).await;
            // Away from the edges, where bars float over the page.
            self.script(
                "document.querySelector(arguments[0])?.scrollIntoView({ block: 'center', behavior: 'instant' })",
                vec![json!(css)],
            )
            .await;
            if element.click().await.is_ok() {
                return;
            }
            self.pause(began, LIMIT, &format!("{css} to take a click")).await;
        }
    }

    /// Chooses an option of a list. By script: the list itself is a menu of the desktop, out of the driver's reach.
    pub(crate) async fn choose(&self, css: &str, value: &str) {
        println!("choose {value} of {css}");
        self.see(css).await;
        let script = "const list = document.querySelector(arguments[0]);
            list.value = arguments[1];
            list.dispatchEvent(new Event('input', { bubbles: true }));
            list.dispatchEvent(new Event('change', { bubbles: true }));
            return list.value";
        let chosen = self.script(script, vec![json!(css), json!(value)]).await;
        assert_eq!(chosen, json!(value), "the list has this option");
    }

    /// Replaces what is in a field.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        println!("fill {css}");
        let field = self.see(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Waits until an attribute of the first match is what is wanted, and returns it.
    pub(crate) async fn attribute(&self, css: &str, name: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.attribute_within(LIMIT, css, name, wanted).await
    }

    /// [`Self::attribute`] with a limit of its own.
    pub(crate) async fn attribute_within(
        &self,
        limit: Duration,
        css: &str,
        name: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> String {
        println!("wait for {name} of {css}");
        let began = Instant::now();
        let script = "return document.querySelector(arguments[0])?.getAttribute(arguments[1]) ?? null";
        let mut last = Value::Null;
        loop {
            if let Ok(value) = self.client.execute(script, vec![json!(css), json!(name)]).await {
                if let Some(text) = value.as_str().filter(|text| wanted(text)) {
                    return text.to_owned();
                }
                last = value;
            }
            self.pause(began, limit, &format!("{css} to have the right {name}; it is {last}")).await;
        }
    }

    /// An attribute of every match.
    pub(crate) async fn attributes(&self, css: &str, name: &str) -> Vec<String> {
        let script = "return [...document.querySelectorAll(arguments[0])].map(e => e.getAttribute(arguments[1]) ?? '')";
        let values = self.script(script, vec![json!(css), json!(name)]).await;
        values.as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
    }

    /// Runs JavaScript in the page.
    pub(crate) async fn script(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.client.execute(script, arguments).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Runs JavaScript that ends by calling its last argument.
    pub(crate) async fn script_with_answer(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.client.execute_async(script, arguments).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Calls a command of the host as the page does, and returns `{ok}` or `{error}`.
    pub(crate) async fn invoke(&self, command: &str, request: Value) -> Value {
        let script = "const [command, request, done] = arguments;
            window.__TAURI_INTERNALS__.invoke(command, request).then(ok => done({ ok }), error => done({ error }));";
        self.script_with_answer(script, vec![json!(command), request]).await
    }

    /// Waits until an expression is true in the page; `what` says it in words.
    pub(crate) async fn until(&self, what: &str, expression: &str) {
        println!("wait for {what}");
        let began = Instant::now();
        let script = format!("return Boolean({expression})");
        while self.client.execute(&script, vec![]).await.ok() != Some(Value::Bool(true)) {
            self.pause(began, LIMIT, what).await;
        }
    }

    /// Goes to a route of the app, as a link would.
    pub(crate) async fn go(&self, route: &str) {
        self.script("location.hash = arguments[0]", vec![json!(route)]).await;
    }

    /// The windows there are.
    pub(crate) async fn switch_to_other_window(&self) {
        let began = Instant::now();
        let first = self.client.window().await.unwrap();
        loop {
            let windows = self.client.windows().await.unwrap_or_default();
            if let Some(other) = windows.into_iter().find(|window| *window != first) {
                return self.client.switch_to_window(other).await.unwrap();
            }
            self.pause(began, LIMIT, "a second window").await;
        }
    }

    /// Makes the window so large.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        self.client.set_window_size(width, height).await.unwrap();
        self.until("the window to have its new width", &format!("Math.abs(innerWidth - {width}) < 60")).await;
    }

    /// Takes a picture.
    pub(crate) async fn picture(&self, path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, self.client.screenshot().await.unwrap()).unwrap();
    }

    /// Waits a moment, or fails when the time is over.
    async fn pause(&self, began: Instant, limit: Duration, what: &str) {
        if began.elapsed() > limit {
            let evidence = self.keep_evidence().await;
            panic!("waited {limit:?} for {what}; see {evidence}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }

    async fn keep_evidence(&self) -> String {
        let (picture, text) = (format!("{}.png", self.test), format!("{}.log", self.test));
        let page = self.client.execute("return location.href + '\\n' + document.body.innerText", vec![]);
        let page = timeout(EVIDENCE_LIMIT, page).await.ok().and_then(Result::ok);
        let page = page.as_ref().and_then(Value::as_str).unwrap_or("the page does not answer");
        std::fs::write(test_results().join(&text), format!("{page}\n\n--- printed ---\n{}", self.log())).unwrap();
        if let Ok(Ok(bytes)) = timeout(EVIDENCE_LIMIT, self.client.screenshot()).await {
            std::fs::write(test_results().join(&picture), bytes).unwrap();
        }
        format!("test-results/{picture} and {text}")
    }
}

async fn connect(port: u16, driver: &Process) -> Client {
    let options = json!({ "binary": built("carrel"), "args": [] });
    // The name that WebKit's driver knows embedded views by; with another one no session ever matches.
    let capabilities = json!({ "browserName": "wry", "webkitgtk:browserOptions": options });
    let Value::Object(capabilities) = capabilities else { unreachable!() };
    let mut builder = ClientBuilder::new(HttpConnector::new());
    builder.capabilities(capabilities);
    let began = Instant::now();
    loop {
        match builder.connect(&format!("http://127.0.0.1:{port}")).await {
            Ok(client) => return client,
            Err(error) if began.elapsed() > LIMIT => {
                panic!("the app does not open (Debian: webkit2gtk-driver): {error}\n{}", driver.log())
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// A port that was free a moment ago; the driver can't choose one itself.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The selector of a test hook (ui/README.md).
pub(crate) fn hook(id: &str) -> String {
    format!("[data-testid=\"{id}\"]")
}
