//! Signed addresses: whoever has one may read that blob until it expires (requirement A6).
//!
//! Blobs are fetched in many ranges, by parts of an app that hold no token. The signature covers the hash and the moment of
//! expiry and nothing else, so one address serves every range, HEAD and the list of pieces.

use carrel_model::{BlobHash, TimeMs, time::SECOND_MS};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Why an address isn't good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// Not signed by this service, or for another blob or moment.
    #[error("the signature does not fit")]
    Forged,
    /// Its time has passed.
    #[error("the address has expired")]
    Expired,
}

/// Signs addresses and checks them.
#[derive(Clone)]
pub struct UrlSigner {
    mac: Hmac<Sha256>,
    lifetime_ms: i64,
    prefix: String,
}

impl UrlSigner {
    pub(crate) fn new(key: &[u8; 32], lifetime_seconds: u32, prefix: String) -> Option<Self> {
        let mac = Hmac::new_from_slice(key).ok()?;
        Some(Self { mac, lifetime_ms: i64::from(lifetime_seconds) * SECOND_MS, prefix })
    }

    /// The address of a blob and until when it holds.
    #[must_use]
    pub fn sign(&self, hash: BlobHash, now: TimeMs) -> (String, TimeMs) {
        let expires = now.plus_ms(self.lifetime_ms).as_ms() / SECOND_MS;
        let signature = hex::encode(self.mac_of(hash, expires).finalize().into_bytes());
        let url = format!("{}/blobs/{hash}?exp={expires}&sig={signature}", self.prefix);
        (url, TimeMs::from_ms(expires.saturating_mul(SECOND_MS)))
    }

    /// Whether an address is good.
    pub fn verify(&self, hash: BlobHash, expires: i64, signature: &str, now: TimeMs) -> Result<(), BadSignature> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(signature, &mut bytes).map_err(|_| BadSignature::Forged)?;
        self.mac_of(hash, expires).verify_slice(&bytes).map_err(|_| BadSignature::Forged)?;
        let end = TimeMs::from_ms(expires.saturating_mul(SECOND_MS));
        if now < end { Ok(()) } else { Err(BadSignature::Expired) }
    }

    fn mac_of(&self, hash: BlobHash, expires: i64) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(b"carrel blob\0");
        mac.update(hash.as_bytes());
        mac.update(&expires.to_be_bytes());
        mac
    }
}
