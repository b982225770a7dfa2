//! The tests of the real window, by name: the story several times, the pictures of the README, the tour of the demo.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;

use crate::{build, places, program, setup, steps};

/// How often.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many times in a row
    #[arg(default_value_t = 5)]
    times: u32,
}

/// Runs the story so many times; every run has to hold.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run()?;
    build::run()?;
    let mut failed = 0;
    for time in 1..=options.times {
        println!("\n=== story {time} of {} ===", options.times);
        if let Err(error) =
            steps::window_tests(Some("real_window::story::a_unit_is_taken_along_and_everything_arrives_once"))
        {
            println!("{error:#}");
            failed += 1;
        }
    }
    println!("stories: {} passed, {failed} failed", options.times - failed);
    if failed > 0 {
        bail!("{failed} of {} stories failed", options.times);
    }
    Ok(())
}

/// Takes the pictures that the README shows.
pub(crate) fn screenshots() -> Result<()> {
    setup::run()?;
    build::run()?;
    tour(&places::root().join("docs").join("screenshots"), "real_window::pictures::of_the_readme")
}

/// Walks through the app in a window without a display and leaves a picture of each screen in `folder`.
pub(crate) fn tour(folder: &Path, test: &str) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    program::run(steps::window_command(Some(test)).env("CARREL_PICTURES", folder))
}
