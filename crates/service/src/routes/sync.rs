//! Push and pull of learners' own rows.

use std::sync::Arc;

use axum::{Json as Answer, extract::State, http::StatusCode};
use carrel_model::{
    ErrorCode,
    wire::{
        problem::Problem,
        sync::{PullPage, PushOutcome, PushRequest, PushResponse, PushResult},
    },
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    App, auth,
    content::page_limit,
    extract::{Body, Query, SignedInAs},
    failure::Failure,
};
use crate::{
    rules::{BatchError, read_batch},
    store::{Caller, StoreError},
};

/// Takes what a device recorded: at most 500 ops in 512 KiB, a verdict on each.
#[utoipa::path(post, path = "/sync/push", tag = "sync", request_body = PushRequest, security(("bearer" = [])), responses(
    (status = 200, body = PushResponse),
    (status = 400, body = Problem),
    (status = 403, body = Problem, description = "`forbidden`: the device belongs to another learner"),
    (status = 409, body = Problem, description = "`device_seq_regressed`: the device was restored or cloned; nothing was taken"),
    (status = 413, body = Problem),
    (status = 503, body = Problem, description = "busy, ending or without room: again after `Retry-After`")
))]
pub(super) async fn push(
    State(app): State<Arc<App>>,
    SignedInAs(caller): SignedInAs,
    Body(body): Body,
) -> Result<Answer<PushResponse>, Failure> {
    // Taken after the body has come: whoever sends slowly keeps nobody else waiting.
    let _turn = app.pushes.acquire().await;
    let now = (app.clock)();
    // Half a megabyte of JSON is milliseconds of work.
    let read = tokio::task::spawn_blocking(move || read_batch(&body, now)).await;
    let read = read.map_err(|error| Failure::internal(&error))?;
    let (device, ops) = read.map_err(|error| match error {
        BatchError::Malformed(_) => Failure::of(ErrorCode::InvalidRequest, error.to_string()),
        BatchError::TooMany(_) => {
            Failure::with_status(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::InvalidRequest, error.to_string())
        }
    })?;
    if device != caller.device {
        // An id that this device had before it was found to be restored or cloned: what it wrote under that one has to come
        // under that one.
        app.store.bind_device(caller.learner, device, now).await.map_err(|error| match error {
            StoreError::DeviceTaken => Failure::of(ErrorCode::Forbidden, "the device belongs to another learner"),
            error => error.into(),
        })?;
    }
    let caller = Caller { device, ..caller };
    let results = app.store.apply_push(caller, &ops, now).await?;
    Ok(Answer(PushResponse { server_now: now, acked_through: acked_through(&results), results }))
}

/// Up to here every op of the batch has a final verdict.
fn acked_through(results: &[PushResult]) -> u64 {
    let waiting = results.iter().filter(|result| matches!(result.outcome, PushOutcome::Retry { .. }));
    let first_waiting = waiting.map(|result| result.seq).min().unwrap_or(u64::MAX);
    results.iter().map(|result| result.seq).filter(|seq| *seq < first_waiting).max().unwrap_or(0)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PullQuery {
    /// The `cursor` of the last page; nothing for everything.
    cursor: Option<String>,
    /// 1–500, default 100.
    limit: Option<u32>,
    /// Whether a fresh lease is wanted. One comes unasked at the beginning and when enrolments changed.
    lease: Option<u8>,
}

/// A page of the learner's own rows that changed.
#[utoipa::path(get, path = "/sync/pull", tag = "sync", params(PullQuery), security(("bearer" = [])), responses(
    (status = 200, body = PullPage),
    (status = 400, body = Problem),
    (status = 410, body = Problem, description = "`cursor_expired`: pull everything again, without `cursor`")
))]
pub(super) async fn pull(
    State(app): State<Arc<App>>,
    SignedInAs(caller): SignedInAs,
    Query(query): Query<PullQuery>,
) -> Result<Answer<PullPage>, Failure> {
    let limit = page_limit(query.limit)?;
    let now = (app.clock)();
    let cursor = query.cursor.as_deref().filter(|cursor| !cursor.is_empty());
    let mut page = app.store.pull_page(caller.learner, cursor, limit, now).await?;
    if page.enrolments.is_some() || query.lease.is_some_and(|wanted| wanted != 0) {
        page.lease = Some(auth::lease(&app, caller, now).await?);
    }
    Ok(Answer(page))
}
