//! Reading requests, with a problem for whatever can't be read.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::{
    extract::{
        ConnectInfo, FromRequest, FromRequestParts, Request,
        rejection::{BytesRejection, PathRejection, QueryRejection},
    },
    http::{StatusCode, header, request::Parts},
};
use bytes::Bytes;
use carrel_model::ErrorCode;
use serde::de::DeserializeOwned;

use super::{App, failure::Failure};
use crate::{accounts::token_hash, store::Caller};

/// Parameters of the path.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Failure))]
pub(super) struct Path<T>(pub(super) T);

impl From<PathRejection> for Failure {
    fn from(rejection: PathRejection) -> Self {
        // What isn't an id can't be the id of anything.
        Self::of(ErrorCode::NotFound, rejection.body_text())
    }
}

/// Parameters of the query.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Failure))]
pub(super) struct Query<T>(pub(super) T);

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self::of(ErrorCode::InvalidRequest, rejection.body_text())
    }
}

/// The whole body, within the limit.
pub(super) struct Body(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Failure::with_status(status, ErrorCode::InvalidRequest, "application/json is wanted"));
        }
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection: BytesRejection| {
            let status = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::BAD_REQUEST,
            };
            Failure::with_status(status, ErrorCode::InvalidRequest, rejection.body_text())
        })
    }
}

/// The body as JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let Body(body) = Body::from_request(request, state).await?;
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| Failure::of(ErrorCode::InvalidRequest, error.to_string()))
    }
}

/// The learner and device of the access token.
pub(super) struct SignedInAs(pub(super) Caller);

impl FromRequestParts<Arc<App>> for SignedInAs {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let needed = || Failure::of(ErrorCode::SignInNeeded, "no valid access token");
        let value = parts.headers.get(header::AUTHORIZATION).ok_or_else(needed)?;
        let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(needed)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(needed());
        }
        let caller = app.store.authenticate(token_hash(token.trim()), (app.clock)()).await?;
        caller.map(Self).ok_or_else(needed)
    }
}

/// The address of whoever asks, where there is a socket.
pub(super) struct RemoteAddress(pub(super) Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for RemoteAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())))
    }
}
