use std::process::Command;

use carrel_testbed::http_origin::{Act, Origin, Setup};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::client::{
    Http2, Line,
    fixture::{client, content, get, identity, options, source, within},
};

#[tokio::test]
async fn a_second_connection_resumes_the_session() {
    let identity = identity();
    let origin = Setup::new(content(10)).tls(Arc::clone(&identity)).http2(false).start().await.unwrap();
    let tls = Tls::new(&options(Some(&identity)).extra_roots_pem).unwrap();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let wire = Wire::Tcp(TcpStream::connect(origin.address()).await.unwrap());
        let (mut wire, http2) = within(tls.wrap(wire, "localhost", Offer::Either)).await.unwrap();
        assert!(!http2);
        // Tickets come with the first bytes of the answer.
        wire.write_all(b"GET /blob HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert!(within(wire.read(&mut [0; 1000])).await.unwrap() > 0);
        let Wire::Tls(stream) = &wire else { panic!("not over TLS") };
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
    }
    assert_eq!(kinds, [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed]);
}

#[tokio::test]
async fn an_end_without_notify_never_ends_a_body_that_lasts_until_the_end() {
    let identity = identity();
    let origin = Setup::new(content(100_000)).tls(Arc::clone(&identity)).http2(false).start().await.unwrap();
    origin.always(Act::UntilClose(Some(50_000)));
    let client = client(Some(&identity), Http2::Auto);
    let error = get(&client, &mut Line::own(), &source(&origin), 0, 100_000).await.unwrap_err();
    assert_eq!(error, Setback::Cut);
}

/// In a process of its own, where the system has no certificates: only there can the environment say so.
#[test]
fn without_any_authority_on_the_machine_plain_http_and_given_ones_work() {
    const CHILD: &str = "CARREL_TEST_WITHOUT_AUTHORITIES";
    if std::env::var_os(CHILD).is_none() {
        let empty = tempfile::tempdir().unwrap();
        let mut test = Command::new(std::env::current_exe().unwrap());
        let name = "client::tls::tests::without_any_authority_on_the_machine_plain_http_and_given_ones_work";
        test.args(["--exact", name, "--nocapture"]).env(CHILD, "1");
        test.env("SSL_CERT_FILE", empty.path().join("none.pem")).env("SSL_CERT_DIR", empty.path());
        let output = test.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (identity, content) = (identity(), content(10));
        let plain = Origin::start(content.clone()).await.unwrap();
        let secure = Setup::new(content.clone()).tls(Arc::clone(&identity)).start().await.unwrap();
        let without = client(None, Http2::Auto);
        assert_eq!(get(&without, &mut Line::own(), &source(&plain), 0, 10).await.unwrap(), content);
        let error = get(&without, &mut Line::own(), &source(&secure), 0, 10).await.unwrap_err();
        // Not merely unknown: there is nobody who could vouch.
        assert!(matches!(&error, Setback::Tls(why) if why.contains("No CA certificates")), "{error:?}");
        let with = client(Some(&identity), Http2::Auto);
        assert_eq!(get(&with, &mut Line::own(), &source(&secure), 0, 10).await.unwrap(), content);
    });
}

#[test]
fn rubbish_is_no_authority() {
    /// Three zero bytes.
    const NO_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["", "rubbish", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", NO_CERTIFICATE] {
        assert!(Tls::new(&[pem.as_bytes().to_vec()]).is_err(), "{pem}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_trusted_for_its_names_and_days_alone() {
    use carrel_testbed::http_origin::Identity;
    let trusted = |names: &[&str], begun| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Arc::new(Identity::its_own_authority(names, begun).unwrap())
    };
    let right = trusted(&["localhost", "127.0.0.1"], 2024);
    let other = trusted(&["localhost"], 2024);
    let cases = [
        ("trusted as it is", Arc::clone(&right), Some(Arc::clone(&right)), true),
        ("another one of the same name", other, Some(Arc::clone(&right)), false),
        ("given to nobody", Arc::clone(&right), None, false),
        ("for another name", trusted(&["elsewhere.test"], 2024), None, false),
        ("past its days", trusted(&["localhost"], 2010), None, false),
    ];
    for (what, served, given, taken) in cases {
        let origin = Setup::new(content(10)).tls(Arc::clone(&served)).start().await.unwrap();
        let given = if what.starts_with("given") { None } else { given.or_else(|| Some(Arc::clone(&served))) };
        let roots = given.iter().map(|identity| identity.authority_pem().as_bytes().to_vec()).collect::<Vec<_>>();
        let tls = Tls::new(&roots).unwrap();
        let wire = Wire::Tcp(TcpStream::connect(origin.address()).await.unwrap());
        let shaken = within(tls.wrap(wire, "localhost", Offer::Either)).await;
        assert_eq!(shaken.is_ok(), taken, "{what}: {:?}", shaken.err());
    }
}
