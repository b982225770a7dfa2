//! Media over a custom protocol, for the platforms that play from one.

use carrel_host::media::{Route, SCHEME};
use http::{Response, StatusCode};
use tauri::{Builder, Manager as _, Runtime};

use crate::Desk;

/// Adds the protocol, except where media come from the loopback server.
pub(crate) fn register<R: Runtime>(builder: Builder<R>) -> Builder<R> {
    if Route::needs_loopback() {
        return builder;
    }
    builder.register_asynchronous_uri_scheme_protocol(SCHEME, |context, request, responder| {
        let desk = context.app_handle().state::<Desk>().inner().clone();
        let (request, _) = request.into_parts();
        tauri::async_runtime::spawn(async move {
            let (head, body) = desk.media().await.respond(&request).await.into_parts();
            let answer = match body.collect().await {
                Ok(body) => Response::from_parts(head, body),
                Err(error) => {
                    log::warn!("media broke off: {error}");
                    let mut broken = Response::new(Vec::new());
                    *broken.status_mut() = StatusCode::BAD_GATEWAY;
                    broken
                }
            };
            responder.respond(answer);
        });
    })
}
