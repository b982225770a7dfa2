//! TLS: a trusted server serves, any other ends the fetch with an error of its own – no byte is taken from it.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up is to fail")]

mod rig;

use std::{net::SocketAddr, sync::Arc};

use carrel_transfer::{
    FetchError, FetchRequest, Fetched, Fetcher, FetcherConfig, FixedSources, HttpClient, HttpOptions,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rig::{MIB, Rig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// An authority, and a certificate it has given for this name.
struct Identity {
    authority_pem: Vec<u8>,
    server: Arc<ServerConfig>,
}

fn identity(name: &str, expired: bool) -> Identity {
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 12, 31);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let server = ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    Identity { authority_pem: authority.pem().into_bytes(), server: Arc::new(server) }
}

/// TLS in front of a plain origin. With `cut`, each connection is dropped without a goodbye after so many bytes.
async fn front(server: Arc<ServerConfig>, origin: SocketAddr, cut: Option<u64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                // A client that doesn't trust us hangs up: the point of most tests here.
                let Ok(outside) = TlsAcceptor::from(server).accept(stream).await else { return };
                let inside = TcpStream::connect(origin).await.unwrap();
                let (mut from_client, mut to_client) = tokio::io::split(outside);
                let (mut from_origin, mut to_origin) = inside.into_split();
                let up = tokio::io::copy(&mut from_client, &mut to_origin);
                let mut limited = tokio::io::AsyncReadExt::take(&mut from_origin, cut.unwrap_or(u64::MAX));
                let down = tokio::io::copy(&mut limited, &mut to_client);
                // Neither side is shut down: the socket closes under the TLS session.
                tokio::select! { _ = up => {}, _ = down => {} }
            });
        }
    });
    address
}

async fn fetch(rig: &Rig, identity: &Identity, trust: bool, cut: Option<u64>) -> Result<Fetched, FetchError> {
    let plain: url::Url = rig.origin.url("/").parse().unwrap();
    let origin = plain.socket_addrs(|| None).unwrap().pop().unwrap();
    let address = front(Arc::clone(&identity.server), origin, cut).await;
    let mut options = HttpOptions::default();
    if trust {
        options.extra_roots_pem.push(identity.authority_pem.clone());
    }
    let fetcher = Fetcher::new(HttpClient::new(&options).unwrap(), FetcherConfig::default());
    let request = FetchRequest::new(Arc::clone(&rig.manifest), rig.path());
    let url = format!("https://localhost:{}/blob", address.port()).parse().unwrap();
    let sources = Arc::new(FixedSources(vec![url]));
    fetcher.fetch(request, sources, Arc::new(rig.journal()), rig.control.clone()).await
}

#[tokio::test]
async fn a_trusted_server_serves() {
    let rig = Rig::new(3 * MIB + 1).await;
    fetch(&rig, &identity("localhost", false), true, None).await.unwrap();
    rig.assert_file();
}

#[tokio::test]
async fn a_connection_closed_without_goodbye_is_a_cut() {
    let rig = Rig::new(3 * MIB + 1).await;
    let fetched = fetch(&rig, &identity("localhost", false), true, Some(MIB + 5000)).await.unwrap();
    rig.assert_file();
    assert!(fetched.retries >= 2);
}

#[tokio::test]
async fn expired_foreign_and_unknown_certificates_end_the_fetch() {
    for (name, expired, trust) in
        [("localhost", true, true), ("elsewhere.test", false, true), ("localhost", false, false)]
    {
        let rig = Rig::new(MIB).await;
        let error = fetch(&rig, &identity(name, expired), trust, None).await.unwrap_err();
        assert!(matches!(error, FetchError::Tls(_)), "{name} {expired} {trust}: {error}");
        assert!(!error.is_retryable());
        assert!(rig.origin.seen().is_empty());
    }
}
