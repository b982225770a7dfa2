//! Opaque tokens: 256 random bits, kept only as a hash. A plain hash is enough, since there is nothing to guess.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use carrel_model::{
    TimeMs,
    time::{DAY_MS, HOUR_MS},
};
use sha2::{Digest as _, Sha256};

use crate::store::{NewTokens, TokenHash};

/// How long an access token holds.
const ACCESS_MS: i64 = HOUR_MS;
/// How long a refresh token holds.
const REFRESH_MS: i64 = 90 * DAY_MS;

/// A pair of fresh tokens: the texts for the device, the hashes for the store.
pub(crate) struct Issued {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) kept: NewTokens,
}

/// Makes a pair of tokens.
pub(crate) fn issue(now: TimeMs) -> std::io::Result<Issued> {
    let access = URL_SAFE_NO_PAD.encode(crate::secrets::random::<32>()?);
    let refresh = URL_SAFE_NO_PAD.encode(crate::secrets::random::<32>()?);
    let kept = NewTokens {
        access: token_hash(&access),
        access_expires_at: now.plus_ms(ACCESS_MS),
        refresh: token_hash(&refresh),
        refresh_expires_at: now.plus_ms(REFRESH_MS),
    };
    Ok(Issued { access, refresh, kept })
}

/// What the store knows a token by.
pub(crate) fn token_hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}
