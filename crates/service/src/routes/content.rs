//! Courses, units, and addresses of their assets.

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use carrel_model::{
    ErrorCode, TimeMs, UnitId,
    content::Unit,
    wire::{
        content::{CourseList, MAX_URL_ITEMS, SignedUrl, UnitList, UnitsPage, UrlsRequest, UrlsResponse},
        problem::Problem,
    },
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    App,
    extract::{Json, Path, Query, SignedInAs},
    failure::Failure,
};
use crate::store::{Since, UnitScope};

const MAX_LIMIT: u32 = 500;
const DEFAULT_LIMIT: u32 = 100;

/// How many rows a page may have.
pub(super) fn page_limit(limit: Option<u32>) -> Result<u32, Failure> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(Failure::of(ErrorCode::InvalidRequest, format!("limit is 1 to {MAX_LIMIT}"))),
    }
}

/// The courses a learner may see.
#[utoipa::path(get, path = "/content/courses", tag = "content", security(("bearer" = [])), responses(
    (status = 200, body = CourseList), (status = 401, body = Problem)
))]
pub(super) async fn courses(
    State(app): State<Arc<App>>,
    SignedInAs(caller): SignedInAs,
) -> Result<Answer<CourseList>, Failure> {
    Ok(Answer(CourseList { courses: app.store.courses(caller.learner).await? }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Scope {
    /// Of the courses the learner is enrolled in.
    Mine,
    /// Of open courses.
    Global,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UnitsQuery {
    /// Which units; `mine` if nothing is said.
    #[param(inline)]
    scope: Option<Scope>,
}

/// The units a learner may see.
#[utoipa::path(get, path = "/content/units", tag = "content", params(UnitsQuery), security(("bearer" = [])), responses(
    (status = 200, body = UnitList), (status = 400, body = Problem), (status = 401, body = Problem)
))]
pub(super) async fn units(
    State(app): State<Arc<App>>,
    SignedInAs(caller): SignedInAs,
    Query(query): Query<UnitsQuery>,
) -> Result<Answer<UnitList>, Failure> {
    let scope = match query.scope {
        None | Some(Scope::Mine) => UnitScope::Mine,
        Some(Scope::Global) => UnitScope::Global,
    };
    Ok(Answer(UnitList { units: app.store.units(caller.learner, scope).await? }))
}

/// One unit.
#[utoipa::path(get, path = "/content/units/{id}", tag = "content", params(("id" = UnitId, Path)),
    security(("bearer" = [])), responses(
    (status = 200, body = Unit),
    (status = 403, body = Problem, description = "`not_enrolled`"),
    (status = 404, body = Problem, description = "`not_found`"),
    (status = 410, body = Problem, description = "`gone`")
))]
pub(super) async fn unit(
    State(app): State<Arc<App>>,
    SignedInAs(caller): SignedInAs,
    Path(id): Path<UnitId>,
) -> Result<Answer<Unit>, Failure> {
    Ok(Answer(app.store.unit(caller.learner, id).await??))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SyncQuery {
    /// The `cursor` of the last page, or an RFC 3339 time; nothing for everything.
    since: Option<String>,
    /// 1–500, default 100.
    limit: Option<u32>,
    /// Whether tombstones are wanted; default yes.
    include_deleted: Option<bool>,
}

/// A page of what changed.
#[utoipa::path(get, path = "/content/units/sync", tag = "content", params(SyncQuery), security(("bearer" = [])), responses(
    (status = 200, body = UnitsPage),
    (status = 400, body = Problem),
    (status = 410, body = Problem, description = "`cursor_expired`: pull everything again, without `since`")
))]
pub(super) async fn units_sync(
    State(app): State<Arc<App>>,
    SignedInAs(caller): SignedInAs,
    Query(query): Query<SyncQuery>,
) -> Result<Answer<UnitsPage>, Failure> {
    let limit = page_limit(query.limit)?;
    let since = match query.since.filter(|since| !since.is_empty()) {
        None => Since::Beginning,
        // A cursor is base64url and has no colon; a time always has.
        Some(text) if text.contains(':') => {
            // In a query a plus sign that was not escaped arrives as a space.
            let at: Result<TimeMs, _> = text.replace(' ', "+").parse();
            Since::Time(at.map_err(|error| Failure::of(ErrorCode::InvalidRequest, error.to_string()))?)
        }
        Some(cursor) => Since::Cursor(cursor),
    };
    let include_deleted = query.include_deleted.unwrap_or(true);
    let page = app.store.units_page(caller.learner, &since, limit, include_deleted, (app.clock)()).await?;
    Ok(Answer(page))
}

/// Signed addresses of renditions, for 15 minutes. What may not be had is left out.
#[utoipa::path(post, path = "/content/assets/urls", tag = "content", request_body = UrlsRequest,
    security(("bearer" = [])), responses(
    (status = 200, body = UrlsResponse), (status = 400, body = Problem), (status = 401, body = Problem)
))]
pub(super) async fn asset_urls(
    State(app): State<Arc<App>>,
    SignedInAs(caller): SignedInAs,
    Json(request): Json<UrlsRequest>,
) -> Result<Answer<UrlsResponse>, Failure> {
    if request.items.len() > MAX_URL_ITEMS {
        return Err(Failure::of(ErrorCode::InvalidRequest, format!("at most {MAX_URL_ITEMS} items")));
    }
    let now = (app.clock)();
    let granted = app.store.renditions(caller.learner, &request.items, now).await?;
    let signed = granted.into_iter().map(|rendition| {
        let (url, expires_at) = app.signer.sign(rendition.hash, now);
        SignedUrl {
            asset_id: rendition.asset_id,
            quality: rendition.quality,
            hash: rendition.hash,
            size: rendition.size,
            url,
            expires_at,
        }
    });
    Ok(Answer(UrlsResponse { urls: signed.collect(), server_time: now }))
}
