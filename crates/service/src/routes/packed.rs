//! Bodies packed with zstd (protocol.md: bodies may be gzip or zstd). gzip is unpacked by a layer of the library.
//!
//! Unpacked here, since a zstd frame says itself how large a window it wants unpacked: 512 KiB that come as a few bytes must
//! not cost the memory its sender would like to have taken.

use std::io::Read as _;

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use carrel_model::{ErrorCode, op::MAX_BATCH_BYTES};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use tokio::sync::Semaphore;

use super::failure::Failure;

/// The largest window that zstd in HTTP may ask for (RFC 9659).
const MAX_WINDOW_BYTES: u64 = 8 << 20;
/// How many are unpacked at once.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Unpacks a zstd body; hands on every other as it is.
pub(super) async fn unpacked(request: Request, next: Next) -> Response {
    let is_zstd = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"zstd");
    if !request.headers().get(header::CONTENT_ENCODING).is_some_and(is_zstd) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    match unpack(body).await {
        Ok(plain) => {
            parts.headers.remove(header::CONTENT_ENCODING);
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(plain.len()));
            next.run(Request::from_parts(parts, Body::from(plain))).await
        }
        Err(failure) => failure.into_response(),
    }
}

async fn unpack(body: Body) -> Result<Vec<u8>, Failure> {
    let too_large = || Failure::with_status(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::InvalidRequest, "body");
    let malformed = || Failure::of(ErrorCode::InvalidRequest, "the body is no zstd");
    let packed = to_bytes(body, MAX_BATCH_BYTES).await.map_err(|_| too_large())?;
    let _turn = TURNS.acquire().await;
    let plain = tokio::task::spawn_blocking(move || {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW_BYTES);
        let decoder = StreamingDecoder::new_with_decoder(packed.as_ref(), decoder).map_err(|_| malformed())?;
        let mut plain = Vec::new();
        decoder.take(MAX_BATCH_BYTES as u64 + 1).read_to_end(&mut plain).map_err(|_| malformed())?;
        Ok(plain)
    });
    let plain = plain.await.unwrap_or_else(|_| Err(malformed()))?;
    if plain.len() > MAX_BATCH_BYTES { Err(too_large()) } else { Ok(plain) }
}
