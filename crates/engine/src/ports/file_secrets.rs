//! Tokens in a file that only this user can read, where there is no keyring.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::Secrets;

/// One JSON file of mode 0600, replaced as a whole so that a kill never leaves half of it.
#[derive(Debug, Clone)]
pub struct FileSecrets {
    path: PathBuf,
    /// One change at a time.
    turn: Arc<Mutex<()>>,
}

impl FileSecrets {
    /// The file of a data folder.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join("secrets.json"), turn: Arc::default() }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _turn = this.turn.lock().unwrap_or_else(PoisonError::into_inner);
            work(&this.path)
        });
        done.await.map_err(io::Error::other)?
    }
}

#[async_trait]
impl Secrets for FileSecrets {
    async fn get(&self, name: &str) -> io::Result<Option<String>> {
        let name = name.to_owned();
        self.blocking(move |path| Ok(read(path)?.remove(&name))).await
    }

    async fn set(&self, name: &str, secret: &str) -> io::Result<()> {
        let (name, secret) = (name.to_owned(), secret.to_owned());
        self.blocking(move |path| {
            let mut all = read(path)?;
            all.insert(name, secret);
            write(path, &all)
        })
        .await
    }

    async fn delete(&self, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        self.blocking(move |path| {
            let mut all = read(path)?;
            if all.remove(&name).is_some() { write(path, &all) } else { Ok(()) }
        })
        .await
    }

    fn is_fallback(&self) -> bool {
        true
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<String, String>> {
    match fs::read(path) {
        // A file that can't be read as ours costs a sign-in, not the app.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, all: &BTreeMap<String, String>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let next = path.with_extension("json.new");
    let mut options = fs::File::options();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&next)?;
    file.write_all(&serde_json::to_vec(all)?)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&next, path)?;
    // The name is durable only with its folder; elsewhere than on Unix a folder can't be opened.
    #[cfg(unix)]
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_secrets_in_a_file_only_this_user_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = FileSecrets::new(folder.path());
        assert_eq!(secrets.get("a").await.unwrap(), None, "nothing yet");
        secrets.set("a", "one").await.unwrap();
        secrets.set("b", "two").await.unwrap();
        secrets.delete("b").await.unwrap();
        let again = FileSecrets::new(folder.path());
        assert_eq!(again.get("a").await.unwrap().as_deref(), Some("one"), "another start finds it");
        assert_eq!(again.get("b").await.unwrap(), None, "forgotten");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(folder.path().join("secrets.json")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn a_damaged_file_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secrets.json"), b"\xff{").unwrap();
        assert_eq!(FileSecrets::new(folder.path()).get("a").await.unwrap(), None);
    }
}
