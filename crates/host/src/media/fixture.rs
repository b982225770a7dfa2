//! A running media server with films on disk, for the tests of this room.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use carrel_engine::model::{AssetId, BlobHash, ErrorCode, ProfileId, TimeMs, content::Quality, trusted_time::Reading};
use carrel_engine::{playback::MediaContent, ports::Clock};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode, header};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use super::{MediaAddresses, MediaContents, MediaHandler, MediaServer, Route};
use crate::HostError;

#[derive(Debug)]
pub(super) struct Dice;

impl Clock for Dice {
    fn read(&self) -> Reading {
        Reading { wall: TimeMs::from_ms(0), monotonic_ms: 0 }
    }
    fn fill_random(&self, bytes: &mut [u8]) {
        rand::RngCore::fill_bytes(&mut rand::rng(), bytes);
    }
}

/// Whose assets are where.
#[derive(Debug, Default)]
pub(super) struct Shelf(pub(super) Mutex<BTreeMap<(ProfileId, AssetId), MediaContent>>);

impl MediaContents for Shelf {
    fn content(
        &self,
        profile: ProfileId,
        asset: AssetId,
        _: Option<Quality>,
    ) -> BoxFuture<'_, Result<MediaContent, HostError>> {
        let found = self.0.lock().unwrap().get(&(profile, asset)).cloned();
        let missing = || HostError::new(ErrorCode::NotFound, "no such asset");
        Box::pin(std::future::ready(found.ok_or_else(missing)))
    }
}

/// A running media server with one film of Amina's and one of Badr's.
pub(super) struct Desk {
    pub(super) folder: tempfile::TempDir,
    pub(super) shelf: Arc<Shelf>,
    pub(super) addresses: MediaAddresses,
    pub(super) authority: String,
    pub(super) amina: ProfileId,
    pub(super) badr: ProfileId,
    pub(super) film: AssetId,
    pub(super) his: AssetId,
    pub(super) bytes: Vec<u8>,
    pub(super) http: reqwest::Client,
    pub(super) stop: CancellationToken,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(super) fn id<T>(make: fn(TimeMs, [u8; 10]) -> T, seed: u8) -> T {
    make(TimeMs::from_ms(1), [seed; 10])
}

pub(super) fn client() -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

impl Desk {
    pub(super) async fn open() -> Self {
        let server = MediaServer::start().await.unwrap();
        let authority = server.address().to_string();
        let addresses = MediaAddresses::new(Route::Loopback(server.address()), Arc::new(Dice));
        let shelf = Arc::new(Shelf::default());
        let handler = MediaHandler::new(shelf.clone(), addresses.clone(), client(), [authority.clone()]);
        let stop = CancellationToken::new();
        server.serve(handler, stop.clone());
        let (amina, badr) = (id(ProfileId::from_parts, 1), id(ProfileId::from_parts, 2));
        let (film, his) = (id(AssetId::from_parts, 3), id(AssetId::from_parts, 4));
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let folder = tempfile::tempdir().unwrap();
        let desk = Self { folder, shelf, addresses, authority, amina, badr, film, his, bytes, http: client(), stop };
        desk.keep(amina, film, "film", "video/mp4");
        desk.keep(badr, his, "his", "video/mp4");
        desk
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn keep(&self, profile: ProfileId, asset: AssetId, name: &str, mime: &str) {
        std::fs::write(self.path(name), &self.bytes).unwrap();
        self.put(profile, asset, &self.path(name), mime);
    }

    pub(super) fn put(&self, profile: ProfileId, asset: AssetId, path: &Path, mime: &str) {
        let content = MediaContent::File {
            path: path.to_owned(),
            hash: BlobHash::of(&self.bytes),
            size: self.bytes.len() as u64,
            mime: mime.to_owned(),
        };
        self.shelf.0.lock().unwrap().insert((profile, asset), content);
    }

    pub(super) fn url(&self) -> String {
        format!("{}{}", self.addresses.base(self.amina), self.film)
    }

    pub(super) fn etag(&self) -> String {
        format!("\"{}\"", BlobHash::of(&self.bytes))
    }

    pub(super) async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(header::HeaderName, &str)],
    ) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.headers().clone(), answer.bytes().await.unwrap().to_vec())
    }

    /// A request byte for byte, since no client sends the wrong ones.
    pub(super) async fn raw(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(&self.authority).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

pub(super) fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(&name).map_or("", |value| value.to_str().unwrap())
}
