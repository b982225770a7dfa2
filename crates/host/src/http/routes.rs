//! The routes: decode, call the host, encode.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    middleware,
    response::{
        IntoResponse as _, Redirect, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{any, get, post},
};
use carrel_engine::model::ErrorCode;
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower_http::services::ServeDir;

use super::{guard::guard, session::Session};
use crate::{Caller, Host, HostError, Surface, batch::batches, media::MediaHandler};

/// The largest request of a command.
const LARGEST_REQUEST: usize = 1024 * 1024;

/// What the routes need.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    pub(super) host: Host,
    pub(super) media: MediaHandler,
    pub(super) session: Arc<Session>,
    pub(super) authority: Arc<str>,
    pub(super) stop: CancellationToken,
    pub(super) ui: PathBuf,
}

pub(super) fn router(serving: Serving) -> Router {
    let files = ServeDir::new(&serving.ui);
    Router::new()
        .route("/", get(front))
        .route("/api/commands/{name}", post(command).layer(DefaultBodyLimit::max(LARGEST_REQUEST)))
        .route("/api/events", get(events))
        .route("/media/{*rest}", any(media))
        .merge(super::downloads::router())
        .fallback_service(files)
        .layer(middleware::from_fn_with_state(serving.clone(), guard))
        .with_state(serving)
}

#[derive(serde::Deserialize)]
struct Arrival {
    key: Option<String>,
}

async fn front(State(serving): State<Serving>, Query(arrival): Query<Arrival>, request: Request) -> Response {
    let Some(key) = arrival.key else {
        return match ServeDir::new(&serving.ui).try_call(request).await {
            Ok(page) if page.status() != StatusCode::NOT_FOUND => page.into_response(),
            _ => (StatusCode::NOT_FOUND, "The UI is not built: run `npm run build`, or name its folder with --ui.\n")
                .into_response(),
        };
    };
    // A page that is already in comes back to its link (from the history, say): no harm done.
    if !serving.session.holds(request.headers()) && !serving.session.redeem(&key) {
        return (StatusCode::UNAUTHORIZED, "This link has been used. Start carrel-host again for a new one.\n")
            .into_response();
    }
    ([(header::SET_COOKIE, serving.session.set_cookie())], Redirect::to("/")).into_response()
}

async fn command(
    State(serving): State<Serving>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !json {
        return refused(&HostError::new(ErrorCode::InvalidRequest, "a command's request is application/json"));
    }
    let request: Value = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return refused(&HostError::new(ErrorCode::InvalidRequest, error.to_string())),
    };
    match serving.host.call(Caller { surface: Surface::Main }, &name, request).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => refused(&error),
    }
}

async fn events(State(serving): State<Serving>) -> Sse<impl Stream<Item = Result<Event, axum::Error>>> {
    let messages = batches(serving.host.events()).map(|batch| Event::default().json_data(batch));
    // It would never end by itself, and the host waits for its answers to end.
    Sse::new(messages.take_until(serving.stop.cancelled_owned())).keep_alive(KeepAlive::default())
}

async fn media(State(serving): State<Serving>, request: Request) -> Response {
    crate::media::respond(serving.media, request).await
}

pub(super) fn refused(error: &HostError) -> Response {
    (error.status(), Json(error)).into_response()
}
