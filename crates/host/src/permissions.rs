//! Which window may call what, as a file the shell's build reads.
//!
//! Tauri checks permissions before our code runs, and its build script can't call this crate (that would build the
//! engine twice). So the list is written from the table into `gen/commands.txt`, and a test fails when it is stale.

use crate::{CommandSpec, Surface, commands::COMMANDS};

/// One line for each command: its name and the windows that may call it.
#[must_use]
pub fn commands_txt() -> String {
    let mut out =
        String::from("# Generated from the command table of carrel-host. Do not edit: `cargo xtask generate`.\n");
    for command in COMMANDS {
        let windows: Vec<_> = command.surfaces.iter().map(|surface| surface.window()).collect();
        out.push_str(&format!("{} {}\n", command.name, windows.join(" ")));
    }
    out
}

impl Surface {
    /// The label of its window.
    #[must_use]
    pub const fn window(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Diagnostics => "diagnostics",
        }
    }

    /// The surface of a window.
    #[must_use]
    pub fn of_window(label: &str) -> Option<Self> {
        [Self::Main, Self::Diagnostics].into_iter().find(|surface| surface.window() == label)
    }
}

impl CommandSpec {
    /// The command of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|command| command.name == name)
    }
}
