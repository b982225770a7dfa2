//! A screen of one's own: Xvfb on a free display.

use std::{path::Path, process::Command, time::Duration};

use carrel_testbed::processes::Process;

const START_LIMIT: Duration = Duration::from_secs(20);

/// A running X server; it ends with this value.
#[derive(Debug)]
pub(crate) struct VirtualScreen {
    /// What goes into `DISPLAY`.
    pub(crate) display: String,
    _server: Process,
}

impl VirtualScreen {
    /// Starts one that is large enough for every window here.
    pub(crate) async fn start(folder: &Path) -> Self {
        let mut command = Command::new("Xvfb");
        // The server looks for a free display itself and says which.
        command.args(["-displayfd", "1", "-screen", "0", "1600x1200x24", "-nolisten", "tcp", "-noreset"]);
        let mut server = Process::start(&mut command, &folder.join("screen.log"))
            .unwrap_or_else(|error| panic!("{error}; `cargo xtask setup` installs it (Debian: xvfb)"));
        let number = server.wait_for(START_LIMIT, |log| log.lines().find_map(|line| line.trim().parse::<u32>().ok()));
        let number = number.await.unwrap_or_else(|error| panic!("no virtual screen: {error}"));
        Self { display: format!(":{number}"), _server: server }
    }
}
