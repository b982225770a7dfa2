//! Deciding on downloads and on single renditions (requirements A1, A6, B4).

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::{Database, Transaction, content, enrolments, values};
use crate::{
    rules::{Denial, EnrolmentFacts, may_open},
    store::{DownloadWanted, GrantedBlob, GrantedDownload, GrantedRendition, StoreError},
};
use carrel_model::{
    BlobHash, CourseId, LearnerId, LessonId, TimeMs, UnitId,
    content::{Asset, Course, Quality, Unit},
    wire::content::UrlWanted,
};

/// Lists of pieces that are read in one question.
const MANIFESTS_AT_ONCE: usize = 500;

/// What a decision about a course rests on.
struct CourseFacts {
    open: bool,
    premium: bool,
    gone: bool,
    enrolment: Option<EnrolmentFacts>,
}

impl CourseFacts {
    async fn load(tx: &mut dyn Transaction, learner: LearnerId, course: CourseId) -> Result<Option<Self>, StoreError> {
        let row = tx
            .row(
                "SELECT open, premium, deleted_at IS NOT NULL AS gone FROM courses WHERE course_id = $1",
                values![course],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Self {
            open: row.flag("open")?,
            premium: row.flag("premium")?,
            gone: row.flag("gone")?,
            enrolment: enrolments::one(tx, learner, course).await?,
        }))
    }

    /// A cover is part of the catalogue: whoever sees the course sees it. Everything else is content.
    fn permit(&self, cover: bool, now: TimeMs) -> Result<(), Denial> {
        let in_sight = self.open || self.enrolment.is_some();
        match (self.gone, cover) {
            (true, _) if in_sight => Err(Denial::Gone),
            (false, true) if in_sight => Ok(()),
            (true, _) | (false, true) => Err(Denial::NotEnrolled),
            (false, false) => may_open(self.open, self.premium, self.enrolment, now),
        }
    }
}

pub(super) async fn renditions(
    db: &dyn Database,
    learner: LearnerId,
    wanted: &[UrlWanted],
    now: TimeMs,
) -> Result<Vec<GrantedRendition>, StoreError> {
    let mut tx = db.snapshot().await?;
    let mut facts: BTreeMap<CourseId, Option<CourseFacts>> = BTreeMap::new();
    let mut granted = Vec::new();
    for item in wanted {
        let row = tx
            .row(
                "SELECT course_id, lesson_id, body FROM assets WHERE asset_id = $1 AND deleted_at IS NULL",
                values![item.asset_id],
            )
            .await?;
        let Some(row) = row else { continue };
        let course: CourseId = row.word("course_id")?;
        if let Entry::Vacant(place) = facts.entry(course) {
            place.insert(CourseFacts::load(tx.as_mut(), learner, course).await?);
        }
        let cover = row.word_or_none::<LessonId>("lesson_id")?.is_none();
        let permitted = facts.get(&course).and_then(Option::as_ref).is_some_and(|f| f.permit(cover, now).is_ok());
        let asset: Asset = row.json("body")?;
        if let Some(rendition) = asset.rendition_for(item.quality).filter(|_| permitted) {
            granted.push(GrantedRendition {
                asset_id: asset.id,
                quality: rendition.quality,
                hash: rendition.hash,
                size: rendition.size,
            });
        }
    }
    Ok(granted)
}

pub(super) async fn may_read_blob(
    db: &dyn Database,
    learner: LearnerId,
    hash: BlobHash,
    now: TimeMs,
) -> Result<bool, StoreError> {
    let mut tx = db.snapshot().await?;
    let rows = tx
        .rows(
            "SELECT DISTINCT a.course_id, a.lesson_id IS NULL AS cover FROM renditions r
             JOIN assets a ON a.asset_id = r.asset_id WHERE r.hash = $1 AND a.deleted_at IS NULL",
            values![hash],
        )
        .await?;
    for row in rows {
        let facts = CourseFacts::load(tx.as_mut(), learner, row.word("course_id")?).await?;
        if facts.is_some_and(|facts| row.flag("cover").is_ok_and(|cover| facts.permit(cover, now).is_ok())) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One rendition of a download, before its pieces are read.
struct Item {
    asset: Asset,
    unit: Option<UnitId>,
}

pub(super) async fn authorize(
    db: &dyn Database,
    learner: LearnerId,
    wanted: DownloadWanted,
    quality: Quality,
    default_quota: Option<u64>,
    now: TimeMs,
) -> Result<Result<GrantedDownload, Denial>, StoreError> {
    let mut tx = db.snapshot().await?;
    let (course, gone) = match locate(tx.as_mut(), wanted).await? {
        Some(found) => found,
        None => return Ok(Err(Denial::NotFound)),
    };
    let Some(facts) = CourseFacts::load(tx.as_mut(), learner, course).await? else { return Ok(Err(Denial::NotFound)) };
    if let Err(denial) = facts.permit(false, now) {
        return Ok(Err(denial));
    }
    if gone {
        return Ok(Err(Denial::Gone));
    }
    let mut chosen = Vec::new();
    let mut seen = BTreeSet::new();
    for Item { asset, unit } in items(tx.as_mut(), course, wanted).await? {
        if let Some(rendition) = asset.rendition_for(quality)
            && seen.insert(rendition.hash)
        {
            chosen.push((unit, asset.id, asset.lesson_id, asset.kind, rendition.quality, rendition.hash));
        }
    }
    let mut blobs = Vec::with_capacity(chosen.len());
    for some in chosen.chunks(MANIFESTS_AT_ONCE) {
        let hashes: Vec<BlobHash> = some.iter().map(|(.., hash)| *hash).collect();
        let mut manifests = content::manifests(tx.as_mut(), &hashes).await?;
        for (unit_id, asset_id, lesson_id, kind, quality, hash) in some.iter().copied() {
            let (manifest, mime) = manifests.remove(&hash).ok_or(StoreError::Damaged("blob of a rendition"))?;
            blobs.push(GrantedBlob { asset_id, lesson_id, unit_id, kind, quality, mime, manifest });
        }
    }
    let (quota_used, own_limit) = quota(tx.as_mut(), learner).await?;
    let quota_limit = own_limit.or(default_quota);
    let size: u64 = blobs.iter().map(|blob| blob.manifest.size()).sum();
    if let Some(limit) = quota_limit.filter(|limit| quota_used.saturating_add(size) > *limit) {
        return Ok(Err(Denial::QuotaExceeded { wanted: size, used: quota_used, limit }));
    }
    let expires_at = facts.enrolment.filter(|_| !facts.open).and_then(|enrolment| enrolment.expires_at);
    Ok(Ok(GrantedDownload { blobs, expires_at, quota_used, quota_limit }))
}

/// The course something belongs to, and whether the thing itself was withdrawn.
async fn locate(tx: &mut dyn Transaction, wanted: DownloadWanted) -> Result<Option<(CourseId, bool)>, StoreError> {
    let (sql, id) = match wanted {
        DownloadWanted::Unit(id) => {
            ("SELECT course_id, deleted_at IS NOT NULL AS gone FROM units WHERE unit_id = $1", id.to_string())
        }
        DownloadWanted::Lesson(id) => {
            ("SELECT course_id, deleted_at IS NOT NULL AS gone FROM lessons WHERE lesson_id = $1", id.to_string())
        }
        DownloadWanted::Course(id) => {
            ("SELECT course_id, deleted_at IS NOT NULL AS gone FROM courses WHERE course_id = $1", id.to_string())
        }
    };
    let row = tx.row(sql, values![id]).await?;
    row.map(|row| Ok((row.word("course_id")?, row.flag("gone")?))).transpose()
}

async fn items(tx: &mut dyn Transaction, course: CourseId, wanted: DownloadWanted) -> Result<Vec<Item>, StoreError> {
    let rows = match wanted {
        DownloadWanted::Unit(id) => tx.rows("SELECT body FROM units WHERE unit_id = $1", values![id]).await?,
        DownloadWanted::Lesson(id) => {
            tx.rows(
                "SELECT u.body FROM units u JOIN lessons l ON l.unit_id = u.unit_id
                 WHERE l.lesson_id = $1 AND u.deleted_at IS NULL",
                values![id],
            )
            .await?
        }
        DownloadWanted::Course(id) => {
            tx.rows("SELECT body FROM units WHERE course_id = $1 AND deleted_at IS NULL ORDER BY position", values![id])
                .await?
        }
    };
    let mut items = Vec::new();
    if let DownloadWanted::Course(_) = wanted
        && let Some(row) = tx.row("SELECT body FROM courses WHERE course_id = $1", values![course]).await?
    {
        items.extend(row.json::<Course>("body")?.cover.map(|asset| Item { asset, unit: None }));
    }
    for row in &rows {
        let unit: Unit = row.json("body")?;
        let id = unit.id;
        let assets = unit.cover.into_iter().chain(unit.assets);
        let wanted = assets.filter(|asset| match wanted {
            DownloadWanted::Lesson(lesson) => asset.lesson_id == Some(lesson),
            DownloadWanted::Unit(_) | DownloadWanted::Course(_) => true,
        });
        items.extend(wanted.map(|asset| Item { asset, unit: Some(id) }));
    }
    Ok(items)
}

async fn quota(tx: &mut dyn Transaction, learner: LearnerId) -> Result<(u64, Option<u64>), StoreError> {
    let row = tx
        .row(
            "SELECT CAST(COALESCE((SELECT SUM(bytes) FROM storage_usage WHERE learner_id = $1), 0) AS BIGINT) AS used,
                    (SELECT quota_bytes FROM accounts WHERE learner_id = $1) AS quota",
            values![learner],
        )
        .await?
        .ok_or(StoreError::Damaged("quota"))?;
    Ok((row.number("used")?, row.number_or_none("quota")?))
}
