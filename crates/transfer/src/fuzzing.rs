//! The rules as functions of plain bytes: what must hold whatever happens, for fuzzing (`cargo xtask fuzz`) and for tests.
//!
//! Bytes are read as a story – operations, answers, times – that the real code goes through, and each step is checked
//! against a simple model. A story that breaks a rule is kept under `fuzz/regressions`, where the tests below find it; they also
//! tell random stories, so that these functions are exercised in every run of the ordinary tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use carrel_model::{
    TimeMs,
    pieces::{Manifest, PIECE_BYTES, fold},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{
    Lie, PieceSet, Urgency,
    rules::{
        answer::{Answer, Asked, RETRY_AFTER_LIMIT, judge, refusal},
        hosts::{Host, SHARED_AT_ONCE, Ticket, Way},
        lanes::{Lanes, Sight},
        patience::{Limits, Patience, Setback, Step},
        plan::{Job, LaneId, Plan, Worth},
        rate::Bucket,
        stall::Stall,
    },
};

/// A story being read; when it is over, everything is zero.
#[derive(Debug)]
struct Tape<'a>(&'a [u8]);

impl<'a> Tape<'a> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn below(&mut self, limit: u64) -> u64 {
        u64::from(self.byte()) % limit
    }

    /// A number of any size; small ones come most often.
    fn number(&mut self) -> u64 {
        let bytes = self.byte() % 9;
        (0..bytes).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// Up to an hour.
    fn time(&mut self) -> Duration {
        Duration::from_millis(self.number() % 3_600_000)
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }
}

const PIECES: u64 = 20;
const LANES: usize = 4;

/// What the plan was told, for the checks of [`planner`].
#[derive(Debug, Default)]
struct Told {
    /// The piece each busy lane receives.
    at: BTreeMap<LaneId, u64>,
    submitted: BTreeSet<u64>,
}

impl Told {
    fn check(&self, plan: &Plan, manifest: &Manifest) {
        let held: u64 = plan.held().iter().map(|piece| manifest.piece_range(piece).1).sum();
        assert_eq!(plan.held_bytes(), held);
        assert_eq!(plan.has_submitted(), !self.submitted.is_empty());
        for piece in 0..PIECES {
            assert_eq!(plan.is_wanted(piece), !plan.held().contains(piece) && !self.submitted.contains(&piece));
            let covers =
                |(lane, at): &(&LaneId, &u64)| plan.end_of(**lane).is_some_and(|end| (**at..end).contains(&piece));
            let lanes: Vec<_> = self.at.iter().filter(covers).collect();
            assert!(lanes.len() <= 2, "{piece} is fetched {} times", lanes.len());
            assert!(lanes.len() < 2 || lanes.iter().all(|(_, at)| **at == piece), "only the piece in the air is raced");
        }
        let free = (0..PIECES).any(|piece| {
            let covered =
                self.at.iter().any(|(lane, at)| plan.end_of(*lane).is_some_and(|end| (*at..end).contains(&piece)));
            !covered && plan.is_wanted(piece)
        });
        assert_eq!(plan.has_gap(), free, "what nobody fetches is known");
    }

    fn assign(&mut self, plan: &mut Plan, lane: LaneId, now: Duration, worth: Worth, manifest: &Manifest) -> bool {
        let wanted: Vec<bool> = (0..PIECES).map(|piece| plan.is_wanted(piece)).collect();
        let Some(Job { span, .. }) = plan.assign(lane, now, worth) else { return false };
        assert!(span.first < span.end && span.end <= PIECES, "{span:?}");
        let asked = usize::try_from(span.first).unwrap_or(0)..usize::try_from(span.end).unwrap_or(0);
        assert!(
            wanted.get(asked).is_some_and(|wanted| wanted.iter().all(|wanted| *wanted)),
            "{span:?} is held in part"
        );
        let (start, end) = plan.bytes(span);
        assert!(start < end && end <= manifest.size());
        plan.asks(lane, now);
        self.at.insert(lane, span.first);
        true
    }

    fn arrived(&mut self, plan: &mut Plan, lane: LaneId, now: Duration) {
        let at = self.at.remove(&lane);
        let was_wanted = at.is_some_and(|piece| plan.is_wanted(piece));
        let arrived = plan.arrived(lane, now);
        assert_eq!(arrived.wanted, was_wanted);
        if let (Some(piece), true) = (at, was_wanted) {
            self.submitted.insert(piece);
        }
        if let Some(next) = arrived.next {
            assert_eq!(Some(next), at.map(|piece| piece + 1), "a body goes on where it was");
            self.at.insert(lane, next);
        }
    }
}

/// The plan: whatever happens, each missing piece is asked for once, by one lane or in a race, and all arrive in the end.
pub fn planner(story: &[u8]) {
    let mut tape = Tape(story);
    // Any list folds into some hash; what the pieces hold doesn't matter here.
    let values = vec![[3; 32]; usize::try_from(PIECES).unwrap_or(0)];
    let short = 1 + tape.number() % (PIECE_BYTES - 1);
    let manifest = fold(&values).map(|hash| Manifest::new(hash, PIECES * PIECE_BYTES - short, values));
    let Some(Ok(manifest)) = manifest else { return };
    let manifest = Arc::new(manifest);
    let mut plan = Plan::new(Arc::clone(&manifest));
    let mut told = Told::default();
    let worth = Worth { split_pieces: tape.below(8), slow_after: Duration::from_secs(tape.below(8)) };
    let mut now = Duration::ZERO;
    for _ in 0..tape.below(8) {
        plan.claimed(tape.below(PIECES));
    }
    while !tape.is_over() {
        let event = tape.byte();
        let lane = usize::from(tape.byte()) % LANES;
        let piece = tape.below(PIECES);
        match event % 12 {
            0 | 1 if !told.at.contains_key(&lane) => {
                told.assign(&mut plan, lane, now, worth, &manifest);
            }
            2..=4 => told.arrived(&mut plan, lane, now),
            5 => {
                plan.release(lane);
                told.at.remove(&lane);
            }
            6 => plan.revoke(lane),
            7 | 8 => {
                if let Some(piece) = told.submitted.pop_first() {
                    plan.verified(piece);
                }
            }
            9 => {
                if let Some(piece) = told.submitted.pop_last() {
                    assert!(plan.came_wrong(piece) >= 1);
                }
            }
            10 => {
                told.submitted.remove(&piece);
                plan.lost(piece);
            }
            11 if piece == 0 => plan.doubt_all(),
            _ => now += Duration::from_millis(u64::from(tape.byte()) * 20),
        }
        told.check(&plan, &manifest);
    }
    // From here on everything goes well, on two lanes: it ends, with everything held and proven.
    for lane in 0..LANES {
        plan.release(lane);
    }
    told.at.clear();
    let mut steps = 0;
    while !plan.held().is_full() {
        steps += 1;
        assert!(steps < 200, "it must end");
        for lane in 0..2 {
            if told.at.contains_key(&lane) || told.assign(&mut plan, lane, now, worth, &manifest) {
                told.arrived(&mut plan, lane, now);
            }
        }
        while let Some(piece) = told.submitted.pop_first() {
            plan.verified(piece);
        }
    }
    while let Some(piece) = plan.next_unproven(0) {
        plan.verified(piece);
    }
}

/// What a response means: no status and no header lead to more than a body read from where it says it begins.
pub fn validator(story: &[u8]) {
    const NAMES: [&str; 8] = [
        "content-range",
        "content-length",
        "content-encoding",
        "content-type",
        "retry-after",
        "etag",
        "content-disposition",
        "transfer-encoding",
    ];
    const SKIP_LIMIT: u64 = 4 << 20;
    let mut tape = Tape(story);
    let size = 1 + tape.number() % (1 << 40);
    let start = tape.number() % size;
    let end = start + 1 + tape.number() % (size - start);
    let asked = Asked { start, size, any_skip: tape.flag() };
    let common = [200, 206, 403, 416, 429, 503];
    let status = match usize::from(tape.byte()) {
        at if at < 200 => common.get(at % common.len()).copied().unwrap_or(200),
        _ => u16::try_from(100 + tape.number() % 900).unwrap_or(999),
    };
    let Ok(status) = StatusCode::from_u16(status) else { return };
    let mut headers = HeaderMap::new();
    for _ in 0..tape.below(6) {
        let name = NAMES.get(usize::from(tape.byte()) % NAMES.len()).copied().unwrap_or("etag");
        let (a, b, c) = (tape.number(), tape.number(), tape.number());
        let value = match tape.below(8) {
            0 => format!("bytes {start}-{}/{size}", end - 1),
            1 => format!("bytes {}-{}/{size}", start.saturating_sub(a), b),
            2 => format!("bytes {a}-{b}/{c}"),
            3 => format!("bytes {a}-{b}/*"),
            4 => size.to_string(),
            5 => a.to_string(),
            6 => "text/html; charset=utf-8".to_owned(),
            _ => String::from_utf8_lossy(tape.bytes()).into_owned(),
        };
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let now = TimeMs::from_ms(i64::try_from(tape.number() >> 1).unwrap_or(0));
    match judge(asked, status, &headers, now) {
        Answer::Body { skip, .. } => {
            let encoded = headers
                .get_all("content-encoding")
                .iter()
                .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
            assert!(!encoded, "bytes of a coding are never taken for the blob's");
            match status.as_u16() {
                200 => assert_eq!(skip, start, "the whole blob begins at its beginning"),
                206 => {
                    assert!(skip <= SKIP_LIMIT.min(start));
                    if skip > 0 {
                        let told =
                            headers.get("content-range").and_then(|value| value.to_str().ok()).unwrap_or_default();
                        assert!(told.contains(&(start - skip).to_string()), "{told}: only what it says is skipped");
                    }
                }
                other => panic!("{other} has no part of the blob"),
            }
        }
        Answer::Refusal(status) => {
            assert!(matches!(status.as_u16(), 400 | 401 | 403));
            let setback = refusal(status, tape.bytes());
            assert!(matches!(setback, Setback::Expired | Setback::Refused | Setback::Rejected { .. }));
        }
        Answer::Setback(Setback::Busy { retry_after, .. }) => {
            assert!(retry_after.is_none_or(|wait| wait <= RETRY_AFTER_LIMIT));
        }
        Answer::Setback(_) => {}
    }
}

/// Patience: waits keep their bound, and without progress every story ends.
pub fn patience(story: &[u8]) {
    /// Fifteen seconds of probes at the shortest wait, twelve attempts, two renewals.
    const MOST: u32 = 15_000 / 90 + 12 + 2 + 1;
    let mut tape = Tape(story);
    let limits = Limits {
        attempts: 1 + u32::from(tape.byte() % 12),
        backoff_base: tape.time(),
        backoff_cap: tape.time(),
        longest_wait: tape.time(),
    };
    let longest = limits.longest_wait.max(Duration::from_secs(1));
    let mut patience = Patience::new(limits);
    let mut without_progress = 0;
    while !tape.is_over() {
        match tape.byte() % 16 {
            0 => {
                let bytes = tape.number();
                patience.received(bytes);
                without_progress = if bytes > 0 { 0 } else { without_progress };
                continue;
            }
            1 => {
                patience.refresh();
                without_progress = 0;
                continue;
            }
            _ => {}
        }
        let setback = setback(&mut tape);
        let mut step = patience.after(&setback, tape.time(), f64::from(tape.byte()) / 256.0);
        if matches!(step, Step::Drop) {
            // With one source every drop is the last.
            step = patience.exhausted(&setback);
        }
        match step {
            Step::Again { wait, .. } => assert!(wait <= longest, "{wait:?} for {setback:?}"),
            Step::GiveUp(_) => return,
            Step::Renew(_) | Step::Drop => {}
        }
        without_progress += 1;
        assert!(without_progress <= MOST, "it must end");
    }
}

fn setback(tape: &mut Tape<'_>) -> Setback {
    let retry_after = tape.flag().then(|| Duration::from_millis(tape.number()));
    match tape.below(16) {
        0 => Setback::Cut,
        1 => Setback::Unreachable(String::new()),
        2 => Setback::Stalled,
        3 => Setback::Tls(String::new()),
        4 => Setback::Page,
        5 => Setback::TooManyRedirects,
        6 => Setback::ForbiddenRedirect,
        7 => Setback::Expired,
        8 => Setback::Refused,
        9 => Setback::Gone,
        10 => Setback::Busy { status: 429, retry_after },
        11 => Setback::Failed { status: 500 },
        12 => Setback::Lied(Lie::Length),
        13 => Setback::RangeIgnored,
        14 => Setback::Addresses { retry_after, cause: String::new() },
        _ => Setback::Interrupted,
    }
}

/// Lanes: at least one, at most as many as allowed, whatever the line does.
pub fn lanes(story: &[u8]) {
    let mut tape = Tape(story);
    let most = usize::from(tape.byte() % 9);
    let mut lanes = Lanes::new(most);
    let (mut now, mut received) = (Duration::ZERO, 0_u64);
    while !tape.is_over() {
        now += Duration::from_millis(tape.number() % 100_000);
        let before = lanes.wanted();
        match tape.below(8) {
            0 => lanes.refused(now),
            1 => lanes.fewer(now),
            2 => lanes.stalled(),
            3 => lanes.restart(),
            _ => {
                received = received.saturating_add(tape.number());
                lanes.look(Sight {
                    now,
                    received,
                    live: usize::from(tape.byte() % 9),
                    remaining: tape.number(),
                    round_trip: tape.time(),
                    limited: tape.flag(),
                });
            }
        }
        assert!((1..=most.max(1)).contains(&lanes.wanted()), "{} of {most}", lanes.wanted());
        assert!(lanes.wanted() <= before + 1, "one at a time");
    }
}

/// Hosts: never more at once than there are places, every place is given once, and the more urgent goes first.
pub fn hosts(story: &[u8]) {
    let mut tape = Tape(story);
    let most = 1 + usize::from(tape.byte() % 8);
    let mut host = Host::new(most);
    let mut now = Duration::ZERO;
    let mut inside: BTreeMap<bool, usize> = BTreeMap::new();
    let mut waiting: BTreeMap<Ticket, (Way, Urgency)> = BTreeMap::new();
    while !tape.is_over() {
        now += tape.time() / 60;
        let way = if tape.flag() { Way::Own } else { Way::Shared };
        let urgency = match tape.below(3) {
            0 => Urgency::Playing,
            1 => Urgency::Asked,
            _ => Urgency::Refresh,
        };
        let places = inside.entry(way == Way::Own).or_default();
        match tape.below(8) {
            0 | 1 => {
                let entered = host.enter(way, urgency, now);
                let ahead = waiting.values().any(|(other, earlier)| *other == way && *earlier <= urgency);
                assert!(!(entered && ahead), "nobody goes past those who wait");
                *places += usize::from(entered);
            }
            2 => {
                let ticket = host.wait(way, urgency);
                assert!(waiting.insert(ticket, (way, urgency)).is_none(), "tickets are never given twice");
            }
            3 => {
                let ticket = waiting.keys().next().copied().unwrap_or(tape.number());
                assert_eq!(host.stop_waiting(ticket), waiting.remove(&ticket).is_some());
            }
            4 if *places > 0 => {
                host.leave(way);
                *places -= 1;
            }
            5 => host.busy(now.saturating_sub(tape.time()), tape.flag().then(|| tape.time()), now),
            6 => {
                if let Some((ticket, held)) = waiting.iter_mut().next() {
                    host.change_urgency(*ticket, urgency);
                    held.1 = urgency;
                }
            }
            _ => {
                if let Some(ticket) = host.admit(now) {
                    let Some((way, urgency)) = waiting.remove(&ticket) else { panic!("{ticket} doesn't wait") };
                    let before = |other: &(Way, Urgency)| other.0 == way && other.1 < urgency;
                    assert!(!waiting.values().any(before), "the more urgent goes first");
                    *inside.entry(way == Way::Own).or_default() += 1;
                }
            }
        }
        assert!(inside.get(&true).is_none_or(|own| *own <= most));
        assert!(inside.get(&false).is_none_or(|shared| *shared <= SHARED_AT_ONCE));
    }
    // However patient one has been asked to be: a minute later everybody gets in, one after the other.
    now += Duration::from_secs(3600);
    for way in [Way::Own, Way::Shared] {
        (0..inside.get(&(way == Way::Own)).copied().unwrap_or(0)).for_each(|_| host.leave(way));
    }
    while let Some(ticket) = host.admit(now) {
        let Some((way, _)) = waiting.remove(&ticket) else { panic!("{ticket} doesn't wait") };
        host.leave(way);
        now += host.opens_in(now).unwrap_or_default();
    }
    assert!(waiting.is_empty(), "nobody is forgotten: {waiting:?}");
}

/// Rates: never more than flowed in, and whoever waits as told gets something.
pub fn rate(story: &[u8]) {
    let mut tape = Tape(story);
    let mut bucket = Bucket::default();
    let mut now = Duration::ZERO;
    let limit = 1 + tape.number() % (1 << 40);
    bucket.set(Some(limit), now);
    #[expect(clippy::cast_precision_loss, reason = "a bound, with room")]
    let float = |bytes: u64| bytes as f64;
    let mut given = 0_u64;
    while !tape.is_over() {
        now += Duration::from_millis(tape.number() % 10_000);
        let wanted = 1 + tape.number() % (1 << 30);
        match bucket.take(wanted, now) {
            Ok(bytes) => {
                assert!((1..=wanted).contains(&bytes), "{bytes} of {wanted}");
                given = given.saturating_add(bytes);
                if tape.flag() {
                    let unused = tape.number() % (bytes + 1);
                    bucket.give_back(unused);
                    given -= unused;
                }
            }
            Err(wait) => {
                now += wait + Duration::from_millis(1);
                assert!(bucket.take(1, now).is_ok_and(|bytes| bytes == 1), "waiting {wait:?} was enough");
                given += 1;
            }
        }
        let allowed = float(limit).mul_add(now.as_secs_f64() + 0.26, 2.0);
        assert!(float(given) <= allowed, "{given} at {limit} bytes per second in {now:?}");
    }
}

/// Stalls: a connection that brings enough in every quarter is never given up, one that brings nothing is.
pub fn stall(story: &[u8]) {
    let mut tape = Tape(story);
    let window = Duration::from_millis(4 + tape.number() % 100_000);
    let least = tape.number() % (1 << 32);
    let mut stall = Stall::new(window, least, Duration::ZERO);
    let (mut now, mut since) = (Duration::ZERO, 0_u64);
    while !tape.is_over() {
        match tape.below(4) {
            0 => stall.excuse(tape.time()),
            1 | 2 => {
                // More than a terabyte at once doesn't happen.
                let bytes = tape.number() % (1 << 40);
                stall.arrived(bytes);
                since = since.saturating_add(bytes);
            }
            _ => {
                // Looked at when it asks to be, as the driver does.
                now = now.max(stall.next());
                let stalled = stall.look(now);
                assert!(!(stalled && since >= least.max(1)), "{since} bytes came since it was looked at last");
                if stalled {
                    return;
                }
                since = 0;
            }
        }
    }
    let mut looks = 0;
    while !stall.look(stall.next()) {
        looks += 1;
        assert!(looks <= 8, "silence is noticed");
    }
}

/// A journal's bitmap: read only when it fits, and then the same as was written.
pub fn piece_set(story: &[u8]) {
    let mut tape = Tape(story);
    let pieces = if tape.flag() { tape.number() } else { tape.below(200) };
    let bytes = tape.bytes();
    let Some(set) = PieceSet::from_bytes(pieces, bytes) else { return };
    assert_eq!(set.to_bytes(), bytes);
    assert_eq!(set.iter().count() as u64, set.len());
    assert_eq!(set.is_full(), set.next_missing(0).is_none());
    assert!(set.iter().all(|piece| piece < pieces && set.contains(piece)));
}

/// An answer of any bytes over HTTP/1.1: framed the same however it arrives, and never longer than what came.
pub fn answer(story: &[u8]) {
    crate::client::fuzzing::answer(story);
}

/// A redirect leads where it may, or nowhere.
pub fn redirect(story: &[u8]) {
    crate::client::fuzzing::redirect(story);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    /// Each target's stories of `fuzz/regressions/<target>`, which once broke a rule.
    fn told_before(target: &str, rule: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/regressions").join(target);
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            rule(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }

    macro_rules! targets {
        ($($target:ident),* $(,)?) => {$(
            mod $target {
                use super::*;

                #[test]
                fn holds_for_every_story_that_broke_it_once() {
                    told_before(stringify!($target), crate::fuzzing::$target);
                }

                proptest! {
                    #[test]
                    fn holds_for_random_stories(story in prop::collection::vec(any::<u8>(), 0..400)) {
                        crate::fuzzing::$target(&story);
                    }
                }
            }
        )*};
    }

    targets!(planner, validator, patience, lanes, hosts, rate, stall, piece_set, answer, redirect);
}
