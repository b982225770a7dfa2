//! Who gets past the door.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{Html, IntoResponse as _, Response},
};
use carrel_engine::model::ErrorCode;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::routes::Serving;
use crate::HostError;

/// What the pages may do; the same as in the app's window, but that everything comes from one origin.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; \
     img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; frame-src 'self' blob:; \
     manifest-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// Every request passes here: our name, our session, our page – and every answer gets the policy.
pub(super) async fn guard(State(serving): State<Serving>, request: Request, next: Next) -> Response {
    let mut answer = match refuse(&serving, &request) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        // Media have their own, stricter ones.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    answer
}

fn refuse(serving: &Serving, request: &Request) -> Option<Response> {
    let headers = request.headers();
    let mut names = headers.get_all(header::HOST).iter();
    let ours = names.next().is_some_and(|name| name.as_bytes() == serving.authority.as_bytes());
    if !ours || names.next().is_some() {
        return Some(StatusCode::FORBIDDEN.into_response());
    }
    let path = request.uri().path();
    // Media answer to the secret in the path, and to nothing else.
    if path.starts_with("/media/") {
        return None;
    }
    let arrives = path == "/" && request.uri().query().is_some_and(|query| query.starts_with("key="));
    if !arrives && !serving.session.holds(headers) {
        return Some(strangers(path));
    }
    if request.method() != Method::GET && request.method() != Method::HEAD && !from_our_page(headers, serving) {
        return Some(StatusCode::FORBIDDEN.into_response());
    }
    None
}

/// A browser always says where a POST comes from; what says nothing, or something else, is no page of ours.
fn from_our_page(headers: &HeaderMap, serving: &Serving) -> bool {
    let origin = headers.get(header::ORIGIN).map(|origin| {
        origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")) == Some(&*serving.authority)
    });
    let site = headers.get("sec-fetch-site").map(|site| site == "same-origin");
    (origin.is_some() || site.is_some()) && origin.unwrap_or(true) && site.unwrap_or(true)
}

fn strangers(path: &str) -> Response {
    if path.starts_with("/api/") {
        let error = HostError::new(ErrorCode::Forbidden, "open the link that carrel-host printed");
        return (StatusCode::UNAUTHORIZED, axum::Json(error)).into_response();
    }
    let page = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Carrel</title>\
                <p>This page needs the link that <code>carrel-host</code> printed when it started. The link works once; \
                start <code>carrel-host</code> again for a new one.</p></html>";
    (StatusCode::UNAUTHORIZED, Html(page)).into_response()
}
