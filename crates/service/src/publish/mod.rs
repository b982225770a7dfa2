//! Publishing: a folder becomes a course (docs/PUBLISHING.md).
//!
//! The folder is read and checked completely before anything is written; then the objects are written, which hurts nobody if
//! it is all that happens; then one transaction makes the course what the folder says. Identity is the key, so publishing
//! again changes only what changed.

mod build;
mod changes;
mod checks;
mod error;
mod folder;
mod front_matter;
mod media;
mod mp4;
mod page;
mod paths;
mod quiz;

use std::path::Path;

use crate::{
    clock::Clock,
    objects::Objects,
    store::{Published, Store},
};

pub(crate) use changes::{carry_over_course, carry_over_unit};
pub use error::{ContentProblem, PublishError};

/// Publishes the course in a folder.
pub async fn publish_folder(
    store: &dyn Store,
    objects: &Objects,
    folder: &Path,
    clock: &Clock,
) -> Result<(String, Published), PublishError> {
    let folder = folder.to_owned();
    let read = off_thread(move || folder::read(&folder)).await?;
    let known = store.known_ids(&read.key).await?;
    let now = clock();
    let built = off_thread(move || build::build(read, known, now)).await?;
    for upload in built.uploads {
        match upload.source {
            build::Source::File(path) => objects.put_file(upload.hash, upload.size, &path).await?,
            build::Source::Memory(content) => objects.put(upload.hash, content).await?,
        }
    }
    let key = built.course.key.clone();
    let published = store.publish(built.course, clock()).await?;
    Ok((key, published))
}

/// Reading and hashing gigabytes must not hold up the async threads.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PublishError> + Send + 'static,
) -> Result<T, PublishError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(PublishError::Stopped(error.to_string())))
}
