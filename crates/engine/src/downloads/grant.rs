//! What the service grants of a wish, as small as it can be kept: a course may have 50,000 blobs.
//!
//! The answer is read as it arrives. Of its texts little is kept: a media type once, however many blobs have it, and the
//! addresses of the first few – the others would expire before their turn comes, and are asked for then.

use std::{collections::BTreeSet, sync::Arc};

#[cfg(test)]
use carrel_model::wire::downloads::Authorized;
use carrel_model::{
    AssetId, BlobHash, LessonId, TimeMs, UnitId,
    content::{AssetKind, Quality},
    pieces::Manifest,
    wire::downloads::AuthorizedBlob,
};
use serde::{
    Deserialize,
    de::{Deserializer, SeqAccess, Visitor},
};

/// Addresses that are kept of an answer: what is fetched within their time.
const ADDRESSES_KEPT: usize = 400;

/// What the service granted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Answer")]
pub(crate) struct Granted {
    /// Each blob once.
    pub(crate) blobs: Vec<Arc<GrantedBlob>>,
    /// Where the first of them are.
    pub(crate) addresses: Vec<(BlobHash, String, TimeMs)>,
    /// The last day it may be opened; none: as long as the enrolment lasts.
    pub(crate) expires_at: Option<TimeMs>,
    /// The service's clock.
    pub(crate) server_time: TimeMs,
}

/// One blob to be fetched.
#[derive(Debug, Clone)]
pub(crate) struct GrantedBlob {
    pub(crate) asset_id: AssetId,
    pub(crate) lesson_id: Option<LessonId>,
    pub(crate) unit_id: Option<UnitId>,
    pub(crate) kind: AssetKind,
    pub(crate) quality: Quality,
    pub(crate) mime: Arc<str>,
    pub(crate) manifest: Manifest,
}

impl Granted {
    /// Leaves the blobs: the rest of it, which is small.
    pub(crate) fn without_blobs(&mut self) -> Self {
        Self { blobs: Vec::new(), addresses: std::mem::take(&mut self.addresses), ..*self }
    }
}

/// The answer of `POST /downloads/authorize`.
#[derive(Deserialize)]
struct Answer {
    blobs: Blobs,
    expires_at: Option<TimeMs>,
    server_time: TimeMs,
}

impl From<Answer> for Granted {
    fn from(Answer { blobs, expires_at, server_time }: Answer) -> Self {
        Self { blobs: blobs.blobs, addresses: blobs.addresses, expires_at, server_time }
    }
}

#[cfg(test)]
impl From<Authorized> for Granted {
    fn from(answer: Authorized) -> Self {
        let mut blobs = Blobs::default();
        for blob in answer.blobs {
            blobs.keep(blob);
        }
        let Authorized { expires_at, server_time, .. } = answer;
        Self { blobs: blobs.blobs, addresses: blobs.addresses, expires_at, server_time }
    }
}

#[derive(Default)]
struct Blobs {
    blobs: Vec<Arc<GrantedBlob>>,
    addresses: Vec<(BlobHash, String, TimeMs)>,
    mimes: BTreeSet<Arc<str>>,
}

impl Blobs {
    fn keep(&mut self, blob: AuthorizedBlob) {
        let AuthorizedBlob { asset_id, lesson_id, unit_id, kind, quality, manifest, .. } = blob;
        if self.addresses.len() < ADDRESSES_KEPT {
            self.addresses.push((manifest.hash(), blob.url, blob.url_expires_at));
        }
        let mime = self.mime(&blob.mime);
        self.blobs.push(Arc::new(GrantedBlob { asset_id, lesson_id, unit_id, kind, quality, mime, manifest }));
    }

    fn mime(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.mimes.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.mimes.insert(Arc::clone(&new));
        new
    }
}

impl<'de> Deserialize<'de> for Blobs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneByOne;

        impl<'de> Visitor<'de> for OneByOne {
            type Value = Blobs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of blobs")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Blobs, A::Error> {
                let mut blobs = Blobs::default();
                while let Some(blob) = list.next_element::<AuthorizedBlob>()? {
                    blobs.keep(blob);
                }
                Ok(blobs)
            }
        }

        deserializer.deserialize_seq(OneByOne)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(blobs: u32, piece_of: impl Fn(u32) -> u32) -> serde_json::Value {
        let hash = |n: u32| blake3::hash(&n.to_le_bytes()).to_hex();
        let blob = |n: u32| {
            json!({
                "asset_id": format!("01900000-0000-7000-8000-{n:012x}"), "lesson_id": null, "unit_id": null,
                "kind": "audio", "quality": "medium", "mime": "audio/mpeg", "url": format!("/{n}"),
                "url_expires_at": "2026-11-20T10:00:00Z",
                "manifest": { "hash": hash(n).as_str(), "size": 4, "pieces": [hash(piece_of(n)).as_str()] },
            })
        };
        json!({
            "blobs": (0..blobs).map(blob).collect::<Vec<_>>(), "expires_at": "2027-01-01T00:00:00Z", "quota_used": 0,
            "quota_limit": null, "server_time": "2026-11-20T09:45:00Z",
        })
    }

    #[test]
    fn a_damaged_manifest_is_not_believed() {
        let read = |answer: serde_json::Value| serde_json::from_reader::<_, Granted>(answer.to_string().as_bytes());
        assert!(read(answer(2, |n| n)).is_ok(), "a right one is read");
        assert!(read(answer(2, |_| 0)).unwrap_err().is_data());
    }

    #[test]
    fn an_answer_that_is_read_as_it_arrives_says_what_it_says_as_a_whole() {
        let answer = answer(500, |n| n);
        let read: Granted = serde_json::from_reader(answer.to_string().as_bytes()).unwrap();
        let whole = Granted::from(serde_json::from_value::<Authorized>(answer).unwrap());
        assert_eq!((read.blobs.len(), read.expires_at, read.server_time), (500, whole.expires_at, whole.server_time));
        let hashes = |granted: &Granted| granted.blobs.iter().map(|blob| blob.manifest.hash()).collect::<Vec<_>>();
        assert_eq!(hashes(&read), hashes(&whole));
        assert_eq!(read.addresses, whole.addresses);
        assert_eq!(read.addresses.len(), ADDRESSES_KEPT, "what comes later is asked for when its turn comes");
        let (first, last) = (read.blobs.first().unwrap(), read.blobs.last().unwrap());
        assert!(Arc::ptr_eq(&first.mime, &last.mime), "one text for all");
    }
}
