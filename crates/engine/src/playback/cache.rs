//! What is opened without having been downloaded: small assets are kept, large ones pass through.
//!
//! A cover or a page is fetched whole into memory (at most [`KEPT_BYTES`]), hashed, and only then written: nothing that
//! doesn't fit its hash is ever shown or kept.

use std::time::Duration;

use bytes::BytesMut;
use carrel_model::{ErrorCode, ProfileId, content::AssetKind, pieces::ManifestBuilder, wire::content::SignedUrl};
use futures_util::StreamExt as _;
use url::Url;

use super::{MediaContent, Playback, PlaybackParts, policy};
use crate::{EngineError, blobs::Located, downloads::rooms::OwnedAsset};

/// Assets up to this size are kept when they are opened.
const KEPT_BYTES: u64 = 4 << 20;
/// For the whole of a small asset.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn fetch(
    playback: &Playback,
    profile: ProfileId,
    owned: &OwnedAsset,
    signed: SignedUrl,
) -> Result<MediaContent, EngineError> {
    let parts = &playback.parts;
    let url = Url::parse(&signed.url).map_err(|error| EngineError::Unreadable(error.to_string()))?;
    let mime = owned.asset.renditions.iter().find(|r| r.hash == signed.hash || r.quality == signed.quality);
    let mime = mime.map(|rendition| rendition.mime.clone()).unwrap_or_default();
    let remote = MediaContent::Remote { url: url.clone(), hash: signed.hash, size: signed.size, mime: mime.clone() };
    let streams = matches!(owned.asset.kind, AssetKind::Audio | AssetKind::Video | AssetKind::Package);
    if streams || signed.size > KEPT_BYTES {
        return Ok(remote);
    }
    // It may be here for another learner already: then only the reference is missing.
    if let Located::Here { path, size } = parts.blobs.locate(signed.hash).await? {
        refer(parts, profile, owned, &signed, &mime, None).await?;
        return Ok(MediaContent::File { path, hash: signed.hash, size, mime });
    }
    // Somebody is just fetching the same file, or there is no room to keep it: it is shown all the same.
    let Some(_writing) = parts.blobs.begin_writing(signed.hash) else { return Ok(remote) };
    if parts.downloads.space().await?.available_bytes() < signed.size {
        return Ok(remote);
    }
    let whole = tokio::time::timeout(PATIENCE, body(parts, url, signed.size)).await;
    let whole = whole.map_err(|_| unreachable("it took too long"))??;
    let mut builder = ManifestBuilder::new();
    builder.update(&whole);
    let manifest = builder.finish();
    if manifest.hash() != signed.hash {
        return Err(EngineError::Service {
            code: ErrorCode::ServiceFailed,
            detail: format!("other bytes than {}", signed.hash),
            retry_after_ms: None,
        });
    }
    refer(parts, profile, owned, &signed, &mime, Some(&manifest)).await?;
    parts.blobs.put(signed.hash, whole.freeze()).await?;
    // One more may be one too many.
    if policy::trim(&parts.library, parts.clock.now()).await? > 0 {
        parts.blobs.sweep().await?;
    }
    // A queued download may have been waiting for just this blob.
    parts.downloads.wake();
    match parts.blobs.locate(signed.hash).await? {
        Located::Here { path, size } => Ok(MediaContent::File { path, hash: signed.hash, size, mime }),
        Located::Absent | Located::Damaged => Ok(remote),
    }
}

/// The reference that keeps a blob, and its row where it is new.
async fn refer(
    parts: &PlaybackParts,
    profile: ProfileId,
    owned: &OwnedAsset,
    signed: &SignedUrl,
    mime: &str,
    manifest: Option<&carrel_model::pieces::Manifest>,
) -> Result<(), EngineError> {
    let lock = parts.blobs.lock().await;
    let mut tx = parts.library.write().await?;
    if let Some(manifest) = manifest {
        parts.blobs.expect(&lock, &mut tx, manifest, owned.asset.kind, mime).await?;
    }
    // The blob may have gone between the look and the lock: then there is nothing to refer to, and no harm done.
    sqlx::query(
        "INSERT INTO cache_entries (profile_id, asset_id, quality, hash, mime, unit_id, lesson_id, used_at)
         SELECT ?, ?, ?, hash, ?, ?, ?, ? FROM blobs WHERE hash = ?
         ON CONFLICT (profile_id, asset_id, quality)
         DO UPDATE SET hash = excluded.hash, mime = excluded.mime, used_at = excluded.used_at, deleted_at = NULL",
    )
    .bind(profile.to_string())
    .bind(owned.asset.id.to_string())
    .bind(signed.quality.as_str())
    .bind(mime)
    .bind(owned.unit_id.map(|id| id.to_string()).unwrap_or_default())
    .bind(owned.asset.lesson_id.map(|id| id.to_string()).unwrap_or_default())
    .bind(parts.clock.now().as_ms())
    .bind(signed.hash.to_string())
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

async fn body(parts: &PlaybackParts, url: Url, size: u64) -> Result<BytesMut, EngineError> {
    let response =
        parts.http.client().get(url).send().await.map_err(|error| unreachable(&error.without_url().to_string()))?;
    if !response.status().is_success() {
        return Err(EngineError::Service {
            code: if response.status().is_server_error() { ErrorCode::ServiceFailed } else { ErrorCode::Gone },
            detail: response.status().to_string(),
            retry_after_ms: None,
        });
    }
    let mut whole = BytesMut::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| unreachable(&error.without_url().to_string()))?;
        if (whole.len() + chunk.len()) as u64 > size {
            return Err(EngineError::Refused(ErrorCode::NotAService));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}

fn unreachable(detail: &str) -> EngineError {
    EngineError::Service { code: ErrorCode::ServiceUnreachable, detail: detail.to_owned(), retry_after_ms: None }
}
