use proptest::prelude::*;

use super::*;

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(n: u16) -> T {
    format!("01900000-0000-7000-8000-00000000{n:04x}").parse().unwrap()
}

fn blob(n: u8) -> BlobHash {
    BlobHash::from_bytes([n; 32])
}

fn queued(n: u16, priority: u8, position: i64, blobs: &[u8]) -> Queued {
    let blobs = blobs.iter().map(|n| Wanted { hash: blob(*n), size: LARGE_BYTES, remaining_bytes: 10 }).collect();
    Queued { id: id(n), profile: id(1), priority, position, retry: None, own: OwnConditions::default(), blobs }
}

fn fine() -> Conditions {
    Conditions {
        now: TimeMs::from_ms(1_000),
        network: NetworkState::Online,
        drive_is_here: true,
        signed_in: [id(1), id(2)].into(),
        wishes: Wishes::default(),
        limits: [(id(1), 3), (id(2), 3)].into(),
        room_bytes: 1_000,
        running: BTreeMap::new(),
    }
}

#[test]
fn starts_by_priority_then_position_up_to_the_limit() {
    let queue = [queued(1, 5, 2, &[1, 2]), queued(2, 5, 1, &[3]), queued(3, 9, 7, &[4])];
    let plan = plan(&queue, &fine());
    assert_eq!(plan.start, [(id(3), blob(4)), (id(2), blob(3)), (id(1), blob(1))], "three places, best first");
    assert!(plan.waits.values().all(Option::is_none), "waiting for its turn is no reason to name");
}

#[test]
fn small_blobs_share_a_place_and_the_limit_holds_for_their_groups() {
    let mut large = queued(1, 5, 1, &[1]);
    let mut small = queued(2, 5, 2, &(10..=200).collect::<Vec<_>>());
    small.blobs.iter_mut().for_each(|blob| (blob.size, blob.remaining_bytes) = (30_000, 1));
    let begun = |queue: &[Queued]| plan(queue, &fine()).start.len();
    assert_eq!(begun(&[large.clone(), small.clone()]), 1 + 2 * GROUP, "one large and two groups: three places");
    assert_eq!(begun(&[small.clone()]), 3 * GROUP, "three groups");
    large.position = 9;
    assert_eq!(begun(&[small, large]), 3 * GROUP, "whoever comes first");
}

#[test]
fn small_blobs_never_fill_up_the_place_that_a_large_one_before_them_waits_for() {
    let mut small = queued(2, 5, 2, &(10..=60).collect::<Vec<_>>());
    small.blobs.iter_mut().for_each(|blob| (blob.size, blob.remaining_bytes) = (30_000, 1));
    let running = (100..=109).map(|n| (blob(n), Fetching { profile: id(1), size: 1_000, remaining_bytes: 1 }));
    let conditions = Conditions { limits: [(id(1), 1)].into(), running: running.collect(), ..fine() };
    assert!(plan(&[queued(1, 5, 1, &[1]), small.clone()], &conditions).start.is_empty(), "the group runs dry first");
    assert_eq!(plan(&[small], &conditions).start.len(), GROUP - 10, "with none before them they fill it up");
}

#[test]
fn a_blob_two_learners_need_is_fetched_once() {
    let other = Queued { profile: id(2), ..queued(2, 5, 2, &[1]) };
    let plan = plan(&[queued(1, 5, 1, &[1]), other], &fine());
    assert_eq!(plan.start, [(id(1), blob(1))]);
    assert_eq!(plan.waits.get(&id(2)), Some(&None), "it is served by the same fetch");
}

#[test]
fn each_obstacle_has_its_own_word_and_goes_with_it() {
    let queue = [Queued { retry: Some((TimeMs::from_ms(5_000), WaitReason::Server)), ..queued(1, 5, 1, &[1]) }];
    let because = |conditions: &Conditions| plan(&queue, conditions).waits.get(&id(1)).copied().flatten();
    assert_eq!(because(&Conditions { network: NetworkState::Offline, ..fine() }), Some(WaitReason::Network));
    assert_eq!(because(&Conditions { network: NetworkState::Limited, ..fine() }), Some(WaitReason::Server));
    assert_eq!(because(&Conditions { drive_is_here: false, ..fine() }), Some(WaitReason::Drive));
    assert_eq!(because(&Conditions { signed_in: BTreeSet::new(), ..fine() }), Some(WaitReason::SignIn));
    assert_eq!(because(&fine()), Some(WaitReason::Server), "the round before failed");
    assert_eq!(plan(&queue, &fine()).wake_at, Some(TimeMs::from_ms(5_000)), "and ends by itself");
    let later = Conditions { now: TimeMs::from_ms(5_000), ..fine() };
    assert_eq!(because(&later), None);
    assert_eq!(because(&Conditions { room_bytes: 9, ..later.clone() }), Some(WaitReason::Space));
    assert_eq!(plan(&queue, &later).start.len(), 1, "with all of them gone it runs");
}

#[test]
fn what_a_learner_chose_holds_them_back_and_a_download_may_be_let_off() {
    let mine = |own: OwnConditions| Queued { own, ..queued(1, 5, 1, &[1]) };
    let wishes = |wishes: Wishes| Conditions { wishes, ..fine() };
    let because = |queued: &Queued, conditions: &Conditions| held_back(queued, conditions);
    let plain = mine(OwnConditions::default());
    let metered = wishes(Wishes { without_wifi: Some([id(1)].into()), ..Wishes::default() });
    let nobody_cares = wishes(Wishes { without_wifi: Some(BTreeSet::new()), ..Wishes::default() });
    let battery = wishes(Wishes { without_power: [id(1)].into(), ..Wishes::default() });
    let by_day = wishes(Wishes {
        out_of_hours: [id(1)].into(),
        hours_change_at: Some(TimeMs::from_ms(7_000)),
        ..Wishes::default()
    });
    assert_eq!(because(&plain, &metered), Some(WaitReason::Wifi));
    assert_eq!(because(&plain, &nobody_cares), None, "another learner's choice");
    assert_eq!(because(&plain, &battery), Some(WaitReason::Power));
    assert_eq!(because(&plain, &by_day), Some(WaitReason::Schedule));
    assert_eq!(plan(&[plain], &by_day).wake_at, Some(TimeMs::from_ms(7_000)), "it goes on by itself");
    let anyway = mine(OwnConditions { wifi_only: Some(false), at_any_hour: true, on_battery: true });
    let strict = mine(OwnConditions { wifi_only: Some(true), ..OwnConditions::default() });
    assert_eq!([&metered, &battery, &by_day].map(|conditions| because(&anyway, conditions)), [None; 3]);
    assert_eq!(because(&strict, &nobody_cares), Some(WaitReason::Wifi), "this one alone wants Wi-Fi");
    assert_eq!(because(&strict, &fine()), None);
    let all = Conditions { network: NetworkState::Offline, ..metered };
    assert_eq!(because(&strict, &all), Some(WaitReason::Network), "no network at all is the nearer cause");
}

#[test]
fn a_transfer_is_stopped_when_nothing_it_serves_may_run() {
    let (one, two): ([DownloadId; 2], [DownloadId; 1]) = ([id(1), id(2)], [id(3)]);
    let hashes = [blob(1), blob(2)];
    let running = [(&hashes[0], one.as_slice()), (&hashes[1], two.as_slice())];
    assert_eq!(to_stop(running, |_| true), []);
    assert_eq!(to_stop(running, |download| download == id(2)), [blob(2)], "somebody else's wish keeps the first going");
    assert_eq!(to_stop(running, |_| false), [blob(1), blob(2)]);
}

#[test]
fn one_without_room_does_not_hold_back_a_smaller_one() {
    let mut large = queued(1, 9, 1, &[1]);
    large.blobs[0].remaining_bytes = 5_000;
    let plan = plan(&[large, queued(2, 5, 1, &[2])], &fine());
    assert_eq!(plan.waits.get(&id(1)), Some(&Some(WaitReason::Space)));
    assert_eq!(plan.start, [(id(2), blob(2))]);
}

fn any_queue() -> impl Strategy<Value = Vec<Queued>> {
    let blobs = prop::collection::btree_set(0u8..12, 0..4);
    let one = (1u8..=10, -5i64..5, any::<bool>(), prop::option::of(0i64..2_000), blobs);
    // What is left of a blob is the same for all who need it.
    let left = prop::collection::vec((0u64..400, prop::sample::select(vec![1_000, LARGE_BYTES])), 12);
    (left, prop::collection::vec(one, 0..12)).prop_map(|(left, all)| {
        let wanted = |n: u8| {
            let (remaining_bytes, size) = left[usize::from(n)];
            Wanted { hash: blob(n), size, remaining_bytes }
        };
        let queue = all.into_iter().zip(100..).map(|((priority, position, second, retry, blobs), n)| Queued {
            id: id(n),
            profile: id(if second { 2 } else { 1 }),
            priority,
            position,
            retry: retry.map(|at| (TimeMs::from_ms(at), WaitReason::Server)),
            own: OwnConditions::default(),
            blobs: blobs.into_iter().map(wanted).collect(),
        });
        queue.collect()
    })
}

fn any_conditions() -> impl Strategy<Value = Conditions> {
    let network = prop::sample::select(vec![
        NetworkState::Online,
        NetworkState::Limited,
        NetworkState::Offline,
        NetworkState::Unknown,
    ]);
    let size = prop::sample::select(vec![1_000, LARGE_BYTES]);
    let running = prop::collection::btree_map(0u8..12, (0u64..100, size), 0..3);
    (network, any::<bool>(), any::<bool>(), 1usize..6, 1usize..6, 0u64..1_500, running).prop_map(
        |(network, one, two, first, second, room_bytes, running)| Conditions {
            now: TimeMs::from_ms(1_000),
            network,
            drive_is_here: true,
            signed_in: [(one, id(1)), (two, id(2))].into_iter().filter_map(|(is, id)| is.then_some(id)).collect(),
            wishes: Wishes::default(),
            limits: [(id(1), first), (id(2), second)].into(),
            room_bytes,
            running: running
                .into_iter()
                .map(|(n, (remaining_bytes, size))| (blob(n), Fetching { profile: id(1), size, remaining_bytes }))
                .collect(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn limits_hold_and_every_wait_has_a_true_reason(queue in any_queue(), conditions in any_conditions()) {
        let plan = plan(&queue, &conditions);
        let limit = conditions.limits.values().copied().max().unwrap();
        let size_of = |hash| queue.iter().flat_map(|q| &q.blobs).find(|b| b.hash == hash).unwrap().size;
        let sizes = conditions.running.values().map(|r| r.size).chain(plan.start.iter().map(|(_, hash)| size_of(*hash)));
        let taken = sizes.fold(Taken::default(), Taken::with);
        prop_assert!(plan.start.is_empty() || taken.places() <= limit, "no more places than there are");
        let begun: BTreeSet<_> = plan.start.iter().map(|(_, hash)| *hash).collect();
        prop_assert_eq!(begun.len(), plan.start.len(), "no blob twice");
        prop_assert!(begun.iter().all(|hash| !conditions.running.contains_key(hash)), "nor one that runs");
        let running: u64 = conditions.running.values().map(|r| r.remaining_bytes).sum();
        let mut taken = 0;
        for (id, hash) in &plan.start {
            let queued = queue.iter().find(|q| q.id == *id).unwrap();
            taken += queued.blobs.iter().find(|b| b.hash == *hash).unwrap().remaining_bytes;
            prop_assert_eq!(plan.waits[id], None, "what runs doesn't wait");
        }
        prop_assert!(taken == 0 || running + taken <= conditions.room_bytes, "the room is enough for all that runs");
        for queued in &queue {
            let now = match plan.waits[&queued.id] {
                None => true,
                Some(WaitReason::SignIn) => !conditions.signed_in.contains(&queued.profile),
                Some(WaitReason::Network) => conditions.network == NetworkState::Offline,
                Some(WaitReason::Server) => conditions.network == NetworkState::Limited
                    || queued.retry.is_some_and(|(at, _)| at > conditions.now && plan.wake_at.is_some_and(|wake| wake <= at)),
                Some(WaitReason::Space) => queued.blobs.iter().any(|b| b.remaining_bytes + running + taken > conditions.room_bytes),
                Some(_) => false,
            };
            prop_assert!(now, "{:?} is true of {queued:?}", plan.waits[&queued.id]);
        }
    }

    #[test]
    fn nothing_that_can_run_starves(queue in any_queue(), conditions in any_conditions()) {
        // Everything that starts finishes at once; after enough plans nothing is left that has no true reason to wait.
        let mut queue = queue;
        let mut conditions = conditions;
        conditions.running.clear();
        for _ in 0..64 {
            let plan = plan(&queue, &conditions);
            if plan.start.is_empty() {
                break;
            }
            for (_, hash) in plan.start {
                for queued in &mut queue {
                    queued.blobs.retain(|b| b.hash != hash);
                }
            }
        }
        for queued in queue.iter().filter(|q| held_back(q, &conditions).is_none()) {
            prop_assert!(
                queued.blobs.iter().all(|b| b.remaining_bytes > conditions.room_bytes),
                "{queued:?} could run"
            );
        }
    }
}
