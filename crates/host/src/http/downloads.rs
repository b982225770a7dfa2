//! Downloads by the names of older systems, for scripts and other front ends.
//!
//! Each route is a name for a command and takes the same way in: the session's cookie, and our own `Origin` on whatever
//! changes something. Nothing is decided here.
//!
//! | | |
//! |---|---|
//! | `POST /api/downloads/start` | `downloads_start`; `{"unit_id" or "lesson_id" or "content_id", "quality": "720p"}` |
//! | `GET /api/downloads/{id}/progress` | that download of `downloads_list`, with `progress` in percent |
//! | `GET /api/downloads/{id}/play` | its file, with ranges; `?lesson_id=` picks a lesson of a unit |
//! | `DELETE /api/downloads/{id}` | `downloads_cancel` |
//! | `DELETE /api/downloads/{id}/delete` | `storage_delete_download`, at once: a script has no button to take it back |
//! | `POST /api/downloads/cleanup/all` | `storage_clear_all`, at once |

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    response::{IntoResponse as _, Response},
    routing::{delete, get, post},
};
use carrel_engine::model::{DownloadId, ErrorCode, LessonId, content::Quality};
use carrel_engine::playback::MediaContent;
use serde::Deserialize;
use serde_json::{Value, json};

use super::routes::{Serving, refused};
use crate::{Caller, HostError, Surface};

/// Far more than a few ids.
const LARGEST_REQUEST: usize = 16 * 1024;

pub(super) fn router() -> Router<Serving> {
    Router::new()
        .route("/api/downloads/start", post(start))
        .route("/api/downloads/cleanup/all", post(clear))
        .route("/api/downloads/{id}", delete(cancel))
        .route("/api/downloads/{id}/progress", get(progress))
        .route("/api/downloads/{id}/play", get(play))
        .route("/api/downloads/{id}/delete", delete(remove))
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
}

/// What an older front end sends.
#[derive(Debug, Deserialize)]
struct Start {
    unit_id: Option<Value>,
    lesson_id: Option<Value>,
    /// A unit or a lesson.
    content_id: Option<Value>,
    quality: Option<String>,
}

async fn start(State(serving): State<Serving>, body: Bytes) -> Response {
    let asked: Start = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => return refused(&HostError::new(ErrorCode::InvalidRequest, error.to_string())),
    };
    answer(started(&serving, asked).await)
}

async fn started(serving: &Serving, asked: Start) -> Result<Value, HostError> {
    let quality = asked.quality.as_deref().map(quality).transpose()?;
    let wish =
        |unit: &Value, lesson: Option<&Value>| json!({ "unit_id": unit, "lesson_id": lesson, "quality": quality });
    let of_lesson = async |lesson: Value| {
        let view = call(serving, "catalogue_lesson", json!({ "lesson_id": lesson })).await?;
        let unit = view.get("unit_id").cloned().unwrap_or_default();
        call(serving, "downloads_start", wish(&unit, Some(&lesson))).await
    };
    let download = match (asked.unit_id, asked.lesson_id, asked.content_id) {
        (Some(unit), lesson, _) => call(serving, "downloads_start", wish(&unit, lesson.as_ref())).await?,
        (None, Some(lesson), _) => of_lesson(lesson).await?,
        (None, None, Some(content)) => match call(serving, "downloads_start", wish(&content, None)).await {
            Err(error) if error.code == ErrorCode::NotFound => of_lesson(content).await?,
            started => started?,
        },
        (None, None, None) => return Err(HostError::new(ErrorCode::InvalidRequest, "unit_id or lesson_id is missing")),
    };
    Ok(told(download))
}

/// Renditions by their lines, as the older systems name them, or by our words.
fn quality(name: &str) -> Result<Quality, HostError> {
    match name {
        "480p" => Ok(Quality::Low),
        "720p" => Ok(Quality::Medium),
        "1080p" => Ok(Quality::High),
        word => word.parse().map_err(|_| HostError::new(ErrorCode::InvalidRequest, "quality is 480p, 720p or 1080p")),
    }
}

async fn progress(State(serving): State<Serving>, Path(id): Path<DownloadId>) -> Response {
    let all = call(&serving, "downloads_list", Value::Null).await;
    let found = all.and_then(|all| {
        let mut downloads = all.get("downloads").and_then(Value::as_array).into_iter().flatten();
        let found = downloads.find(|one| one.get("id").and_then(Value::as_str) == Some(&*id.to_string()));
        found.cloned().ok_or_else(|| HostError::new(ErrorCode::NotFound, "no such download"))
    });
    answer(found.map(told))
}

/// A download, with the names that older front ends look for beside ours.
fn told(mut download: Value) -> Value {
    let number = |name: &str| download.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (done, total) = (number("bytes_done"), number("bytes_total"));
    let completed = download.get("state").and_then(Value::as_str) == Some("completed");
    // Never 100 before the last byte is verified.
    let percent = if completed { 100 } else { done.saturating_mul(100).checked_div(total).unwrap_or(0).min(99) };
    let (id, state) = (download.get("id").cloned(), download.get("state").cloned());
    if let Some(download) = download.as_object_mut() {
        download.insert("download_id".to_owned(), id.unwrap_or_default());
        download.insert("status".to_owned(), state.unwrap_or_default());
        download.insert("progress".to_owned(), percent.into());
    }
    download
}

/// Which lesson of a unit.
#[derive(Debug, Deserialize)]
struct Which {
    lesson_id: Option<LessonId>,
}

async fn play(
    State(serving): State<Serving>,
    Path(id): Path<DownloadId>,
    Query(which): Query<Which>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let content = file(&serving, id, which.lesson_id).await;
    serving.media.deliver(&parts, content).await.map(|body| Body::from_stream(body.into_stream()))
}

async fn file(serving: &Serving, id: DownloadId, lesson: Option<LessonId>) -> Result<MediaContent, HostError> {
    let learner = serving.host.learner().await?;
    Ok(serving.host.engine()?.playback().of_download(learner, id, lesson).await?)
}

async fn cancel(State(serving): State<Serving>, Path(id): Path<DownloadId>) -> Response {
    answer(call(&serving, "downloads_cancel", json!({ "download_id": id })).await.map(told))
}

async fn remove(State(serving): State<Serving>, Path(id): Path<DownloadId>) -> Response {
    answer(call(&serving, "storage_delete_download", json!({ "download_id": id, "at_once": true })).await)
}

async fn clear(State(serving): State<Serving>) -> Response {
    answer(call(&serving, "storage_clear_all", json!({ "at_once": true })).await)
}

async fn call(serving: &Serving, command: &str, request: Value) -> Result<Value, HostError> {
    serving.host.call(Caller { surface: Surface::Main }, command, request).await
}

fn answer(answer: Result<Value, HostError>) -> Response {
    match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => refused(&error),
    }
}
