//! The service's face: `/api/v1`. A route decodes, asks the store or a rule, and encodes.

mod auth;
mod blobs;
mod content;
mod document;
mod downloads;
mod extract;
mod failure;
mod health;
mod packed;
mod sync;

use std::sync::Arc;
use std::time::Duration;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware::{from_fn, map_response},
    routing::get,
};
use carrel_model::{ErrorCode, op::MAX_BATCH_BYTES};
use tokio::sync::Semaphore;
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, decompression::RequestDecompressionLayer,
    timeout::TimeoutLayer, trace::TraceLayer,
};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    accounts::{Attempts, Passwords},
    clock::Clock,
    objects::{Objects, UrlSigner},
    secrets::Secrets,
    store::Store,
};
use failure::Failure;

/// Where everything lies under the service's address.
pub const API_PREFIX: &str = "/api/v1";

/// A request that is not a blob is answered within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// What routes work with.
pub(crate) struct App {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) objects: Objects,
    pub(crate) signer: UrlSigner,
    pub(crate) secrets: Secrets,
    pub(crate) clock: Clock,
    pub(crate) passwords: Passwords,
    pub(crate) attempts: Attempts,
    pub(crate) quota_bytes: Option<u64>,
    /// Turns of pushes: what a batch becomes while it is judged takes several times its own room.
    pub(crate) pushes: Semaphore,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Carrel content service", description = "Courses, downloads and synchronisation of learners' work."),
    modifiers(&BearerToken)
)]
struct Document;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        document
            .components
            .get_or_insert_with(Default::default)
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

fn api() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(auth::sign_in))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::sign_out))
        .routes(routes!(content::courses))
        .routes(routes!(content::units))
        .routes(routes!(content::units_sync))
        .routes(routes!(content::unit))
        .routes(routes!(content::asset_urls))
        .routes(routes!(downloads::authorize))
        .routes(routes!(sync::push))
        .routes(routes!(sync::pull))
}

fn bytes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(blobs::blob)).routes(routes!(blobs::pieces))
}

fn described() -> OpenApiRouter<Arc<App>> {
    let api = api()
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, ANSWER_WITHIN))
        .layer(CompressionLayer::new());
    OpenApiRouter::with_openapi(Document::openapi()).nest(API_PREFIX, api.merge(bytes()))
}

/// The OpenAPI document as JSON, as it is served and committed.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    let (_, document) = described().split_for_parts();
    Ok(serde_json::to_string_pretty(&document::completed(document))? + "\n")
}

pub(crate) fn router(app: Arc<App>) -> Router {
    let (router, document) = described().split_for_parts();
    let document = Arc::new(document::completed(document));
    router
        .route(&format!("{API_PREFIX}/openapi.json"), get(async move || axum::Json((*document).clone())))
        .fallback(async || Failure::of(ErrorCode::NotFound, "no such path"))
        .method_not_allowed_fallback(async || {
            Failure::with_status(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::InvalidRequest, "not with this method")
        })
        // Inside the decompression, so that what is counted is what comes out of it.
        .layer(DefaultBodyLimit::max(MAX_BATCH_BYTES))
        .layer(RequestDecompressionLayer::new())
        .layer(from_fn(packed::unpacked))
        .layer(map_response(failure::with_words))
        .layer(CatchPanicLayer::custom(failure::panicked))
        // Only the path is logged: the query of a blob is its key.
        .layer(TraceLayer::new_for_http().make_span_with(|request: &axum::http::Request<_>| {
            tracing::debug_span!("request", method = %request.method(), path = request.uri().path())
        }))
        .with_state(app)
}
