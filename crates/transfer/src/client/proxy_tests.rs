//! Through proxies of a few lines each.

use std::sync::Arc;

use carrel_testbed::http_origin::{Origin, Setup};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use url::Url;

use super::*;
use crate::{
    HttpClient, HttpOptions,
    client::{
        Line,
        fixture::{content, get, identity, options, source, within},
    },
    rules::patience::Setback,
};

/// What a proxy was asked for, as the lines or bytes of the request.
type Asked = mpsc::UnboundedReceiver<String>;

/// A proxy at a port of the loopback; `answer` is what it says to CONNECT, and anything else it forwards.
async fn http_proxy(answer: &'static str) -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let line = head.lines().next().unwrap().to_owned();
                tell.send(head.to_ascii_lowercase()).unwrap();
                let target = line.split(' ').nth(1).unwrap();
                if line.starts_with("CONNECT") {
                    client.write_all(answer.as_bytes()).await.unwrap();
                    if answer.contains(" 200 ") {
                        let mut server = TcpStream::connect(target).await.unwrap();
                        copy_bidirectional(&mut client, &mut server).await.ok();
                    }
                } else {
                    let url: Url = target.parse().unwrap();
                    let mut server = TcpStream::connect(url.socket_addrs(|| None).unwrap()[0]).await.unwrap();
                    server.write_all(head.replacen(target, url.path(), 1).as_bytes()).await.unwrap();
                    copy_bidirectional(&mut client, &mut server).await.ok();
                }
            });
        }
    });
    (port, asked)
}

/// A SOCKS 5 proxy that wants this name and password.
async fn socks_proxy(name: &'static str, password: &'static str) -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut greeting = vec![0; 2];
            client.read_exact(&mut greeting).await.unwrap();
            let mut methods = vec![0; greeting[1].into()];
            client.read_exact(&mut methods).await.unwrap();
            assert!(methods.contains(&2), "{methods:?}");
            client.write_all(&[5, 2]).await.unwrap();
            let mut given = Vec::new();
            client.read_u8().await.unwrap();
            for _ in 0..2 {
                let mut text = vec![0; client.read_u8().await.unwrap().into()];
                client.read_exact(&mut text).await.unwrap();
                given.push(String::from_utf8(text).unwrap());
            }
            let right = given == [name, password];
            client.write_all(&[1, u8::from(!right)]).await.unwrap();
            if !right {
                continue;
            }
            let mut request = [0; 4];
            client.read_exact(&mut request).await.unwrap();
            let host = match request[3] {
                1 => {
                    let mut four = [0; 4];
                    client.read_exact(&mut four).await.unwrap();
                    std::net::Ipv4Addr::from(four).to_string()
                }
                _ => {
                    let mut text = vec![0; client.read_u8().await.unwrap().into()];
                    client.read_exact(&mut text).await.unwrap();
                    String::from_utf8(text).unwrap()
                }
            };
            let port = client.read_u16().await.unwrap();
            tell.send(format!("{host}:{port}")).unwrap();
            let mut server = TcpStream::connect((host.as_str(), port)).await.unwrap();
            client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await.ok() });
        }
    });
    (port, asked)
}

/// A plain and a TLS origin of the same bytes, and a client that goes to them through this proxy.
async fn through(proxy: &str) -> (Origin, Origin, HttpClient, Vec<u8>) {
    let (identity, content) = (identity(), content(100_000));
    let secure = Setup::new(content.clone()).tls(Arc::clone(&identity)).start().await.unwrap();
    let plain = Origin::start(content.clone()).await.unwrap();
    let proxy = Proxy::Url(proxy.parse().unwrap());
    let client = HttpClient::new(&HttpOptions { proxy, ..options(Some(&identity)) }).unwrap();
    (plain, secure, client, content)
}

const WELCOME: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

#[tokio::test]
async fn an_http_proxy_forwards_what_is_plain_and_tunnels_what_is_not() {
    let (port, mut asked) = http_proxy(WELCOME).await;
    let (plain, secure, client, content) = through(&format!("http://me:secret@127.0.0.1:{port}")).await;
    for origin in [&plain, &secure] {
        for mut line in [Line::own(), Line::shared()] {
            assert!(get(&client, &mut line, &source(origin), 10, 90_000).await.unwrap() == content[10..90_000]);
            let head = asked.recv().await.unwrap();
            assert!(head.contains("proxy-authorization: basic bwu6c2vjcmv0\r\n"), "{head}");
            let expected = match origin.url("").strip_prefix("https://") {
                Some(authority) => format!("connect {authority} http/1.1\r\n"),
                None => format!("get {} http/1.1\r\n", origin.url("/blob")),
            };
            assert!(head.starts_with(&expected), "{head}");
        }
    }
    // The password is the proxy's affair alone.
    assert!(secure.seen().iter().all(|seen| seen.header("proxy-authorization").is_none()));
}

#[tokio::test]
async fn a_socks_proxy_is_told_the_name_and_the_password() {
    let (port, mut asked) = socks_proxy("me", "secret").await;
    for scheme in ["socks5", "socks5h"] {
        let (plain, secure, client, content) = through(&format!("{scheme}://me:secret@127.0.0.1:{port}")).await;
        for origin in [&plain, &secure] {
            let body = get(&client, &mut Line::own(), &source(origin), 10, 90_000).await.unwrap();
            assert!(body == content[10..90_000]);
            assert_eq!(asked.recv().await.unwrap(), origin.address().to_string());
        }
    }
    let (plain, _, client, _) = through(&format!("socks5://me:wrong@127.0.0.1:{port}")).await;
    let error = get(&client, &mut Line::own(), &source(&plain), 10, 90).await.unwrap_err();
    assert!(matches!(error, Setback::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_not_there_is_unreachable() {
    let (port, _asked) = http_proxy("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for port in [port, gone] {
        let (_plain, secure, client, _) = through(&format!("http://127.0.0.1:{port}")).await;
        let error = within(get(&client, &mut Line::own(), &source(&secure), 10, 90)).await.unwrap_err();
        assert!(matches!(error, Setback::Unreachable(_)), "{error:?}");
        assert!(secure.seen().is_empty());
    }
}

#[tokio::test]
async fn a_changed_proxy_holds_for_the_next_request_and_kept_connections_are_left() {
    let (first, mut of_first) = http_proxy(WELCOME).await;
    let (second, mut of_second) = http_proxy(WELCOME).await;
    let (plain, secure, client, content) = through(&format!("http://127.0.0.1:{first}")).await;
    for origin in [&plain, &secure] {
        for mut line in [Line::own(), Line::shared()] {
            client.set_proxy(&Proxy::Url(format!("http://127.0.0.1:{first}").parse().unwrap())).unwrap();
            assert!(get(&client, &mut line, &source(origin), 10, 90_000).await.unwrap() == content[10..90_000]);
            of_first.recv().await.unwrap();
            client.set_proxy(&Proxy::Url(format!("http://127.0.0.1:{second}").parse().unwrap())).unwrap();
            assert!(get(&client, &mut line, &source(origin), 10, 90_000).await.unwrap() == content[10..90_000]);
            of_second.recv().await.unwrap();
        }
    }
    let refused = client.set_proxy(&Proxy::Url("ftp://x".parse().unwrap()));
    assert!(matches!(refused, Err(crate::ClientError::Proxy)), "and what is none changes nothing");
    get(&client, &mut Line::own(), &source(&plain), 10, 90).await.unwrap();
    of_second.recv().await.unwrap();
}

#[test]
fn what_is_no_proxy_is_refused() {
    for url in ["ftp://x", "socks4://x", "file:///x"] {
        let options = HttpOptions { proxy: Proxy::Url(url.parse().unwrap()), ..HttpOptions::default() };
        assert!(matches!(HttpClient::new(&options), Err(crate::ClientError::Proxy)), "{url}");
    }
}

#[test]
fn the_systems_proxy_is_for_others_than_this_machine_and_exceptions_hold() {
    let matcher = Matcher::builder().all("http://proxy.test:3128").no("school.test, 10.0.0.0/8").build();
    let routes = Routes { matcher: Some(matcher), loopback: false };
    let route = |url: &str| routes.to(&Site::of(&url.parse().unwrap()).unwrap());
    for url in ["http://localhost:1/", "http://127.0.0.3/", "https://[::1]/", "http://a.localhost/"] {
        assert!(matches!(route(url), Route::Straight), "{url}");
    }
    for url in ["http://school.test/", "https://media.school.test:8443/", "http://10.1.2.3/"] {
        assert!(matches!(route(url), Route::Straight), "{url}");
    }
    assert!(matches!(route("http://elsewhere.test/"), Route::Forward(_)));
    assert!(matches!(route("https://elsewhere.test/"), Route::Tunnel(_)));
    let asked = Routes::new(&Proxy::Url("socks5://127.0.0.1:1080".parse().unwrap())).unwrap();
    assert!(matches!(asked.to(&Site::of(&"http://localhost/".parse().unwrap()).unwrap()), Route::Socks(_)));
}
