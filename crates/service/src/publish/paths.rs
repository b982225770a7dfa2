//! Paths named in a course: relative, downwards, without links.

use std::path::{Component, Path, PathBuf};

use super::error::ContentProblem;

/// The file a text names, seen from `base` (a folder within `root`). Every step is looked at, so that no link leads out.
pub(super) fn resolve(root: &Path, base: &Path, text: &str) -> Result<PathBuf, ContentProblem> {
    let outside = || ContentProblem::PathOutside(text.to_owned());
    // A backslash or a drive would mean something else on another system.
    if text.is_empty() || text.contains(['\\', '\0']) || text.contains(':') {
        return Err(outside());
    }
    let mut within = base.to_owned();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => within.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    let mut path = root.to_owned();
    for component in within.components() {
        path.push(component);
        let meta =
            std::fs::symlink_metadata(&path).map_err(|_| ContentProblem::Missing(format!("{}", within.display())))?;
        if meta.file_type().is_symlink() {
            return Err(ContentProblem::Link(text.to_owned()));
        }
    }
    if path.is_file() { Ok(within) } else { Err(ContentProblem::Missing(format!("{}", within.display()))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_folder_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("course");
        std::fs::create_dir_all(root.join("unit/media")).unwrap();
        std::fs::write(root.join("unit/media/a.png"), "a").unwrap();
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        let base = Path::new("unit");
        assert_eq!(resolve(&root, base, "media/a.png"), Ok(PathBuf::from("unit/media/a.png")));
        assert_eq!(resolve(&root, base, "./media/a.png"), Ok(PathBuf::from("unit/media/a.png")));
        let absolute = folder.path().join("secret").display().to_string();
        for text in ["../../secret", "media/../../../secret", &absolute, "C:\\secret", "..", "", "https://x/a.png"] {
            assert_eq!(resolve(&root, base, text), Err(ContentProblem::PathOutside(text.to_owned())), "{text:?}");
        }
        assert!(matches!(resolve(&root, base, "media"), Err(ContentProblem::Missing(_))), "a folder is no file");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(folder.path(), root.join("unit/out")).unwrap();
            assert_eq!(resolve(&root, base, "out/secret"), Err(ContentProblem::Link("out/secret".into())));
        }
    }
}
