//! Authorising downloads.

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use carrel_model::{
    ErrorCode,
    content::Quality,
    wire::{
        downloads::{AuthorizeRequest, Authorized, AuthorizedBlob},
        problem::Problem,
    },
};

use super::{
    App,
    extract::{Json, SignedInAs},
    failure::Failure,
};
use crate::store::DownloadWanted;

/// Decides on a download of a unit, a lesson or a course; the answer lists every blob with its pieces and address.
#[utoipa::path(post, path = "/downloads/authorize", tag = "downloads", request_body = AuthorizeRequest,
    security(("bearer" = [])), responses(
    (status = 200, body = Authorized),
    (status = 400, body = Problem),
    (status = 403, body = Problem,
        description = "`not_enrolled`, `enrolment_expired`, `premium_required` or `quota_exceeded`"),
    (status = 404, body = Problem, description = "`not_found`"),
    (status = 410, body = Problem, description = "`gone`")
))]
pub(super) async fn authorize(
    State(app): State<Arc<App>>,
    SignedInAs(caller): SignedInAs,
    Json(request): Json<AuthorizeRequest>,
) -> Result<Answer<Authorized>, Failure> {
    let wanted = match (request.unit_id, request.lesson_id, request.course_id) {
        (Some(id), None, None) => DownloadWanted::Unit(id),
        (None, Some(id), None) => DownloadWanted::Lesson(id),
        (None, None, Some(id)) => DownloadWanted::Course(id),
        _ => return Err(Failure::of(ErrorCode::InvalidRequest, "exactly one of the three ids is wanted")),
    };
    let quality = request.quality.unwrap_or(Quality::Medium);
    let now = (app.clock)();
    let granted = app.store.authorize_download(caller.learner, wanted, quality, app.quota_bytes, now).await??;
    let blobs = granted.blobs.into_iter().map(|blob| {
        let (url, url_expires_at) = app.signer.sign(blob.manifest.hash(), now);
        AuthorizedBlob {
            asset_id: blob.asset_id,
            lesson_id: blob.lesson_id,
            unit_id: blob.unit_id,
            kind: blob.kind,
            quality: blob.quality,
            mime: blob.mime,
            manifest: blob.manifest,
            url,
            url_expires_at,
        }
    });
    Ok(Answer(Authorized {
        blobs: blobs.collect(),
        expires_at: granted.expires_at,
        quota_used: granted.quota_used,
        quota_limit: granted.quota_limit,
        server_time: now,
    }))
}
