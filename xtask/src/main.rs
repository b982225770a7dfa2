//! `cargo xtask …`: everything one does with this repository, by one name each.
//!
//! The tasks only start other programs – cargo, npm, the built binaries – in the right order with the right settings.
//! What is tested, and how, is written where it is tested.

mod bench;
mod build;
mod chaos;
mod demo;
mod fuzz;
mod generate;
mod hostile;
mod places;
mod program;
mod samples;
mod schemathesis;
mod setup;
mod simulate;
mod steps;
mod story;
mod web;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the Carrel repository", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing: system packages (Debian, Ubuntu), npm packages
    Setup,
    /// Build the UI, the app, the service and the HTTP host
    Build,
    /// Build everything, publish the sample courses and open the app, signed in
    Demo(demo::Options),
    /// Serve the app to a browser, against a service with the sample courses
    Web(web::Options),
    /// Run every check and test, as CI does
    Test(steps::Options),
    /// Run the story in the real window several times
    Story(story::Options),
    /// Write the generated files anew: TypeScript client, OpenAPI document, permission lists
    Generate,
    /// Take the pictures of the README
    Screenshots,
    /// Measure
    Bench(bench::Options),
    /// Play every fault to our downloads, curl, aria2 and wget, and show who survives
    Hostile(hostile::Options),
    /// Let libFuzzer look for bytes that break the rules of downloads
    Fuzz(fuzz::Options),
    /// Kill service and host behind a bad network, or cut the app's journal, and look for work that is missing or doubled
    Chaos(chaos::Options),
    /// Send random requests, made from its OpenAPI document, to the service (needs Python)
    Schemathesis(schemathesis::Options),
    /// Play random histories of sync, and look for writes that are lost, doubled, stuck or seen differently
    Simulate(simulate::Options),
}

fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Setup => setup::run(),
        Task::Build => setup::run().and_then(|()| build::run()),
        Task::Demo(options) => demo::run(&options),
        Task::Web(options) => web::run(&options),
        Task::Test(options) => steps::run(&options),
        Task::Story(options) => story::run(&options),
        Task::Generate => generate::run(),
        Task::Screenshots => story::screenshots(),
        Task::Bench(options) => bench::run(&options),
        Task::Hostile(options) => hostile::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Chaos(options) => chaos::run(&options),
        Task::Schemathesis(options) => schemathesis::run(&options),
        Task::Simulate(options) => simulate::run(&options),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
