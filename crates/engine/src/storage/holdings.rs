//! Which files are here, and what needs each of them.
//!
//! Read once for one answer: every number that an answer gives is then of the same moment, and costs one walk over the
//! blobs, however many units there are.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{BlobHash, DownloadId, LessonId, ProfileId, UnitId, content::AssetKind};
use sqlx::SqlitePool;

use super::StorageParts;
use crate::{EngineError, blobs::read_hash, downloads::rows::optional, rows::parsed};

/// Something that needs a blob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    Download(DownloadId),
    /// What was opened: of a learner and unit; a lesson's content, or a cover (none).
    Cache(ProfileId, Option<UnitId>, Option<LessonId>),
}

/// Bytes of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// All its files.
    pub(super) bytes: u64,
    /// Those that nothing else needs.
    pub(super) frees: u64,
}

/// Every blob on disk or referred to, and what needs it.
#[derive(Debug)]
pub(super) struct Holdings {
    holders: BTreeMap<BlobHash, BTreeSet<Holder>>,
    on_disk: BTreeMap<BlobHash, u64>,
}

impl Holdings {
    /// As a learner sees them: what they deleted a moment ago needs nothing any more.
    pub(super) async fn read(parts: &StorageParts, profile: ProfileId) -> Result<Self, EngineError> {
        let readers = parts.library.readers();
        let id = profile.to_string();
        let on_disk = parts.blobs.bytes_on_disk().await?;
        let mut holders: BTreeMap<BlobHash, BTreeSet<Holder>> = BTreeMap::new();
        let items = sqlx::query(
            "SELECT DISTINCT i.hash, i.download_id FROM download_items i JOIN downloads d ON d.id = i.download_id
             WHERE d.deleted_at IS NULL OR d.profile_id <> ?",
        )
        .bind(&id)
        .fetch_all(readers)
        .await?;
        for row in items {
            holders.entry(read_hash(&row)?).or_default().insert(Holder::Download(parsed(&row, "download_id")?));
        }
        let cached = sqlx::query(
            "SELECT hash, profile_id, unit_id, lesson_id FROM cache_entries WHERE deleted_at IS NULL OR profile_id <> ?",
        )
        .bind(&id)
        .fetch_all(readers)
        .await?;
        for row in cached {
            let holder =
                Holder::Cache(parsed(&row, "profile_id")?, optional(&row, "unit_id")?, optional(&row, "lesson_id")?);
            holders.entry(read_hash(&row)?).or_default().insert(holder);
        }
        Ok(Self { holders, on_disk })
    }

    /// All files.
    pub(super) fn used(&self) -> u64 {
        self.on_disk.values().sum()
    }

    /// Files that nothing needs any more, and that go with the next sweep.
    pub(super) fn leaving(&self) -> u64 {
        self.on_disk.iter().filter(|(hash, _)| !self.holders.contains_key(hash)).map(|(_, bytes)| bytes).sum()
    }

    /// Bytes that go when these holders go.
    pub(super) fn frees(&self, going: impl Fn(&Holder) -> bool) -> u64 {
        self.freed(&going).map(|(_, _, bytes)| bytes).sum()
    }

    /// The blobs that go when these holders go, each with what held it and its bytes on disk.
    pub(super) fn freed<'a>(
        &'a self,
        going: &'a impl Fn(&Holder) -> bool,
    ) -> impl Iterator<Item = (BlobHash, &'a BTreeSet<Holder>, u64)> {
        let alone = move |held: &BTreeSet<Holder>| held.iter().all(going);
        let freed = self.holders.iter().filter(move |(_, held)| alone(held));
        freed.filter_map(|(hash, held)| Some((*hash, held, *self.on_disk.get(hash)?)))
    }

    /// Sums by what holders belong to; a holder without a key is somebody else.
    pub(super) fn sums<K: Ord>(&self, key: impl Fn(&Holder) -> Option<K>) -> BTreeMap<K, Sum> {
        let mut sums: BTreeMap<K, Sum> = BTreeMap::new();
        for (hash, held) in &self.holders {
            let Some(bytes) = self.on_disk.get(hash) else { continue };
            let keys: BTreeSet<Option<K>> = held.iter().map(&key).collect();
            let alone = keys.len() == 1;
            for key in keys.into_iter().flatten() {
                let sum = sums.entry(key).or_default();
                sum.bytes += bytes;
                sum.frees += if alone { *bytes } else { 0 };
            }
        }
        sums
    }

    /// Each file once, under what its blob is: all, and of these the ones in `freed`.
    pub(super) async fn by_kind(
        &self,
        readers: &SqlitePool,
        freed: &BTreeSet<BlobHash>,
    ) -> Result<BTreeMap<AssetKind, Sum>, EngineError> {
        let rows = sqlx::query("SELECT hash, kind FROM blobs").fetch_all(readers).await?;
        let kinds = rows.iter().map(|row| Ok((read_hash(row)?, parsed(row, "kind")?)));
        let kinds: BTreeMap<BlobHash, AssetKind> = kinds.collect::<Result<_, EngineError>>()?;
        let mut sums: BTreeMap<AssetKind, Sum> = BTreeMap::new();
        for (hash, bytes) in &self.on_disk {
            // A file that no row knows (the database was made anew) is something, too.
            let sum = sums.entry(kinds.get(hash).copied().unwrap_or(AssetKind::Package)).or_default();
            sum.bytes += bytes;
            sum.frees += if freed.contains(hash) { *bytes } else { 0 };
        }
        Ok(sums)
    }
}
