//! What all cases stand on: the built programs, the files that are served, and the commands of each downloader.

use std::{
    fs::File,
    io::{BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::server::Server;
use crate::{
    places,
    program::{self, cargo, exists, program},
};

/// The length of a small file.
pub(super) const SMALL_BYTES: usize = 30_000;

/// A folder with the files to serve.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) folder: PathBuf,
    pub(super) mib: u64,
}

impl Ground {
    /// Builds the programs, unless they are to be taken as they are, and makes the folder anew.
    pub(super) fn prepare(folder: &Path, mib: u64, build: bool) -> Result<Self> {
        for (tool, package) in [("curl", "curl"), ("aria2c", "aria2")] {
            if !exists(tool) {
                bail!("{tool} is not installed: `apt-get install {package}`, or `cargo xtask setup`");
            }
        }
        // One build, so that all examples share their dependencies.
        let packages = ["--package", "carrel-transfer", "--package", "carrel-testbed"];
        if build {
            program::run(cargo().args(["build", "--release", "--examples"]).args(packages))?;
        }
        if folder.exists() {
            std::fs::remove_dir_all(folder).with_context(|| format!("can't remove {}", folder.display()))?;
        }
        std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), mib })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The authority's certificate of a server over TLS.
    pub(super) fn authority(&self) -> PathBuf {
        self.path("authority.pem")
    }

    /// A file of so many MiB; made once.
    pub(super) fn large(&self, mib: u64) -> Result<PathBuf> {
        let path = self.path(&format!("{mib}-mib"));
        if !path.exists() {
            write_noise(&path, mib << 20, 1)?;
        }
        Ok(path)
    }

    /// A folder with so many small files, all different; made once.
    pub(super) fn small(&self, count: u64) -> Result<PathBuf> {
        let folder = self.path(&format!("{count}-small"));
        if !folder.exists() {
            std::fs::create_dir(&folder)?;
            for at in 0..count {
                write_noise(&folder.join(format!("{at:05}.bin")), SMALL_BYTES as u64, at + 2)?;
            }
        }
        Ok(folder)
    }

    /// The manifest of a file, or of all files of a folder.
    pub(super) fn manifest(&self, of: &Path) -> Result<PathBuf> {
        let path = of.with_added_extension("json");
        if !path.exists() {
            let listed = program::output(program(release("manifest")).arg(of)).context("can't make the manifest")?;
            std::fs::write(&path, listed)?;
        }
        Ok(path)
    }

    /// An origin that serves a file (its address is the file's) or a folder (its address is the folder's).
    pub(super) fn origin(&self, of: &Path, tls: bool) -> Result<Server> {
        let mut command = program(release("origin"));
        if tls {
            command.arg("--tls").arg("--ca").arg(self.authority());
        }
        if of.is_dir() {
            command.arg("--folder");
        }
        Server::start(command.arg(of))
    }

    /// Ours, for one file.
    pub(super) fn fetch(&self, of: &Path, out: &Path, journal: &Path, tls: bool, url: &str) -> Result<Command> {
        let mut command = self.fetch_any(of, out, tls)?;
        command.arg("--journal").arg(journal).arg(url);
        Ok(command)
    }

    /// Ours, for all files of a folder.
    pub(super) fn fetch_folder(&self, of: &Path, out: &Path, tls: bool, url: &str) -> Result<Command> {
        let mut command = self.fetch_any(of, out, tls)?;
        command.arg(url);
        Ok(command)
    }

    fn fetch_any(&self, of: &Path, out: &Path, tls: bool) -> Result<Command> {
        let mut command = program(release("fetch"));
        command.arg("--manifest").arg(self.manifest(of)?).arg("--out").arg(out);
        if tls {
            command.arg("--ca").arg(self.authority());
        }
        Ok(command)
    }

    /// curl, as quiet as the others and without anybody's settings.
    pub(super) fn curl(&self, tls: bool) -> Command {
        let mut command = program("curl");
        command.args(["--disable", "--silent", "--show-error", "--fail"]);
        if tls {
            command.arg("--cacert").arg(self.authority());
        }
        command
    }

    /// aria2, in the same way. It doesn't fill files with zeros first: that would be the slowest of its ways.
    pub(super) fn aria2(&self, tls: bool) -> Command {
        let mut command = program("aria2c");
        command.args(["--no-conf", "--quiet", "--allow-overwrite=true", "--auto-file-renaming=false"]);
        command.args(["--file-allocation=none"]);
        if tls {
            command.arg("--ca-certificate").arg(self.authority());
        }
        command
    }
}

/// A built example.
pub(super) fn release(example: &str) -> PathBuf {
    places::target().join("release").join("examples").join(example).with_extension(std::env::consts::EXE_EXTENSION)
}

/// Runs a command, then lets `sync` make what it wrote durable: what the others would have to do to keep our promise.
pub(super) fn then_sync(command: &Command, sync: &[&str], path: &Path) -> Command {
    let mut both = program("sh");
    both.args(["-c", "path=$1; shift; option=$1; shift; \"$@\" && sync $option \"$path\"", "sh"]);
    both.arg(path).args(sync).arg(command.get_program()).args(command.get_args());
    both
}

/// Checks that a file has the bytes of another: its length, and with `thorough` all of them.
pub(super) fn same(one: &Path, other: &Path, thorough: bool) -> Result<()> {
    let open = |path: &Path| File::open(path).with_context(|| format!("can't read {}", path.display()));
    let (one_file, other_file) = (open(one)?, open(other)?);
    if one_file.metadata()?.len() != other_file.metadata()?.len() {
        bail!("{} has another length", one.display());
    }
    if !thorough {
        return Ok(());
    }
    let (mut one_file, mut other_file) = (BufReader::new(one_file), BufReader::new(other_file));
    let (mut left, mut right) = (vec![0; 1 << 18], vec![0; 1 << 18]);
    loop {
        let count = one_file.read(&mut left)?;
        if count == 0 {
            return Ok(());
        }
        let expected = right.get_mut(..count).context("a read is longer than its buffer")?;
        other_file.read_exact(expected)?;
        if left.get(..count) != Some(&*expected) {
            bail!("{} has other bytes", one.display());
        }
    }
}

/// Checks that a folder has the files of another.
pub(super) fn same_folder(one: &Path, other: &Path, thorough: bool) -> Result<()> {
    for entry in std::fs::read_dir(other)? {
        let entry = entry?;
        same(&one.join(entry.file_name()), &entry.path(), thorough)?;
    }
    Ok(())
}

/// Bytes that don't compress and differ from place to place and from seed to seed; the same ones each time.
fn write_noise(path: &Path, length: u64, seed: u64) -> Result<()> {
    let mut file = File::create(path).with_context(|| format!("can't write {}", path.display()))?;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut block = Vec::with_capacity(1 << 20);
    let mut left = length;
    while left > 0 {
        block.clear();
        while block.len() < 1 << 20 && (block.len() as u64) < left {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        block.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        file.write_all(&block)?;
        left -= block.len() as u64;
    }
    Ok(file.sync_all()?)
}
