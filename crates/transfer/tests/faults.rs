//! The fault matrix: every fault of the catalogue × what went before × the kind of blob.
//!
//! What passes must end with the right bytes; what lasts, with one exact error in bounded time, and when it is over the
//! next fetch must end well. Never a wrong file that counts as right, never a hang, never a verified piece fetched again
//! (read off the wire: no request asks for one).

mod rig;

use carrel_testbed::hostile::faults;
use carrel_transfer::{FetchError, Lie};
use futures_util::StreamExt as _;
use rig::trial::{Expected, Kind, Start, Trial};

/// Trials of one row at the same time.
const AT_ONCE: usize = 6;

/// How each lasting fault ends.
const ENDS: &[(&str, Expected)] = &[
    ("body-cut-at-once", |error| matches!(error, FetchError::Unreachable(_))),
    ("swapped-new-etag", |error| matches!(error, FetchError::Corrupt { .. })),
    ("swapped-same-etag", |error| matches!(error, FetchError::Corrupt { .. })),
    ("wrong-byte-always", |error| matches!(error, FetchError::Corrupt { .. })),
    ("gzip-claimed", |error| matches!(error, FetchError::SourceLied(Lie::Encoding))),
    ("gzip-forced", |error| matches!(error, FetchError::SourceLied(Lie::Encoding))),
    ("wrong-offset", |error| matches!(error, FetchError::SourceLied(Lie::Range))),
    ("wrong-offset-lying", |error| matches!(error, FetchError::Corrupt { .. })),
    ("416", |error| matches!(error, FetchError::SourceLied(Lie::Length))),
    // What is no number is no HTTP either: the answer may be refused before anybody looks at it as a length.
    ("length-negative", |error| matches!(error, FetchError::Unreachable(_) | FetchError::SourceLied(Lie::Length))),
    ("length-overflow", |error| matches!(error, FetchError::Unreachable(_) | FetchError::SourceLied(Lie::Length))),
    ("length-rubbish", |error| matches!(error, FetchError::Unreachable(_) | FetchError::SourceLied(Lie::Length))),
    ("length-other", |error| matches!(error, FetchError::SourceLied(Lie::Length))),
    ("length-5-gb", |error| matches!(error, FetchError::SourceLied(Lie::Length))),
    ("length-2-53", |error| matches!(error, FetchError::SourceLied(Lie::Length))),
    ("expired-for-ever", |error| matches!(error, FetchError::NotAuthorised)),
    ("portal-for-ever", |error| matches!(error, FetchError::NotAService)),
    ("tls-expired", |error| matches!(error, FetchError::Tls(_))),
    ("tls-other-host", |error| matches!(error, FetchError::Tls(_))),
    ("tls-self-signed", |error| matches!(error, FetchError::Tls(_))),
    ("redirect-loop", |error| matches!(error, FetchError::TooManyRedirects)),
    ("redirect-to-file", |error| matches!(error, FetchError::ForbiddenRedirect)),
    ("redirect-to-data", |error| matches!(error, FetchError::ForbiddenRedirect)),
    ("redirect-to-ftp", |error| matches!(error, FetchError::ForbiddenRedirect)),
    ("redirect-to-plain", |error| matches!(error, FetchError::ForbiddenRedirect)),
    ("500-for-ever", |error| matches!(error, FetchError::Http { status: 500 })),
    ("stall-for-ever", |error| matches!(error, FetchError::Stalled)),
    ("silent-for-ever", |error| matches!(error, FetchError::Stalled)),
    ("trickle-for-ever", |error| matches!(error, FetchError::Stalled)),
    // So much takes its time on a busy machine.
    ("long-head", |error| matches!(error, FetchError::Unreachable(_) | FetchError::Stalled)),
    ("endless-1xx", |error| matches!(error, FetchError::Stalled | FetchError::Unreachable(_))),
    ("closed-for-ever", |error| matches!(error, FetchError::Unreachable(_))),
    ("rubbish", |error| matches!(error, FetchError::Unreachable(_))),
    ("tls-plain-answer", |error| matches!(error, FetchError::Tls(_))),
    ("h2-refused-for-ever", |error| matches!(error, FetchError::Unreachable(_))),
    // Over HTTP/2 it is what 429 is over HTTP/1.1, where the connection just ends.
    ("h2-calm-for-ever", |error| matches!(error, FetchError::Busy { .. } | FetchError::Unreachable(_))),
];

/// Every fault of this number after this start, with every kind of blob.
async fn row(number: u32, start: Start) {
    let mut trials = Vec::new();
    for fault in faults().into_iter().filter(|fault| fault.number == number) {
        let expected = ENDS.iter().find(|(name, _)| *name == fault.name).map(|(_, expected)| *expected);
        assert_eq!(fault.passes, expected.is_none(), "{}: a lasting fault has its error, no other has", fault.name);
        for kind in [Kind::Tiny, Kind::Small, Kind::SmallHttp2, Kind::Big, Kind::BigHttp2] {
            trials.extend(Trial::new(&fault, start, kind).await.map(|trial| (trial, expected)));
        }
    }
    let played = trials.len();
    assert!(played > 0, "there is no fault {number}");
    // Most of the time of most of them is waiting.
    let outcomes = futures_util::stream::iter(trials).map(|(trial, expected)| async move {
        let outcome = trial.run(expected).await;
        outcome.err().map(|failure| format!("{trial}: {failure}"))
    });
    let failures: Vec<_> = outcomes.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    assert!(failures.is_empty(), "{start:?}, {} of {played}:\n{}", failures.len(), failures.join("\n"));
}

macro_rules! matrix {
    ($($name:ident = $number:literal),+ $(,)?) => {
        $(mod $name {
            use super::{Start, row};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn fresh() {
                row($number, Start::Fresh).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn after_a_failure_in_this_process() {
                row($number, Start::AfterFailure).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn after_a_pause_in_this_process() {
                row($number, Start::AfterPause).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_a_new_process() {
                row($number, Start::NewProcess).await;
            }
        })+

        #[test]
        fn every_fault_of_the_catalogue_is_played() {
            let rows = [$($number),+];
            for fault in faults() {
                assert!(rows.contains(&fault.number), "{} has no row", fault.name);
            }
            for (name, _) in ENDS {
                assert!(faults().iter().any(|fault| fault.name == *name), "{name} is no fault");
            }
        }
    };
}

matrix! {
    f01_bodies_cut = 1,
    f02_extra_bytes = 2,
    f03_ranges_ignored = 3,
    f04_wrong_ranges = 4,
    f05_early_ranges = 5,
    f06_other_files = 6,
    f07_validators = 7,
    f08_not_satisfiable = 8,
    f09_gzip = 9,
    f10_no_lengths = 10,
    f11_wrong_lengths = 11,
    f12_empty = 12,
    f13_expired_addresses = 13,
    f15_portals = 15,
    f16_untrusted = 16,
    f17_redirects = 17,
    f18_patience = 18,
    f19_failures = 19,
    f20_silence = 20,
    f21_broken_connections = 21,
    f22_http2 = 22,
    f23_second_connections = 23,
    f24_names = 24,
}
