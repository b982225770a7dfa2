//! The table `download_items`: the assets of a download and the blob each of them is.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use carrel_model::{
    AssetId, BlobHash, DownloadId, LessonId, ProfileId, UnitId,
    content::{Asset, AssetKind, Quality},
};
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::{
    grant::{Granted, GrantedBlob},
    rooms::Outline,
};
use crate::{EngineError, blobs::read_hash, library::WriteTx, rows::unsigned};

/// Rows of one statement.
const AT_ONCE: usize = 200;

/// An asset of a lesson (or of the unit as a whole) and the blob it is.
#[derive(Debug, Clone)]
pub(super) struct Item {
    asset_id: AssetId,
    lesson_id: Option<LessonId>,
    kind: AssetKind,
    quality: Quality,
    mime: Arc<str>,
    blob: Arc<GrantedBlob>,
}

impl Item {
    pub(super) fn hash(&self) -> BlobHash {
        self.blob.manifest.hash()
    }

    pub(super) const fn blob(&self) -> &Arc<GrantedBlob> {
        &self.blob
    }

    fn of(blob: &Arc<GrantedBlob>, lesson_id: Option<LessonId>) -> Self {
        let (asset_id, kind, quality) = (blob.asset_id, blob.kind, blob.quality);
        Self { asset_id, lesson_id, kind, quality, mime: Arc::clone(&blob.mime), blob: Arc::clone(blob) }
    }
}

/// A grant, to be looked up in.
pub(super) struct Expansion<'a> {
    by_asset: HashMap<AssetId, &'a Arc<GrantedBlob>>,
    of_unit: BTreeMap<UnitId, Vec<&'a Arc<GrantedBlob>>>,
    of_none: Vec<&'a Arc<GrantedBlob>>,
    quality: Quality,
}

impl<'a> Expansion<'a> {
    pub(super) fn new(granted: &'a Granted, quality: Quality) -> Self {
        let mut expansion = Self { by_asset: HashMap::new(), of_unit: BTreeMap::new(), of_none: Vec::new(), quality };
        for blob in &granted.blobs {
            expansion.by_asset.insert(blob.asset_id, blob);
            match blob.unit_id {
                Some(unit) => expansion.of_unit.entry(unit).or_default().push(blob),
                None => expansion.of_none.push(blob),
            }
        }
        expansion
    }

    /// Of these uses, the assets that were not granted by their own names: another one is the same blob, or the service has
    /// withdrawn them.
    pub(super) fn unnamed(&self, outline: &Outline) -> BTreeSet<AssetId> {
        outline.uses.iter().map(|(asset, _)| *asset).filter(|asset| !self.by_asset.contains_key(asset)).collect()
    }

    /// Which assets of which lessons of a unit the granted blobs are. The service lists each blob once; the catalogue knows
    /// every asset and lesson that needs it. `unnamed` are [`those`](Self::unnamed) assets as the catalogue has them.
    pub(super) fn items(&self, unit: UnitId, outline: &Outline, unnamed: &BTreeMap<AssetId, Asset>) -> Vec<Item> {
        let own = self.of_unit.get(&unit).map(Vec::as_slice).unwrap_or_default();
        let mut seen = BTreeSet::new();
        let mut items = Vec::with_capacity(own.len());
        for blob in own.iter().chain(&self.of_none) {
            // A cover of the whole course comes with each unit only where the unit shows it.
            let is_ours = blob.unit_id.is_some() || outline.uses.iter().any(|(asset, _)| *asset == blob.asset_id);
            if is_ours && seen.insert((blob.asset_id, blob.lesson_id)) {
                items.push(Item::of(blob, blob.lesson_id));
            }
        }
        let mut by_hash = HashMap::new();
        if !unnamed.is_empty() {
            by_hash = self.by_asset.values().map(|blob| (blob.manifest.hash(), *blob)).collect();
        }
        for (asset, lesson) in &outline.uses {
            if !seen.insert((*asset, *lesson)) {
                continue;
            }
            if let Some(blob) = self.by_asset.get(asset) {
                items.push(Item::of(blob, *lesson));
            } else if let Some(rendition) = unnamed.get(asset).and_then(|asset| asset.rendition_for(self.quality))
                && let Some(blob) = by_hash.get(&rendition.hash)
                && let Some(kind) = unnamed.get(asset).map(|asset| asset.kind)
            {
                let (quality, mime) = (rendition.quality, rendition.mime.as_str().into());
                items.push(Item { asset_id: *asset, lesson_id: *lesson, kind, quality, mime, blob: Arc::clone(blob) });
            }
        }
        items
    }
}

/// What items weigh, each blob once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) bytes_total: u64,
    pub(super) bytes_done: u64,
    pub(super) blobs: u64,
    pub(super) blobs_missing: u64,
}

impl Weight {
    /// Of items of which nothing is here.
    pub(super) fn of(items: &[Item]) -> Self {
        let mut seen = BTreeSet::new();
        let mut weight = Self::default();
        for item in items.iter().filter(|item| seen.insert(item.hash())) {
            weight.bytes_total = weight.bytes_total.saturating_add(item.blob.manifest.size());
            weight.blobs += 1;
        }
        Self { blobs_missing: weight.blobs, ..weight }
    }
}

/// What there is of blobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stock {
    present: bool,
    verified_bytes: u64,
}

/// Of the blobs of these items those of which anything is here.
pub(super) async fn stock(
    tx: &mut WriteTx,
    items: impl Iterator<Item = &Item>,
) -> Result<HashMap<BlobHash, Stock>, EngineError> {
    let hashes: BTreeSet<BlobHash> = items.map(Item::hash).collect();
    let rows = sqlx::query(
        "SELECT b.hash, b.state = 'present' AS present, b.verified_bytes FROM json_each(?) j
         CROSS JOIN blobs b ON b.hash = j.value WHERE b.state = 'present' OR b.verified_bytes > 0",
    )
    .bind(serde_json::to_string(&hashes)?)
    .fetch_all(&mut **tx)
    .await?;
    let read = |row| {
        Ok((
            read_hash(row)?,
            Stock { present: row.try_get("present")?, verified_bytes: unsigned(row, "verified_bytes")? },
        ))
    };
    rows.iter().map(read).collect()
}

/// Items of one download that are written together.
pub(super) struct Part<'a> {
    pub(super) download: DownloadId,
    pub(super) generation: i64,
    pub(super) items: &'a [Item],
    /// Items of the download that were written before.
    pub(super) first: usize,
}

/// Writes items, and says what of each part is here. Of several items that are the same blob, the first leads: it is the one
/// that counts and is fetched. `led` are the blobs that items of this download lead already.
pub(super) async fn insert(
    tx: &mut WriteTx,
    profile: ProfileId,
    parts: &[Part<'_>],
    led: &mut BTreeSet<(DownloadId, BlobHash)>,
) -> Result<Vec<Weight>, EngineError> {
    let stock = stock(tx, parts.iter().flat_map(|part| part.items)).await?;
    let profile = profile.to_string();
    let mut weights = Vec::with_capacity(parts.len());
    let mut rows = Vec::new();
    for part in parts {
        let mut weight = Weight::default();
        let download: Arc<str> = part.download.to_string().into();
        for (item, ordinal) in part.items.iter().zip(part.first..) {
            let here = stock.get(&item.hash()).copied().unwrap_or_default();
            let leads = led.insert((part.download, item.hash()));
            if leads {
                let size = item.blob.manifest.size();
                weight.bytes_total = weight.bytes_total.saturating_add(size);
                weight.bytes_done =
                    weight.bytes_done.saturating_add(if here.present { size } else { here.verified_bytes });
                weight.blobs += 1;
                weight.blobs_missing += u64::from(!here.present);
            }
            rows.push((Arc::clone(&download), part.generation, item, ordinal, leads, !here.present));
        }
        weights.push(weight);
    }
    for rows in rows.chunks(AT_ONCE) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO download_items (download_id, profile_id, generation, asset_id, lesson_id, hash, kind, quality,
                                         mime, ordinal, leads, missing) ",
        );
        insert.push_values(rows, |mut row, (download, generation, item, ordinal, leads, missing)| {
            row.push_bind(download.to_string())
                .push_bind(profile.as_str())
                .push_bind(generation)
                .push_bind(item.asset_id.to_string())
                .push_bind(item.lesson_id.map(|id| id.to_string()).unwrap_or_default())
                .push_bind(item.hash().to_string())
                .push_bind(item.kind.as_str())
                .push_bind(item.quality.as_str())
                .push_bind(&*item.mime)
                .push_bind(i64::try_from(*ordinal).unwrap_or(i64::MAX))
                .push_bind(leads)
                .push_bind(missing);
        });
        insert.build().execute(&mut **tx).await?;
    }
    Ok(weights)
}

/// Counts anew after the items or the generation of a download changed; what blobs do is counted by triggers.
pub(super) async fn recount(tx: &mut WriteTx, id: DownloadId) -> Result<(), EngineError> {
    sqlx::query(
        "UPDATE downloads SET bytes_total = CASE WHEN n.items > 0 THEN n.total ELSE bytes_total END,
                              bytes_done = n.done, blobs_missing = n.missing, expanding = 0
         FROM (SELECT COUNT(*) AS items, COALESCE(SUM(b.size), 0) AS total, COALESCE(SUM(b.verified_bytes), 0) AS done,
                      COALESCE(SUM(i.missing), 0) AS missing
               FROM downloads d CROSS JOIN download_items i ON i.download_id = d.id AND i.generation = d.generation
               CROSS JOIN blobs b ON b.hash = i.hash WHERE d.id = ?1 AND i.leads = 1) n
         WHERE downloads.id = ?1",
    )
    .bind(id.to_string())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
