//! Everything one test has to itself: folders, a screen, the service, and the network between it and the app.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use carrel_testbed::relay::Relay;

use crate::{
    content_service::{ContentService, LEARNER, PASSWORD},
    screens,
    virtual_screen::VirtualScreen,
    window::Window,
};

/// A place to test at; everything on it ends with it.
#[derive(Debug)]
pub(crate) struct Desk {
    // Fields end in this order: first those that use the others.
    pub(crate) relay: Relay,
    pub(crate) service: ContentService,
    pub(crate) screen: VirtualScreen,
    /// How far the clocks of what is started from now on are ahead of the machine's.
    pub(crate) clock_ahead: Duration,
    folder: tempfile::TempDir,
    name: &'static str,
}

impl Desk {
    /// Sets everything up; `name` is that of the test, for its pictures.
    pub(crate) async fn new(name: &'static str) -> Self {
        let folder = tempfile::Builder::new().prefix("carrel-e2e-").tempdir().unwrap();
        let screen = VirtualScreen::start(folder.path()).await;
        let service = ContentService::start(folder.path()).await;
        let relay = Relay::start(service.address).await.unwrap();
        Self { relay, service, screen, clock_ahead: Duration::ZERO, folder, name }
    }

    /// Name of the test.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// A folder for this test.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The app's data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder().join("app")
    }

    /// Opens the app.
    pub(crate) async fn open_app(&self) -> Window {
        Window::open(self, &self.data()).await
    }

    /// Opens the app and signs the learner in.
    pub(crate) async fn open_signed_in(&self) -> Window {
        let window = self.open_app().await;
        screens::sign_in(&window, &self.relay.url(), LEARNER, PASSWORD).await;
        screens::library(&window).await;
        window
    }

    /// Switches the service off: the process is gone, and so is the port.
    pub(crate) async fn service_goes_down(&mut self) {
        self.service.go_down();
        self.relay.go_down().await;
    }

    /// Switches it on again.
    pub(crate) async fn service_comes_back(&mut self) {
        self.service.come_back(self.clock_ahead).await;
        self.relay.come_back().await.unwrap();
    }
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program of the workspace; they are all built beside the app.
pub(crate) fn built(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_carrel")).with_file_name(name);
    assert!(path.is_file(), "{} is not built; `cargo xtask build` does", path.display());
    path
}

/// Where pictures and logs of failures go; ignored by git.
pub(crate) fn test_results() -> PathBuf {
    let folder = repository().join("test-results");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
