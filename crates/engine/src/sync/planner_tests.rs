//! The table of protocol.md, row by row, and that no order of events makes the planner stick.

use proptest::prelude::*;

use super::*;

/// A planner that is online and idle, at time 0.
fn idle() -> Planner {
    let mut planner = Planner::default();
    assert_eq!(
        planner.step(Event::Network(NetworkState::Online), 0, 0.5),
        [Effect::Push { limit: 500 }],
        "back online"
    );
    finish(&mut planner, 0);
    planner
}

fn finish(planner: &mut Planner, now: i64) -> Vec<Effect> {
    planner.step(Event::Pushed(Pushed::Nothing { next_in_ms: None }), now, 0.5);
    let page = Page { has_more: false, enrolments_changed: false };
    let effects = planner.step(Event::PulledRecords(Ok(page)), now, 0.5);
    if effects == [Effect::PullUnits] { planner.step(Event::PulledUnits(Ok(())), now, 0.5) } else { effects }
}

fn not_now(status_failed: bool, retry_after_ms: Option<i64>) -> Failure {
    Failure::NotNow { code: ErrorCode::ServiceFailed, failed: status_failed, retry_after_ms }
}

#[test]
fn each_trigger_alone_begins_a_run() {
    let push = [Effect::Push { limit: 500 }];
    let mut planner = idle();
    assert_eq!(planner.step(Event::Started, 10, 0.5), push, "starting, signing in");
    let mut planner = idle();
    assert_eq!(planner.step(Event::SyncNow, 10, 0.5), push, "asking");
    let mut planner = idle();
    planner.step(Event::Network(NetworkState::Offline), 10, 0.5);
    assert_eq!(planner.step(Event::Network(NetworkState::Online), 20, 0.5), push, "coming back online");
    let mut planner = idle();
    assert_eq!(planner.step(Event::Written, 10, 0.5), []);
    assert_eq!(planner.step(Event::Tick, 10 + DEBOUNCE_MS, 0.5), push, "a write");
    let mut planner = idle();
    assert_eq!(planner.step(Event::Tick, PERIOD_MS - 1, 0.5), [], "it rests");
    assert_eq!(planner.step(Event::Tick, PERIOD_MS, 0.5), push, "time");
}

#[test]
fn a_write_is_sent_a_second_later_together_with_those_that_follow() {
    let mut planner = idle();
    assert_eq!(planner.step(Event::Written, 10_000, 0.5), [], "it waits for more");
    assert_eq!(planner.step(Event::Written, 10_900, 0.5), [], "the first one sets the time");
    assert_eq!(planner.wakes_at(), Some(11_000));
    assert_eq!(planner.step(Event::Tick, 11_000, 0.5), [Effect::Push { limit: 500 }]);
}

#[test]
fn pushes_until_nothing_is_left_then_pulls() {
    let mut planner = idle();
    assert_eq!(planner.step(Event::SyncNow, 1, 0.5), [Effect::Push { limit: 500 }]);
    assert_eq!(planner.step(Event::Pushed(Pushed::Judged), 2, 0.5), [Effect::Push { limit: 500 }]);
    let nothing = Event::Pushed(Pushed::Nothing { next_in_ms: None });
    assert_eq!(planner.step(nothing, 3, 0.5), [Effect::PullRecords]);
    let more = Page { has_more: true, enrolments_changed: false };
    assert_eq!(planner.step(Event::PulledRecords(Ok(more)), 4, 0.5), [Effect::PullRecords]);
    let last = Page { has_more: false, enrolments_changed: false };
    assert_eq!(planner.step(Event::PulledRecords(Ok(last)), 5, 0.5), [Effect::PullUnits]);
    assert_eq!(planner.step(Event::PulledUnits(Ok(())), 6, 0.5), [Effect::Succeeded]);
    assert_eq!(planner.wakes_at(), Some(6 + PERIOD_MS), "and again in five minutes");
}

#[test]
fn one_run_at_a_time_and_a_write_in_the_middle_is_not_forgotten() {
    let mut planner = idle();
    planner.step(Event::SyncNow, 0, 0.5);
    assert_eq!(planner.step(Event::SyncNow, 1, 0.5), [], "one is under way");
    assert_eq!(planner.step(Event::Written, 2, 0.5), []);
    assert_eq!(finish(&mut planner, 3), [Effect::Succeeded]);
    assert_eq!(planner.wakes_at(), Some(3 + DEBOUNCE_MS), "the write in the middle gets its run");
}

#[test]
fn offline_nothing_is_tried() {
    let mut planner = idle();
    planner.step(Event::Network(NetworkState::Offline), 1, 0.5);
    for event in [Event::Written, Event::SyncNow, Event::Tick, Event::Started] {
        assert_eq!(planner.step(event.clone(), 1_000_000, 0.5), [], "{event:?}");
    }
    assert_eq!(planner.wakes_at(), None, "time alone changes nothing");
    let back = planner.step(Event::Network(NetworkState::Online), 2_000_000, 0.5);
    assert_eq!(back, [Effect::Push { limit: 500 }], "the network does");
}

#[test]
fn failures_rest_longer_and_longer_up_to_five_minutes_and_a_new_network_ends_the_rest() {
    let mut planner = idle();
    let mut now = 0;
    let mut rests = Vec::new();
    planner.step(Event::SyncNow, now, 1.0);
    for _ in 0..12 {
        let failure = Failure::Unreachable(ErrorCode::ServiceUnreachable);
        planner.step(Event::Pushed(Pushed::Failed { ops: 1, failure }), now, 1.0);
        let at = planner.wakes_at().unwrap();
        rests.push(at - now);
        now = at;
        assert_eq!(planner.step(Event::Tick, now, 1.0), [Effect::Push { limit: 500 }]);
    }
    assert!(rests.is_sorted(), "{rests:?}");
    assert_eq!((rests[0], rests[11]), (2_000, BACKOFF_CAP_MS));
    let failure = Failure::Unreachable(ErrorCode::ServiceUnreachable);
    planner.step(Event::Pushed(Pushed::Failed { ops: 1, failure }), now, 1.0);
    planner.step(Event::Network(NetworkState::Limited), now, 1.0);
    assert_eq!(planner.step(Event::Network(NetworkState::Online), now + 1, 1.0), [Effect::Push { limit: 500 }]);
}

#[test]
fn retry_after_is_the_floor_of_the_rest() {
    let mut planner = idle();
    planner.step(Event::SyncNow, 0, 0.0);
    planner.step(Event::Pushed(Pushed::Failed { ops: 1, failure: not_now(false, Some(90_000)) }), 0, 0.0);
    assert_eq!(planner.wakes_at(), Some(90_000));
    assert_eq!(planner.step(Event::Written, 10, 0.0), [], "a write does not break it");
    assert_eq!(planner.wakes_at(), Some(90_000));
}

#[test]
fn a_batch_that_is_too_large_is_halved_at_once() {
    let mut planner = idle();
    planner.step(Event::SyncNow, 0, 0.5);
    let too_large = |ops| Event::Pushed(Pushed::Failed { ops, failure: Failure::TooLarge });
    assert_eq!(planner.step(too_large(500), 1, 0.5), [Effect::Push { limit: 250 }]);
    assert_eq!(planner.step(too_large(250), 2, 0.5), [Effect::Push { limit: 125 }]);
    let alone = planner.step(too_large(1), 3, 0.5);
    assert!(matches!(alone[..], [Effect::HoldBack { .. }, Effect::Push { .. }]), "{alone:?}");
}

#[test]
fn a_poison_op_is_isolated_and_the_others_go_through() {
    // The service fails on any batch that holds op 77 of 100; the driver is played here.
    let mut planner = idle();
    let mut waiting: Vec<u32> = (0..100).collect();
    let mut held = Vec::new();
    let mut now = 0;
    let mut effects = planner.step(Event::SyncNow, now, 0.5);
    for _ in 0..1_000 {
        let Some(effect) = effects.pop() else {
            now = planner.wakes_at().unwrap();
            effects = planner.step(Event::Tick, now, 0.5);
            continue;
        };
        match effect {
            Effect::HoldBack { .. } => held.push(waiting.remove(0)),
            Effect::Push { limit } if waiting.is_empty() => {
                assert!(limit > 0);
                break;
            }
            Effect::Push { limit } => {
                let batch: Vec<u32> = waiting.iter().copied().take(limit).collect();
                let ended = if batch.contains(&77) {
                    Pushed::Failed { ops: batch.len(), failure: not_now(true, None) }
                } else {
                    waiting.drain(..batch.len());
                    Pushed::Judged
                };
                effects = planner.step(Event::Pushed(ended), now, 0.5);
                effects.reverse();
            }
            _ => {}
        }
    }
    assert_eq!(held, [77], "only the poison op waits");
    assert!(waiting.is_empty(), "everything else went through: {waiting:?}");
}

#[test]
fn an_ended_session_stops_everything_until_somebody_signs_in() {
    let mut planner = idle();
    planner.step(Event::SyncNow, 0, 0.5);
    let failure = Failure::Stop(ErrorCode::SignInNeeded);
    let effects = planner.step(Event::Pushed(Pushed::Failed { ops: 3, failure }), 1, 0.5);
    assert_eq!(effects, [Effect::Failed { code: ErrorCode::SignInNeeded }]);
    assert_eq!(planner.step(Event::Written, 2, 0.5), []);
    assert_eq!(planner.wakes_at(), None);
    assert_eq!(planner.step(Event::Started, 3, 0.5), [Effect::Push { limit: 500 }]);
}

#[test]
fn an_expired_cursor_pulls_everything_anew_once() {
    let mut planner = idle();
    planner.step(Event::SyncNow, 0, 0.5);
    planner.step(Event::Pushed(Pushed::Nothing { next_in_ms: None }), 1, 0.5);
    let expired = || Event::PulledRecords(Err(Failure::CursorExpired));
    assert_eq!(planner.step(expired(), 2, 0.5), [Effect::StartRecordsOver, Effect::PullRecords]);
    let again = planner.step(expired(), 3, 0.5);
    assert_eq!(again, [Effect::Failed { code: ErrorCode::CursorExpired }], "not for ever");
}

#[test]
fn an_op_that_was_told_to_wait_gets_its_run_when_its_time_comes() {
    let mut planner = idle();
    planner.step(Event::SyncNow, 0, 0.5);
    planner.step(Event::Pushed(Pushed::Nothing { next_in_ms: Some(20_000) }), 0, 0.5);
    planner.step(Event::PulledRecords(Ok(Page { has_more: false, enrolments_changed: false })), 0, 0.5);
    planner.step(Event::PulledUnits(Ok(())), 0, 0.5);
    assert_eq!(planner.wakes_at(), Some(20_000));
}

fn any_failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        Just(Failure::Unreachable(ErrorCode::NotAService)),
        (any::<bool>(), proptest::option::of(0..900_000_i64)).prop_map(|(failed, after)| not_now(failed, after)),
        Just(Failure::TooLarge),
        Just(Failure::CursorExpired),
    ]
}

proptest! {
    /// Whatever the answers were, an online planner that may send always has a time at which it goes on.
    #[test]
    fn is_never_stuck(answers in proptest::collection::vec((any_failure(), 0..3_u8, 1..600_usize, 0.0..1.0_f64), 0..60)) {
        let mut planner = idle();
        let mut now = 0;
        let mut effects = planner.step(Event::SyncNow, now, 0.5);
        for (failure, kind, ops, random) in answers {
            let event = match effects.last() {
                Some(Effect::Push { limit }) => {
                    prop_assert!((1..=500).contains(limit), "a batch of {limit}");
                    Event::Pushed(match kind {
                        0 => Pushed::Judged,
                        1 => Pushed::Nothing { next_in_ms: None },
                        _ => Pushed::Failed { ops: ops.min(*limit), failure },
                    })
                }
                Some(Effect::PullRecords) if kind == 0 => {
                    Event::PulledRecords(Ok(Page { has_more: false, enrolments_changed: false }))
                }
                Some(Effect::PullRecords) => Event::PulledRecords(Err(failure)),
                Some(Effect::PullUnits) if kind == 0 => Event::PulledUnits(Ok(())),
                Some(Effect::PullUnits) => Event::PulledUnits(Err(failure)),
                _ => {
                    prop_assert!(!planner.is_busy(), "nothing to wait for, yet busy");
                    let at = planner.wakes_at();
                    prop_assert!(at.is_some(), "no time to go on");
                    now = now.max(at.unwrap_or(now));
                    Event::Tick
                }
            };
            effects = planner.step(event, now, random);
        }
    }
}

#[test]
fn a_service_that_is_busy_is_no_reason_to_halve_a_batch() {
    let sent_after = |status, retry_after_ms| {
        let mut planner = idle();
        let mut sent = planner.step(Event::SyncNow, 0, 0.5);
        for now in 1..=3 {
            let failure = Failure::of_status(status, ErrorCode::ServiceFailed, retry_after_ms);
            planner.step(Event::Pushed(Pushed::Failed { ops: 500, failure }), now, 0.5);
            sent = planner.step(Event::SyncNow, now, 0.5);
        }
        sent
    };
    assert_eq!(sent_after(503, Some(2_000)), [Effect::Push { limit: 500 }], "it said when to come back");
    assert_eq!(sent_after(429, None), [Effect::Push { limit: 500 }]);
    for (status, retry_after_ms) in [(503, None), (500, None), (500, Some(2_000))] {
        assert_eq!(sent_after(status, retry_after_ms), [Effect::Push { limit: 250 }], "{status} {retry_after_ms:?}");
    }
}
