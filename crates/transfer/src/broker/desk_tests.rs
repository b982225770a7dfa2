use std::{cell::Cell, rc::Rc};

use proptest::prelude::*;
use url::Url;

use super::*;

/// Somebody with a number.
#[derive(Debug, Clone)]
struct Asker {
    number: usize,
    gone: Rc<Cell<bool>>,
}

impl Waiter for Asker {
    fn has_gone(&self) -> bool {
        self.gone.get()
    }
}

fn asker(number: usize) -> Asker {
    Asker { number, gone: Rc::default() }
}

const SERVER: TimeMs = TimeMs::from_ms(1_777_593_600_000);

fn at(ms: u64) -> Moment {
    // This device is a day ahead: nothing may depend on it.
    Moment { wall: SERVER.plus_ms(86_400_000 + i64::try_from(ms).unwrap()), steady: Duration::from_millis(ms) }
}

fn blob(number: usize) -> BlobHash {
    BlobHash::of(&number.to_le_bytes())
}

fn address(blob: BlobHash, serial: u64, expires_at: Option<TimeMs>) -> Source {
    Source { expires_at, ..Source::new(Url::parse(&format!("https://s.test/{blob}?s={serial}")).unwrap()) }
}

fn first(desk: &mut Desk<Asker>, number: usize, now: Moment) -> Option<Answer> {
    ask(desk, number, ResolveReason::First, None, now)
}

fn ask(
    desk: &mut Desk<Asker>,
    number: usize,
    reason: ResolveReason,
    had: Option<&[Source]>,
    now: Moment,
) -> Option<Answer> {
    let known = desk.known(blob(number), reason, had, now);
    if known.is_none() {
        desk.wait(blob(number), reason, asker(number));
    }
    known
}

fn sent(desk: &mut Desk<Asker>, now: Moment) -> Vec<BlobHash> {
    match desk.next(now) {
        Next::Sign(blobs, _) => blobs,
        other => panic!("a request is due, not {other:?}"),
    }
}

/// An address for each, good for `life_ms` from the service's `now`.
fn signed(blobs: &[BlobHash], serial: u64, now: u64, life_ms: i64) -> Result<Signed, SourceError> {
    let server_now = SERVER.plus_ms(i64::try_from(now).unwrap());
    let urls = blobs.iter().map(|blob| (*blob, address(*blob, serial, Some(server_now.plus_ms(life_ms))))).collect();
    Ok(Signed { urls, server_now: Some(server_now), ..Signed::default() })
}

fn serial(answer: &Answer) -> String {
    answer.as_ref().unwrap()[0].url.query().unwrap().to_owned()
}

fn busy(seconds: Option<u64>) -> Result<Signed, SourceError> {
    Err(SourceError::Unavailable { retry_after: seconds.map(Duration::from_secs), cause: "busy".to_owned() })
}

#[test]
fn who_comes_while_a_request_runs_goes_into_the_next() {
    let mut desk = Desk::default();
    for number in [0, 1, 0] {
        assert!(first(&mut desk, number, at(0)).is_none(), "nothing is known yet");
    }
    let one = sent(&mut desk, at(0));
    assert_eq!(one, [blob(0), blob(1)], "both in one request, no blob twice");
    assert!(first(&mut desk, 1, at(1)).is_none(), "1 is in flight");
    assert!(first(&mut desk, 2, at(1)).is_none(), "2 is not");
    assert_eq!(desk.next(at(1)), Next::Idle, "one request at a time");
    let replies = desk.answered(signed(&one, 1, 1, 60_000), at(2));
    assert_eq!(replies.iter().map(|(to, _)| to.number).collect::<Vec<_>>(), [0, 0, 1, 1], "all who waited for 0 and 1");
    assert_eq!(sent(&mut desk, at(2)), [blob(2)], "2 goes into the next");
}

#[test]
fn requests_have_at_most_200_blobs_and_nobody_is_left_out() {
    let mut desk = Desk::default();
    for number in 0..450 {
        first(&mut desk, number, at(0));
    }
    let mut answered = 0;
    for expected in [200, 200, 50] {
        let blobs = sent(&mut desk, at(0));
        assert_eq!(blobs.len(), expected, "full requests as long as there are enough");
        answered += desk.answered(signed(&blobs, 1, 0, 60_000), at(0)).len();
    }
    assert_eq!((answered, desk.next(at(0))), (450, Next::Idle), "everybody has been answered");
}

#[test]
fn addresses_are_used_until_shortly_before_their_end_by_the_services_clock() {
    for (life, used, renewed) in [(2_000, 1_899, 1_900), (60_000, 56_999, 57_000), (900_000, 874_999, 875_000)] {
        let mut desk = Desk::default();
        first(&mut desk, 0, at(0));
        let blobs = sent(&mut desk, at(0));
        let replies = desk.answered(signed(&blobs, 1, 0, life), at(0));
        let told = replies[0].1.as_ref().unwrap()[0].expires_at;
        assert_eq!(told, Some(at(renewed).wall), "told by this device's clock, although it is a day ahead");
        assert!(first(&mut desk, 0, at(used)).is_some(), "{life} ms: still good after {used}");
        assert!(first(&mut desk, 0, at(renewed)).is_none(), "{life} ms: renewed after {renewed}");
    }
}

#[test]
fn a_jump_of_the_devices_clock_costs_one_renewal_at_most() {
    for (jump, expected) in [(365 * 86_400_000_i64, false), (-365 * 86_400_000, true)] {
        let mut desk = Desk::default();
        first(&mut desk, 0, at(0));
        let blobs = sent(&mut desk, at(0));
        let _ = desk.answered(signed(&blobs, 1, 0, 900_000), at(0));
        let jumped = |ms| Moment { wall: at(ms).wall.plus_ms(jump), ..at(ms) };
        assert_eq!(
            first(&mut desk, 0, jumped(1_000)).is_some(),
            expected,
            "forward may have been sleep; back means nothing"
        );
        if !expected {
            let blobs = sent(&mut desk, jumped(1_000));
            let _ = desk.answered(signed(&blobs, 2, 1_000, 900_000), jumped(1_000));
        }
        assert!(first(&mut desk, 0, jumped(800_000)).is_some(), "afterwards the life counts from the new time");
        assert!(first(&mut desk, 0, jumped(900_000)).is_none(), "and ends");
    }
}

#[test]
fn an_hour_asleep_ends_addresses_although_the_steady_clock_stood_still() {
    let mut desk = Desk::default();
    first(&mut desk, 0, at(0));
    let blobs = sent(&mut desk, at(0));
    let _ = desk.answered(signed(&blobs, 1, 0, 900_000), at(0));
    let woken = Moment { wall: at(3_600_000).wall, steady: Duration::from_secs(1) };
    assert!(first(&mut desk, 0, woken).is_none(), "it is over");
}

#[test]
fn an_end_that_is_over_when_it_comes_says_nothing() {
    let mut desk = Desk::default();
    first(&mut desk, 0, at(0));
    let blobs = sent(&mut desk, at(0));
    let replies = desk.answered(signed(&blobs, 1, 0, -5_000), at(0));
    assert_eq!(replies[0].1.as_ref().unwrap()[0].expires_at, None, "it is tried until it is refused");
    assert!(first(&mut desk, 0, at(9_000_000)).is_some(), "and not asked for again before");
}

#[test]
fn one_renewal_per_end_however_many_notice_it() {
    let mut desk = Desk::default();
    let mut had = Vec::new();
    for number in 0..100 {
        first(&mut desk, number, at(0));
    }
    let blobs = sent(&mut desk, at(0));
    for (to, answer) in desk.answered(signed(&blobs, 1, 0, 2_000), at(0)) {
        had.push((to.number, answer.unwrap()));
    }
    assert!(ask(&mut desk, 3, ResolveReason::Expired, Some(&had[3].1), at(1_950)).is_none(), "the first to notice");
    let blobs = sent(&mut desk, at(1_950));
    assert_eq!(blobs.len(), 100, "all that end with it ride along");
    assert!(
        ask(&mut desk, 7, ResolveReason::Refused, Some(&had[7].1), at(1_960)).is_none(),
        "waits for the same answer"
    );
    assert_eq!(desk.answered(signed(&blobs, 2, 1_970, 2_000), at(1_970)).len(), 2, "both get it");
    for (number, had) in had.iter().filter(|(number, _)| ![3, 7].contains(number)) {
        let answer = if number % 2 == 0 {
            ask(&mut desk, *number, ResolveReason::Expired, Some(had), at(2_000))
        } else {
            ask(&mut desk, *number, ResolveReason::Expired, None, at(2_000))
        };
        assert_eq!(serial(&answer.expect("no request")), "s=2", "complains of what has been replaced already");
    }
    assert_eq!(desk.next(at(2_000)), Next::Idle, "one renewal");
}

#[test]
fn a_refused_address_is_given_to_nobody_else() {
    let mut desk = Desk::default();
    first(&mut desk, 0, at(0));
    let blobs = sent(&mut desk, at(0));
    let had = desk.answered(signed(&blobs, 1, 0, 900_000), at(0)).remove(0).1.unwrap();
    assert!(ask(&mut desk, 0, ResolveReason::Refused, Some(&had), at(10)).is_none(), "refused: asked for anew");
    assert!(first(&mut desk, 0, at(11)).is_none(), "and the next one waits as well");
    assert_eq!(desk.next(at(11)), Next::Sign(vec![blob(0)], ResolveReason::Refused), "once, with the gravest reason");
}

#[test]
fn asked_to_wait_everybody_waits_and_nobody_asks_before() {
    let mut desk = Desk::default();
    first(&mut desk, 0, at(0));
    sent(&mut desk, at(0));
    first(&mut desk, 1, at(1));
    let replies = desk.answered(busy(Some(60)), at(5));
    assert_eq!(replies.len(), 2, "who queued is told as well");
    let later = first(&mut desk, 2, at(10_005)).expect("told at once");
    assert!(
        matches!(later, Err(SourceError::Unavailable { retry_after: Some(left), .. }) if left == Duration::from_secs(50)),
        "what is left of the wait: {later:?}"
    );
    assert_eq!(desk.next(at(10_005)), Next::Idle, "no request");
    assert!(first(&mut desk, 2, at(60_005)).is_none(), "the wait is over");
    assert_eq!(sent(&mut desk, at(60_005)), [blob(2)], "asked again");
    let _ = desk.answered(busy(Some(1 << 40)), at(60_006));
    assert!(first(&mut desk, 2, at(60_006 + 15 * 60_000)).is_none(), "at most 15 minutes are believed");
}

#[test]
fn a_failing_service_is_asked_ever_more_rarely_but_back_within_seconds() {
    let mut desk = Desk::default();
    let (mut now, mut waits) = (0, Vec::new());
    for _ in 0..6 {
        first(&mut desk, 0, at(now));
        let mut next = desk.next(at(now));
        if let Next::Wait(wait) = next {
            waits.push(wait.as_millis());
            now += u64::try_from(wait.as_millis()).unwrap();
            next = desk.next(at(now));
        }
        assert!(matches!(next, Next::Sign(..)), "then it is asked: {next:?}");
        assert_eq!(desk.answered(busy(None), at(now)).len(), 1, "the error is told");
    }
    assert_eq!(waits, [250, 500, 1_000, 2_000, 2_000], "all fetches together");
}

#[test]
fn an_address_in_its_last_moments_is_better_than_an_error() {
    let mut desk = Desk::default();
    first(&mut desk, 0, at(0));
    let blobs = sent(&mut desk, at(0));
    let _ = desk.answered(signed(&blobs, 1, 0, 900_000), at(0));
    assert!(first(&mut desk, 0, at(880_000)).is_none(), "within the margin");
    sent(&mut desk, at(880_000));
    let replies = desk.answered(busy(Some(60)), at(881_000));
    assert_eq!(serial(&replies[0].1), "s=1", "the old one still works");
    assert!(first(&mut desk, 0, at(901_000)).unwrap().is_err(), "now it doesn't");
}

#[test]
fn what_is_wanted_soon_rides_along_and_harms_nobody() {
    let mut desk = Desk::default();
    (1..=300).for_each(|number| desk.want(blob(number)));
    assert_eq!(desk.next(at(0)), Next::Idle, "wishes alone make no request");
    first(&mut desk, 0, at(0));
    let blobs = sent(&mut desk, at(0));
    assert_eq!(
        (blobs.len(), blobs[0], blobs[199]),
        (200, blob(0), blob(199)),
        "who waits first, then in the order wished"
    );
    assert!(desk.answered(Err(SourceError::Gone), at(1)).is_empty(), "perhaps it was a rider that is gone");
    assert_eq!(sent(&mut desk, at(1)), [blob(0)], "alone");
    let replies = desk.answered(signed(&[blob(0)], 1, 1, 60_000), at(2));
    assert_eq!(serial(&replies[0].1), "s=1", "who waited has his address");
    first(&mut desk, 400, at(2));
    assert_eq!(sent(&mut desk, at(2)).len(), 102, "the other wishes are still there, the doubtful ones not");
}

#[test]
fn errors_are_told_one_by_one_or_for_all() {
    let mut desk = Desk::default();
    (0..3).for_each(|number| drop(first(&mut desk, number, at(0))));
    sent(&mut desk, at(0));
    let mut answer = signed(&[blob(0)], 1, 0, 60_000).unwrap();
    answer.refused.push((blob(1), SourceError::NotAuthorised));
    let replies = desk.answered(Ok(answer), at(0));
    assert!(replies[0].1.is_ok(), "0 has an address");
    assert!(matches!(replies[1].1, Err(SourceError::NotAuthorised)), "1 is refused");
    assert!(matches!(replies[2].1, Err(SourceError::Gone)), "2 isn't mentioned");
    (1..3).for_each(|number| drop(first(&mut desk, number, at(1))));
    sent(&mut desk, at(1));
    let replies = desk.answered(Err(SourceError::NotAuthorised), at(1));
    assert_eq!(replies.len(), 2, "for all");
}

#[test]
fn whoever_has_gone_is_not_asked_for() {
    let mut desk = Desk::default();
    let leaving = asker(0);
    desk.wait(blob(0), ResolveReason::First, leaving.clone());
    first(&mut desk, 1, at(0));
    leaving.gone.set(true);
    assert_eq!(sent(&mut desk, at(0)), [blob(1)], "only who still waits");
    assert!(desk.answered(signed(&[blob(1)], 1, 0, 1_000), at(0)).len() == 1, "and he is answered");
    assert!(desk.waiting.is_empty(), "nothing stays behind");
}

#[test]
fn several_addresses_keep_their_order_and_one_without_end_has_none() {
    let mut desk = Desk::default();
    first(&mut desk, 0, at(0));
    let blobs = sent(&mut desk, at(0));
    let mut answer = signed(&blobs, 1, 0, 60_000).unwrap();
    answer.urls.push((blob(0), address(blob(0), 9, None)));
    let sources = desk.answered(Ok(answer), at(0)).remove(0).1.unwrap();
    assert_eq!(
        sources.iter().map(|s| s.url.query().unwrap()).collect::<Vec<_>>(),
        ["s=1", "s=9"],
        "service, then mirror"
    );
    assert_eq!(sources[1].expires_at, None, "the mirror's never ends");
}

#[test]
fn a_kept_address_needs_no_request_and_answers_who_waits() {
    let mut desk = Desk::default();
    first(&mut desk, 0, at(0));
    let kept = address(blob(0), 5, Some(SERVER.plus_ms(60_000)));
    let replies = desk.keep(blob(0), kept, Some(SERVER), at(0));
    assert_eq!(serial(&replies[0].1), "s=5", "who waited has it");
    assert_eq!(desk.next(at(0)), Next::Idle, "and needn't be asked for");
    assert_eq!(serial(&first(&mut desk, 0, at(1_000)).unwrap()), "s=5", "nor later");
    desk.forget(blob(0));
    assert!(first(&mut desk, 0, at(2_000)).is_none(), "forgotten");
}

#[test]
fn memory_is_bounded_and_what_is_in_use_stays_longest() {
    let mut desk: Desk<Asker> = Desk::default();
    first(&mut desk, 0, at(0));
    let blobs = sent(&mut desk, at(0));
    let _ = desk.answered(signed(&blobs, 1, 0, 900_000), at(0));
    for number in 1..20_000 {
        let _ = desk.keep(blob(number), address(blob(number), 1, Some(SERVER.plus_ms(900_000))), Some(SERVER), at(1));
        desk.want(blob(number));
    }
    assert!(desk.held.len() <= MOST_HELD, "{} held", desk.held.len());
    assert!(desk.wished.len() <= MOST_WISHED, "{} wished", desk.wished.len());
    assert!(first(&mut desk, 0, at(1)).is_some(), "the one in use is among them");
    for number in 0..MOST_HELD {
        let late = Some(SERVER.plus_ms(9_900_000));
        let _ = desk.keep(
            blob(number + 30_000),
            address(blob(number), 1, late),
            Some(SERVER.plus_ms(9_000_000)),
            at(9_000_000),
        );
    }
    assert!(!desk.held.contains_key(&blob(0)), "what is over is forgotten");
}

#[derive(Debug, Clone)]
enum Step {
    Ask(usize, ResolveReason),
    Renew(usize, ResolveReason),
    Leave(usize),
    Go,
    Answer(Outcome),
    Keep(usize),
    Want(usize),
    Forget(usize),
    Pass(u64),
    Jump(i64),
}

#[derive(Debug, Clone)]
enum Outcome {
    All(i64),
    Half(i64),
    Busy(Option<u64>),
    Gone,
    Failed,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use ResolveReason::{Expired, First, Gone, Lied, Refused};
    let reason = || prop::sample::select(vec![First, Expired, Gone, Lied, Refused]);
    let life = || prop::sample::select(vec![-5_000, 0, 1, 2_000, 900_000]);
    let outcome = prop_oneof![
        4 => life().prop_map(Outcome::All),
        2 => life().prop_map(Outcome::Half),
        1 => prop::option::of(0_u64..4_000).prop_map(Outcome::Busy),
        1 => Just(Outcome::Gone),
        1 => Just(Outcome::Failed),
    ];
    let number = || 0_usize..12;
    let step = prop_oneof![
        6 => (number(), reason()).prop_map(|(number, reason)| Step::Ask(number, reason)),
        6 => (number(), reason()).prop_map(|(number, reason)| Step::Renew(number, reason)),
        1 => (0_usize..64).prop_map(Step::Leave),
        6 => Just(Step::Go),
        6 => outcome.prop_map(Step::Answer),
        1 => number().prop_map(Step::Keep),
        2 => number().prop_map(Step::Want),
        1 => number().prop_map(Step::Forget),
        4 => (0_u64..3_000).prop_map(Step::Pass),
        1 => prop::sample::select(vec![-100_000_000_000, -1, 1, 100_000_000_000]).prop_map(Step::Jump),
    ];
    prop::collection::vec(step, 0..200)
}

/// Plays steps and holds the desk to its promises.
#[derive(Default)]
struct Play {
    desk: Desk<Asker>,
    ms: u64,
    jumped: i64,
    serial: u64,
    asked: Vec<Asker>,
    answers: Vec<usize>,
    last: HashMap<usize, Vec<Source>>,
    in_flight: Option<Vec<BlobHash>>,
    not_before: u64,
}

impl Play {
    fn now(&self) -> Moment {
        Moment { wall: at(self.ms).wall.plus_ms(self.jumped), ..at(self.ms) }
    }

    fn ask(&mut self, number: usize, reason: ResolveReason, renew: bool) {
        let now = self.now();
        let had = self.last.get(&number).filter(|_| renew).cloned();
        match self.desk.known(blob(number), reason, had.as_deref(), now) {
            Some(Ok(sources)) => {
                if let (Some(had), true) = (had, reason != ResolveReason::First) {
                    assert_ne!(had[0].url, sources[0].url, "what was complained of isn't given again");
                }
                self.last.insert(number, sources);
            }
            Some(Err(error)) => assert!(matches!(error, SourceError::Unavailable { .. }), "only patience: {error}"),
            None => {
                let asker = Asker { number, gone: Rc::default() };
                self.asked.push(asker.clone());
                self.answers.push(0);
                let index = Asker { number: self.asked.len() - 1, ..asker };
                self.desk.wait(blob(number), reason, index);
            }
        }
    }

    fn go(&mut self) {
        let Next::Sign(blobs, _) = self.desk.next(self.now()) else { return };
        assert!(self.in_flight.is_none(), "never two requests at once");
        assert!(self.ms >= self.not_before, "not before the service wants to be asked again");
        let distinct: HashSet<_> = blobs.iter().collect();
        assert_eq!(distinct.len(), blobs.len(), "no blob twice in a request");
        assert!((1..=MOST_PER_SIGN).contains(&blobs.len()), "{} blobs", blobs.len());
        let waited_for = |hash: &BlobHash| {
            self.asked.iter().zip(&self.answers).any(|(a, n)| *n == 0 && !a.gone.get() && blob(a.number) == *hash)
        };
        assert!(blobs.iter().any(waited_for), "somebody waits for it");
        self.in_flight = Some(blobs);
    }

    fn answer(&mut self, outcome: &Outcome) {
        let Some(blobs) = self.in_flight.take() else { return };
        self.serial += 1;
        let answer = match outcome {
            Outcome::All(life) => signed(&blobs, self.serial, self.ms, *life),
            Outcome::Half(life) => signed(&blobs[..blobs.len() / 2], self.serial, self.ms, *life),
            Outcome::Busy(wait) => {
                self.not_before = self.ms + wait.unwrap_or(0);
                Err(SourceError::Unavailable { retry_after: wait.map(Duration::from_millis), cause: String::new() })
            }
            Outcome::Gone => Err(SourceError::Gone),
            Outcome::Failed => Err(SourceError::Failed(String::new())),
        };
        let replies = self.desk.answered(answer, self.now());
        self.deliver(replies);
    }

    fn deliver(&mut self, replies: Vec<(Asker, Answer)>) {
        for (to, answer) in replies {
            self.answers[to.number] += 1;
            assert_eq!(self.answers[to.number], 1, "one answer each");
            if let Ok(sources) = answer {
                let number = self.asked[to.number].number;
                assert!(sources[0].url.path().contains(&blob(number).to_string()), "his own blob's");
                self.last.insert(number, sources);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 512 }))]
    #[test]
    fn whatever_happens_everybody_gets_one_answer_and_nothing_is_asked_twice(steps in steps()) {
        let mut play = Play::default();
        for step in steps {
            match step {
                Step::Ask(number, reason) => play.ask(number, reason, false),
                Step::Renew(number, reason) => play.ask(number, reason, true),
                Step::Leave(index) => if let Some(asker) = play.asked.get(index) { asker.gone.set(true) },
                Step::Go => play.go(),
                Step::Answer(outcome) => play.answer(&outcome),
                Step::Keep(number) => {
                    play.serial += 1;
                    let kept = address(blob(number), play.serial, None);
                    let now = play.now();
                    let replies = play.desk.keep(blob(number), kept, None, now);
                    play.deliver(replies);
                }
                Step::Want(number) => play.desk.want(blob(number)),
                Step::Forget(number) => play.desk.forget(blob(number)),
                Step::Pass(ms) => play.ms += ms,
                Step::Jump(ms) => play.jumped += ms,
            }
        }
        // The service is well again: now everybody who still waits is served.
        for _ in 0..40 {
            play.answer(&Outcome::All(900_000));
            play.ms += 4_000;
            play.go();
        }
        for (asker, answers) in play.asked.iter().zip(&play.answers) {
            prop_assert!(asker.gone.get() || *answers == 1, "everybody has an answer");
        }
        prop_assert!(play.desk.waiting.is_empty() && play.desk.queue.is_empty(), "nothing stays behind");
    }
}
