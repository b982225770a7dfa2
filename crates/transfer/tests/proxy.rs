//! Whole fetches through a proxy that tunnels, also when its tunnels break.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up is to fail")]

mod rig;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use carrel_testbed::http_origin::{Flaw, Identity, Setup};
use carrel_transfer::{
    Control, FetchRequest, Fetcher, FetcherConfig, FixedSources, HttpClient, HttpOptions, NoJournal, Proxy,
};
use rig::{MIB, content, manifest_of};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// Of the first tunnel so much comes through.
const FIRST_TUNNEL_BYTES: u64 = 700_000;

/// A proxy that understands CONNECT alone and breaks its first tunnel; its address, and how many tunnels there were.
async fn proxy() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tunnels = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&tunnels);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let Some(target) = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
                    client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                    return;
                };
                let mut server = TcpStream::connect(target).await.unwrap();
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                if counter.fetch_add(1, Ordering::SeqCst) > 0 {
                    copy_bidirectional(&mut client, &mut server).await.ok();
                    return;
                }
                let (mut from_server, mut to_server) = server.split();
                let (mut from_client, mut to_client) = client.split();
                let mut some = (&mut from_server).take(FIRST_TUNNEL_BYTES);
                tokio::select! {
                    _ = tokio::io::copy(&mut some, &mut to_client) => {}
                    _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                }
            });
        }
    });
    (url, tunnels)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_comes_whole_through_tunnels_that_break() {
    for size in [MIB, 6 * MIB + 5] {
        let (content, identity) = (content(size, 3), Arc::new(Identity::new(Flaw::None).unwrap()));
        let origin = Setup::new(content.clone()).tls(Arc::clone(&identity)).start().await.unwrap();
        let (url, tunnels) = proxy().await;
        let mut options = HttpOptions::default();
        options.proxy = Proxy::Url(url.parse().unwrap());
        options.extra_roots_pem.push(identity.authority_pem().as_bytes().to_vec());
        let fetcher = Fetcher::new(HttpClient::new(&options).unwrap(), FetcherConfig::default());
        let folder = tempfile::tempdir().unwrap();
        let request = FetchRequest::new(manifest_of(&content), folder.path().join("blob"));
        let sources = Arc::new(FixedSources(vec![origin.url("/blob").parse().unwrap()]));
        let fetching = fetcher.fetch(request, sources, Arc::new(NoJournal), Control::new());
        let fetched = tokio::time::timeout(Duration::from_secs(60), fetching).await.expect("it must end").unwrap();
        assert!(std::fs::read(&fetched.path).unwrap() == content);
        assert_eq!(fetched.bytes_fetched, size, "what came through the first tunnel is not asked for again");
        assert!(tunnels.load(Ordering::SeqCst) >= 2);
    }
}
