//! The built programs: started, killed, started again on the same data.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use carrel_testbed::processes::Process;

/// A start on a machine that compiles something else meanwhile.
const START_WITHIN: Duration = Duration::from_secs(60);

/// One program and the process that runs it now.
#[derive(Debug)]
pub(crate) struct Programs {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
    starts: u32,
    process: Option<Process>,
}

impl Programs {
    /// A host with its data in `folder`.
    pub(crate) fn host(programs: &Path, folder: &Path) -> Self {
        let data = folder.join("host").to_string_lossy().into_owned();
        Self::new(programs.join("carrel-host"), vec!["--data".to_owned(), data], Vec::new(), folder.join("host"))
    }

    /// `log` is the beginning of the names of its logs.
    pub(crate) fn new(
        program: PathBuf,
        arguments: Vec<String>,
        environment: Vec<(&'static str, String)>,
        log: PathBuf,
    ) -> Self {
        Self { program, arguments, environment, log, starts: 0, process: None }
    }

    /// With other arguments from the next start on.
    pub(crate) fn let_be(&mut self, arguments: Vec<String>) {
        self.arguments = arguments;
    }

    /// Starts the host; gives its one-time link.
    pub(crate) async fn start_host(&mut self) -> io::Result<String> {
        self.start("Open ").await
    }

    /// Starts it, and gives the word that follows `mark` in what it prints.
    pub(crate) async fn start(&mut self, mark: &str) -> io::Result<String> {
        self.starts += 1;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        // Each life has a log of its own: what the one before said must not be taken for what this one says.
        let mut process = Process::start(&mut command, &self.log_of(self.starts))?;
        let word = process
            .wait_for(START_WITHIN, |log| {
                let rest = log.get(log.find(mark)? + mark.len()..)?;
                // Printed to its end, or a part might be taken for all.
                rest.contains('\n').then(|| rest.split_whitespace().next().map(str::to_owned))?
            })
            .await?;
        self.process = Some(process);
        Ok(word)
    }

    /// The operating system's id of what runs now.
    #[allow(dead_code, reason = "only one of the two programs that share this needs it")]
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// What it printed in all its lives.
    pub(crate) fn log(&self) -> String {
        (1..=self.starts).filter_map(|life| std::fs::read_to_string(self.log_of(life)).ok()).collect()
    }

    fn log_of(&self, life: u32) -> PathBuf {
        self.log.with_extension(format!("{life}.log"))
    }
}
