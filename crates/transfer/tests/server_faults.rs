//! What servers and networks do, and what must come of it: the right bytes, or a typed error in bounded time.

#![expect(clippy::expect_used, reason = "a wrong file that counts as right is the failure looked for")]

mod rig;

use std::{sync::Arc, time::Duration};

use carrel_testbed::http_origin::{Act, Origin};
use carrel_transfer::{FetchError, FixedSources, Lie, ResolveReason, Source, SourceError};
use rig::{MIB, NOW, Rig, ScriptedSources};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SIZE: u64 = 3 * MIB + 123;

async fn survives_once(act: Act) -> Rig {
    let rig = Rig::new(SIZE).await;
    rig.origin.script([act]);
    rig.survives().await;
    rig
}

async fn ends_with(act: Act) -> FetchError {
    let rig = Rig::new(SIZE).await;
    rig.origin.always(act);
    rig.fetch().await.expect_err("nothing right was ever sent")
}

#[tokio::test]
async fn fetches_every_size_around_a_piece() {
    for size in [0, 1, 1023, MIB - 1, MIB, MIB + 1, 2 * MIB, 5 * MIB + 17] {
        let rig = Rig::new(size).await;
        let fetched = rig.survives().await;
        assert_eq!((fetched.bytes, fetched.bytes_fetched, fetched.retries), (size, size, 0));
        assert_eq!(rig.origin.seen().len(), usize::from(size > 0), "an empty blob needs no request");
    }
}

#[tokio::test]
async fn goes_on_where_a_body_was_cut() {
    let rig = survives_once(Act::CutAfter(MIB + 1000)).await;
    assert_eq!(rig.ranges(), [(0, SIZE - 1), (MIB + 1000, SIZE - 1)]);
    survives_once(Act::ResetAfter(MIB + 1000)).await;
    survives_once(Act::Chunked(Some(MIB + 1000))).await;
    survives_once(Act::UntilClose(Some(MIB + 1000))).await;
    survives_once(Act::Close).await;
}

#[tokio::test]
async fn gets_through_when_every_body_is_cut() {
    let rig = Rig::new(SIZE).await;
    rig.origin.always(Act::CutAfter(100_000));
    let fetched = rig.survives().await;
    assert_eq!(fetched.bytes_fetched, SIZE, "no byte is fetched twice");
}

#[tokio::test]
async fn gives_up_when_nothing_arrives() {
    assert!(matches!(ends_with(Act::CutAfter(0)).await, FetchError::Unreachable(_)));
    assert!(matches!(ends_with(Act::Close).await, FetchError::Unreachable(_)));
}

#[tokio::test]
async fn ignores_extra_bytes_and_missing_lengths() {
    survives_once(Act::Extra(5000)).await;
    survives_once(Act::Chunked(None)).await;
    survives_once(Act::UntilClose(None)).await;
    survives_once(Act::NoContentRange).await;
    survives_once(Act::Shorter(MIB / 2)).await;
}

#[tokio::test]
async fn takes_the_whole_blob_in_answer_to_a_range() {
    let rig = Rig::new(8 * MIB).await;
    rig.origin.script([Act::CutAfter(5 * MIB)]);
    rig.origin.always(Act::Whole);
    let fetched = rig.survives().await;
    assert!(fetched.bytes_fetched >= 13 * MIB, "a source without ranges costs the way to the gap");
    survives_once(Act::Whole).await;
}

#[tokio::test]
async fn a_range_from_the_wrong_place_never_counts() {
    for shift in [-4096, 4096] {
        for honest in [true, false] {
            let rig = Rig::new(SIZE).await;
            rig.origin.script([Act::CutAfter(MIB + 5000), Act::Beside { shift, honest }]);
            rig.survives().await;
        }
    }
    let rig = Rig::new(SIZE).await;
    rig.origin.always(Act::Beside { shift: 4096, honest: true });
    assert!(matches!(rig.fetch().await, Err(FetchError::SourceLied(Lie::Range))));
    rig.origin.always(Act::Beside { shift: 4096, honest: false });
    assert!(matches!(rig.fetch().await, Err(FetchError::Corrupt { piece: 0 })));
}

#[tokio::test]
async fn a_range_that_begins_earlier_is_skipped_into() {
    let rig = Rig::new(SIZE).await;
    rig.origin.script([Act::CutAfter(MIB + 5000), Act::Beside { shift: -4096, honest: true }]);
    let fetched = rig.survives().await;
    assert_eq!(fetched.bytes_fetched, SIZE + 4096);
}

#[tokio::test]
async fn a_wrong_piece_is_fetched_again_alone() {
    let rig = survives_once(Act::Changed(vec![MIB + 7])).await;
    assert_eq!(rig.ranges(), [(0, SIZE - 1), (MIB, 2 * MIB - 1)]);
}

#[tokio::test]
async fn a_changed_file_of_the_same_length_is_corrupt() {
    assert!(matches!(ends_with(Act::Changed(vec![MIB + 7])).await, FetchError::Corrupt { piece: 1 }));
    let everywhere = (0..4).map(|piece| piece * MIB + 9).collect();
    assert!(matches!(ends_with(Act::Changed(everywhere)).await, FetchError::Corrupt { .. }));
}

#[tokio::test]
async fn a_piece_that_is_wrong_at_one_source_comes_from_another() {
    let rig = Rig::new(SIZE).await;
    let honest = Origin::start(rig.content.clone()).await.unwrap();
    rig.origin.always(Act::Changed(vec![7, MIB + 7]));
    let sources = FixedSources(vec![rig.origin.url("/").parse().unwrap(), honest.url("/").parse().unwrap()]);
    rig.fetch_from(Arc::new(sources)).await.unwrap();
    rig.assert_file();
    assert!(!honest.seen().is_empty());
}

#[tokio::test]
async fn what_cannot_be_the_blob_is_refused() {
    assert!(matches!(ends_with(Act::status(416)).await, FetchError::SourceLied(Lie::Length)));
    assert!(matches!(ends_with(Act::Gzip).await, FetchError::SourceLied(Lie::Encoding)));
    assert!(matches!(ends_with(Act::Length("5000000000".to_owned())).await, FetchError::SourceLied(Lie::Length)));
    assert!(matches!(ends_with(Act::Length((1_u64 << 53).to_string())).await, FetchError::SourceLied(Lie::Length)));
    for rubbish in ["-1", "99999999999999999999999", "abc"] {
        let error = ends_with(Act::Length(rubbish.to_owned())).await;
        assert!(matches!(error, FetchError::Unreachable(_) | FetchError::SourceLied(_)), "{rubbish}: {error}");
    }
    survives_once(Act::Gzip).await;
    survives_once(Act::status(416)).await;
}

#[tokio::test]
async fn an_expired_address_is_renewed_and_its_error_never_written() {
    let rig = Rig::new(SIZE).await;
    let renewed = Origin::start(rig.content.clone()).await.unwrap();
    rig.origin.script([Act::CutAfter(MIB + 5000)]);
    rig.origin.always(Act::expired());
    let new_host = Source::new(renewed.url("/renewed").parse().unwrap());
    let sources = ScriptedSources::new(vec![Ok(vec![rig.source("/signed")]), Ok(vec![new_host])]);
    let fetched = rig.fetch_from(sources.clone()).await.unwrap();
    rig.assert_file();
    assert_eq!(fetched.bytes_fetched, SIZE, "what had arrived is kept");
    assert_eq!(*sources.reasons.lock().unwrap(), [ResolveReason::First, ResolveReason::Expired]);
    assert_eq!(renewed.seen()[0].range, Some((MIB + 5000, Some(SIZE - 1))));
}

#[tokio::test]
async fn refusals_renew_twice_and_then_end() {
    for (act, reason) in [
        (Act::expired(), ResolveReason::Expired),
        (Act::status(403), ResolveReason::Refused),
        (Act::status(401), ResolveReason::Refused),
        (Act::Status(400, vec![], b"<Error><Code>ExpiredToken</Code></Error>".to_vec()), ResolveReason::Expired),
    ] {
        let rig = Rig::new(SIZE).await;
        rig.origin.always(act);
        let sources = ScriptedSources::new(vec![Ok(vec![rig.source("/")])]);
        assert!(matches!(rig.fetch_from(sources.clone()).await, Err(FetchError::NotAuthorised)));
        assert_eq!(*sources.reasons.lock().unwrap(), [ResolveReason::First, reason, reason]);
    }
    assert!(matches!(ends_with(Act::status(404)).await, FetchError::Gone));
    assert!(matches!(ends_with(Act::status(418)).await, FetchError::Http { status: 418 }));
}

#[tokio::test]
async fn waits_for_the_service_that_gives_addresses() {
    let rig = Rig::new(SIZE).await;
    let busy = || Err(SourceError::Unavailable { retry_after: Some(Duration::from_secs(7)), cause: "503".to_owned() });
    let sources = ScriptedSources::new(vec![busy(), busy(), Ok(vec![rig.source("/")])]);
    rig.fetch_from(sources).await.unwrap();
    rig.assert_file();
    assert_eq!(rig.slept(), [Duration::from_secs(7); 2]);

    let rig = Rig::new(SIZE).await;
    let error = rig.fetch_from(ScriptedSources::new(vec![busy()])).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    let refused = ScriptedSources::new(vec![Err(SourceError::NotAuthorised)]);
    assert!(matches!(rig.fetch_from(refused).await, Err(FetchError::NotAuthorised)));
}

#[tokio::test]
async fn a_wrong_clock_costs_no_working_address() {
    let rig = Rig::new(SIZE).await;
    rig.origin.script([Act::CutAfter(100_000)]);
    let mut source = rig.source("/");
    source.expires_at = Some(NOW.plus_ms(-24 * 3_600_000));
    let sources = ScriptedSources::new(vec![Ok(vec![source])]);
    rig.fetch_from(sources.clone()).await.unwrap();
    rig.assert_file();
    assert_eq!(sources.reasons.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_portal_page_is_told_from_the_file() {
    assert!(matches!(ends_with(Act::portal()).await, FetchError::NotAService));
    assert!(matches!(ends_with(Act::status(511)).await, FetchError::NotAService));
    let rig = Rig::new(SIZE).await;
    rig.origin.script([Act::CutAfter(MIB + 5000), Act::portal()]);
    let fetched = rig.survives().await;
    assert_eq!(fetched.bytes_fetched, SIZE, "nothing of the page counts and nothing is lost");
}

#[tokio::test]
async fn no_trusted_connection_is_an_error_of_its_own() {
    // A portal that answers a TLS greeting in plain HTTP.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.read_u8().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
        }
    });
    let rig = Rig::new(SIZE).await;
    let error = rig.fetch_from(Arc::new(FixedSources(vec![url.parse().unwrap()]))).await.unwrap_err();
    assert!(matches!(error, FetchError::Tls(_)), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn redirects_are_followed_within_bounds() {
    let rig = Rig::new(SIZE).await;
    rig.origin.script((0..5).map(|_| Act::redirect("/next")));
    rig.survives().await;

    // Letters that should have been encoded.
    let rig = Rig::new(SIZE).await;
    rig.origin.script([Act::redirect("/nächste Seite")]);
    rig.survives().await;

    let rig = Rig::new(SIZE).await;
    rig.origin.always(Act::redirect("/round"));
    assert!(matches!(rig.fetch().await, Err(FetchError::TooManyRedirects)));
    for place in ["file:///etc/passwd", "data:text/plain,x", "ftp://127.0.0.1/x", "http://", "http://a:b@127.0.0.1/"] {
        assert!(matches!(ends_with(Act::redirect(place)).await, FetchError::ForbiddenRedirect), "{place}");
    }
}

#[tokio::test]
async fn headers_stay_at_their_origin() {
    let rig = Rig::new(SIZE).await;
    let elsewhere = Origin::start(rig.content.clone()).await.unwrap();
    rig.origin.script([Act::redirect("/same"), Act::redirect(&elsewhere.url("/other"))]);
    let mut source = rig.source("/first");
    source.headers.insert("authorization", "Bearer secret".parse().unwrap());
    source.headers.insert("cookie", "a=b".parse().unwrap());
    rig.fetch_from(ScriptedSources::new(vec![Ok(vec![source])])).await.unwrap();
    rig.assert_file();
    assert!(rig.origin.seen().iter().all(|seen| seen.header("authorization") == Some("Bearer secret")));
    let there = elsewhere.seen();
    assert_eq!((there[0].header("authorization"), there[0].header("cookie")), (None, None));
    assert_eq!(there[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn retry_after_is_kept_but_not_for_ever() {
    let quarter = Duration::from_secs(15 * 60);
    let own = Duration::from_secs(1);
    for (value, expected) in [
        ("20", Duration::from_secs(20)),
        ("0", own),
        ("99999999", quarter),
        ("Fri, 01 May 2026 00:02:00 GMT", Duration::from_secs(120)),
        ("Thu, 30 Apr 2026 00:00:00 GMT", own),
        ("Sat, 01 May 2027 00:00:00 GMT", quarter),
        ("soon", own),
        ("-5", own),
    ] {
        for status in [429, 503] {
            let rig = survives_once(Act::retry_after(status, value)).await;
            assert_eq!(rig.slept(), [expected], "{status} {value}");
        }
    }
    let error = ends_with(Act::retry_after(429, "20")).await;
    assert_eq!((error.is_retryable(), error.retry_after()), (true, Some(Duration::from_secs(20))));
}

#[tokio::test]
async fn passing_failures_pass() {
    for status in [500, 408, 425, 502, 504, 522, 524] {
        let rig = survives_once(Act::status(status)).await;
        assert_eq!(rig.slept(), [Duration::from_secs(1)]);
    }
    let rig = Rig::new(SIZE).await;
    rig.origin.always(Act::status(500));
    assert!(matches!(rig.fetch().await, Err(FetchError::Http { status: 500 })));
    assert_eq!(rig.slept(), [1, 2, 4].map(Duration::from_secs));
}

#[tokio::test]
async fn stalls_are_noticed() {
    let rig = survives_once(Act::StallAfter(MIB + 5000)).await;
    assert_eq!(rig.ranges()[1].0, MIB + 5000);
    survives_once(Act::Silent).await;
    survives_once(Act::Trickle(20)).await;
    assert!(matches!(ends_with(Act::Silent).await, FetchError::Stalled));
    assert!(matches!(ends_with(Act::StallAfter(0)).await, FetchError::Stalled));
}

#[tokio::test]
async fn headers_without_end_end() {
    assert!(matches!(ends_with(Act::Headers(1 << 20)).await, FetchError::Unreachable(_)));
    assert!(matches!(ends_with(Act::Endless1xx).await, FetchError::Stalled | FetchError::Unreachable(_)));
}
