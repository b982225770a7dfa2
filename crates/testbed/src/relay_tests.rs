use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{passed::read_head, *};

/// Answers every request on a connection with the number of bytes its path names.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        let asked = read_head(&head).unwrap();
                        let length: usize = asked.target.trim_start_matches('/').parse().unwrap();
                        let head_of_answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                        let _ = stream.write_all(head_of_answer.as_bytes()).await;
                        let _ = stream.write_all(&vec![b'x'; length]).await;
                        head.clear();
                    }
                }
            });
        }
    });
    address
}

async fn ask(relay: &Relay, path: &str, connection: &mut TcpStream) -> io::Result<usize> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nrange: bytes=5-\r\n\r\n", relay.url());
    connection.write_all(request.as_bytes()).await?;
    let length: usize = path.trim_start_matches('/').parse().unwrap();
    let mut answer = vec![0; format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").len() + length];
    connection.read_exact(&mut answer).await
}

async fn connect(relay: &Relay) -> io::Result<TcpStream> {
    TcpStream::connect(relay.address).await
}

#[tokio::test]
async fn notes_each_request_of_a_connection_with_the_bytes_of_its_body() {
    let relay = Relay::start(origin().await).await.unwrap();
    let mut connection = connect(&relay).await.unwrap();
    ask(&relay, "/1000", &mut connection).await.unwrap();
    ask(&relay, "/70000", &mut connection).await.unwrap();

    let passed = relay.passed();
    let facts: Vec<_> = passed.iter().map(|p| (p.target.as_str(), p.range.as_deref(), p.body_bytes)).collect();
    assert_eq!(facts, [("/1000", Some("bytes=5-"), 1000), ("/70000", Some("bytes=5-"), 70_000)]);
    assert_eq!(relay.bytes_of(|passed| passed.target == "/70000"), 70_000);
}

#[tokio::test]
async fn the_rate_is_that_of_the_link_however_many_connections_share_it() {
    let relay = Relay::start(origin().await).await.unwrap();
    relay.limit(Some(400_000));
    let began = Instant::now();
    let (mut one, mut two) = (connect(&relay).await.unwrap(), connect(&relay).await.unwrap());
    let (one, two) = tokio::join!(ask(&relay, "/50000", &mut one), ask(&relay, "/50000", &mut two));
    assert!(one.is_ok() && two.is_ok(), "both are answered: {one:?} {two:?}");
    assert!(began.elapsed() >= Duration::from_millis(240), "100 kB at 400 kB/s took {:?}", began.elapsed());
}

#[tokio::test]
async fn down_refuses_new_connections_and_cuts_the_open_ones_until_it_comes_back() {
    let mut relay = Relay::start(origin().await).await.unwrap();
    let mut connection = connect(&relay).await.unwrap();
    ask(&relay, "/10", &mut connection).await.unwrap();

    relay.go_down().await;
    assert!(ask(&relay, "/10", &mut connection).await.is_err(), "the open connection is cut");
    assert!(connect(&relay).await.is_err(), "a new one is refused");

    relay.come_back().await.unwrap();
    let mut connection = connect(&relay).await.unwrap();
    ask(&relay, "/10", &mut connection).await.unwrap();
}

#[tokio::test]
async fn a_cut_ends_a_download_in_the_middle_and_leaves_the_relay_listening() {
    let relay = Relay::start(origin().await).await.unwrap();
    relay.limit(Some(50_000));
    let mut connection = connect(&relay).await.unwrap();
    let download = ask(&relay, "/1000000", &mut connection);
    let cut = async {
        while relay.bytes_of(|_| true) < 8_000 {
            tokio::task::yield_now().await;
        }
        relay.cut();
    };
    let (download, ()) = tokio::join!(download, cut);
    assert!(download.is_err(), "the download ends early");
    assert!(relay.bytes_of(|_| true) < 1_000_000);
    assert!(connect(&relay).await.is_ok());
}

fn stormy(weather: Weather) -> Network {
    Network { weather: Some(weather), ..Network::default() }
}

const CALM: Weather = Weather { seed: 1, loss: 0.0, loss_per_second: 0.0, outages: None };

#[tokio::test]
async fn a_connection_costs_a_round_trip_and_so_does_each_question_on_it() {
    let round_trip = Duration::from_millis(60);
    let network = Network { round_trip, ..Network::default() };
    let relay = Relay::through(origin().await, network).await.unwrap();
    let mut connection = connect(&relay).await.unwrap();
    let began = Instant::now();
    ask(&relay, "/1000", &mut connection).await.unwrap();
    assert!(began.elapsed() >= 2 * round_trip, "the handshake and the question took {:?}", began.elapsed());
    let began = Instant::now();
    ask(&relay, "/300000", &mut connection).await.unwrap();
    assert!(began.elapsed() >= round_trip, "the next question took {:?}", began.elapsed());
    assert_eq!(relay.bytes_of(|_| true), 301_000, "what is delayed is counted as well");
}

#[tokio::test]
async fn a_connection_is_lost_where_its_fate_says() {
    let weather = Weather { loss: 1.0, ..CALM };
    let fates: Vec<_> = (0..8).map(|number| weather.fate(number)).collect();
    let relay = Relay::through(origin().await, stormy(weather)).await.unwrap();
    for fate in &fates {
        let before = relay.tally().to_app_bytes;
        let answer = match connect(&relay).await {
            Ok(mut connection) => ask(&relay, "/8000000", &mut connection).await,
            Err(error) => Err(error),
        };
        assert!(answer.is_err(), "{fate:?}: it is lost");
        let got = relay.tally().to_app_bytes - before;
        match fate {
            Fate::LostAtOnce => assert_eq!(got, 0),
            Fate::LostAfterBytes(limit) => assert!((*limit..limit + (128 << 10)).contains(&got), "{fate:?}: {got}"),
            other => panic!("every connection is to be lost: {other:?}"),
        }
    }
    assert!(fates.contains(&Fate::LostAtOnce) && fates.iter().any(|fate| *fate != Fate::LostAtOnce));
    assert_eq!((relay.tally().connections, relay.tally().lost), (8, 8));
}

#[tokio::test]
async fn each_kind_of_outage_looks_as_it_says_and_ends() {
    let relay = Relay::start(origin().await).await.unwrap();
    for kind in [OutageKind::Refused, OutageKind::Silent, OutageKind::Cut] {
        let mut old = answered(&relay).await;
        relay.state.begin(kind);
        let (old_answer, new_answer) = {
            let mut old_answer = std::pin::pin!(ask(&relay, "/10", &mut old));
            let mut new_answer = std::pin::pin!(async { ask(&relay, "/10", &mut connect(&relay).await?).await });
            let patience = Duration::from_millis(200);
            let early = tokio::time::timeout(patience, old_answer.as_mut()).await.ok();
            let early_new = tokio::time::timeout(patience, new_answer.as_mut()).await.ok();
            assert!(!matches!(early, Some(Ok(_))) && !matches!(early_new, Some(Ok(_))), "{kind:?}: nothing passes");
            relay.state.end_outage();
            let old_answer = match early {
                Some(answer) => answer,
                None => old_answer.await,
            };
            let new_answer = match early_new {
                Some(answer) => answer,
                None => new_answer.await,
            };
            (old_answer, new_answer)
        };
        assert_eq!(old_answer.is_ok(), kind == OutageKind::Silent, "{kind:?}: what was open says {old_answer:?}");
        assert_eq!(new_answer.is_err(), kind == OutageKind::Refused, "{kind:?}: what came new says {new_answer:?}");
    }
    answered(&relay).await;
}

#[tokio::test]
async fn outages_begin_with_the_first_connection_and_come_as_forecast() {
    let outages = Outages {
        every: Duration::from_millis(40),
        shortest: Duration::from_millis(5),
        longest: Duration::from_millis(10),
    };
    let weather = Weather { outages: Some(outages), ..CALM };
    let relay = Relay::through(origin().await, stormy(weather.clone())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(relay.outages(), [], "nobody has come yet");
    answered(&relay).await;
    while relay.outages().len() < 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let forecast: Vec<_> = weather.outages().take(4).collect();
    assert_eq!(relay.outages().get(..4), Some(forecast.as_slice()));
}

/// A connection on which an answer has come, as soon as one does.
async fn answered(relay: &Relay) -> TcpStream {
    loop {
        if let Ok(mut connection) = connect(relay).await
            && ask(relay, "/10", &mut connection).await.is_ok()
        {
            return connection;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
