use std::{sync::atomic::AtomicUsize, sync::atomic::Ordering, time::Duration};

use proptest::prelude::*;

use super::*;

const PIECE: usize = FULL_BYTES;

#[tokio::test]
async fn a_small_file_takes_little_more_than_its_size() {
    let buffers = Buffers::new(4 * PIECE);
    let small = buffers.take(30_000).await;
    assert!(small.capacity() >= 30_000 && small.capacity() < 40_000, "{} for 30 KB", small.capacity());
    assert_eq!(4 * PIECE - buffers.free_bytes(), 32 << 10, "counted in steps of 4 KiB");
    drop(small);
    assert_eq!(buffers.free_bytes(), 4 * PIECE, "given back when dropped");
}

#[tokio::test]
async fn whole_buffers_are_used_again_and_come_back_empty() {
    let buffers = Buffers::new(4 * PIECE);
    let mut first = buffers.take(PIECE).await;
    let _other = buffers.take(PIECE).await;
    first.extend_from_slice(b"something");
    let place = first.as_ptr();
    drop(first);
    let again = buffers.take(PIECE).await;
    assert_eq!(again.as_ptr(), place, "no new memory");
    assert!(again.is_empty(), "and nothing of what was in it");
}

#[tokio::test]
async fn a_pool_nobody_uses_keeps_little_memory() {
    let buffers = Buffers::new(16 * PIECE);
    let mut many = Vec::new();
    for _ in 0..16 {
        many.push(buffers.take(PIECE).await);
    }
    drop(many);
    assert!(lock(&buffers.0.spare).len() <= IDLE_SPARES, "the rest is free again");
}

#[tokio::test]
async fn what_is_kept_for_whole_pieces_counts_as_memory() {
    let buffers = Buffers::new(4 * PIECE);
    let mut whole = Vec::new();
    for _ in 0..4 {
        whole.push(buffers.take(PIECE).await);
    }
    whole.truncate(1);
    assert_eq!(lock(&buffers.0.spare).len(), 3, "kept for who comes next");
    let _others = (buffers.take(PIECE - 1).await, buffers.take(PIECE - 1).await);
    assert_eq!(lock(&buffers.0.spare).len(), 1, "and given up where others need the room");
}

#[tokio::test]
async fn more_than_the_pool_has_is_given_when_it_is_all_free() {
    let buffers = Buffers::new(0);
    let held = buffers.take(1).await;
    let waiting = buffers.take(100 * PIECE);
    tokio::pin!(waiting);
    assert!(futures_none(&mut waiting).await, "not while somebody holds a buffer");
    drop(held);
    assert!(waiting.await.capacity() >= 100 * PIECE);
}

/// Whether a future isn't ready yet.
async fn futures_none<F: Future>(future: &mut std::pin::Pin<&mut F>) -> bool {
    tokio::time::timeout(Duration::ZERO, future).await.is_err()
}

#[tokio::test]
async fn a_whole_piece_is_not_starved_by_small_requests() {
    let buffers = Buffers::new(2 * PIECE);
    let (one, two) = (buffers.take(PIECE).await, buffers.take(PIECE).await);
    let whole = buffers.take(PIECE);
    tokio::pin!(whole);
    assert!(futures_none(&mut whole).await);
    let small = buffers.take(4 << 10);
    tokio::pin!(small);
    assert!(futures_none(&mut small).await);
    drop(one);
    let first = whole.await;
    assert!(futures_none(&mut small).await, "who asked later gets it later");
    drop(first);
    small.await;
    drop(two);
}

#[tokio::test]
async fn who_goes_on_waits_for_one_that_begins_and_not_for_all() {
    let buffers = Buffers::new(2 * PIECE);
    let (one, two) = (buffers.take(PIECE).await, buffers.take(PIECE).await);
    let (first, second) = (buffers.take(PIECE), buffers.take(PIECE));
    tokio::pin!(first, second);
    assert!(futures_none(&mut first).await);
    assert!(futures_none(&mut second).await);
    let next = buffers.take_next(PIECE);
    tokio::pin!(next);
    assert!(futures_none(&mut next).await);
    drop(one);
    let first = first.await;
    assert!(futures_none(&mut second).await, "he is behind who goes on");
    drop(two);
    let next = next.await;
    assert!(futures_none(&mut second).await);
    drop((first, next));
    second.await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Lanes that hold one buffer each, hand it to a writer and ask for the next always come to an end, within the bound.
    #[test]
    fn the_bound_holds_and_nobody_waits_for_ever(
        pool in 2_usize..6,
        lanes in prop::collection::vec(prop::collection::vec(1_usize..=PIECE, 1..8), 1..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let asked: usize = lanes.iter().map(Vec::len).sum();
        let (most, served) = runtime.block_on(async move {
            let buffers = Buffers::new(pool * PIECE);
            let (written, mut queue) = tokio::sync::mpsc::unbounded_channel::<Buffer>();
            let in_use = Arc::new(AtomicUsize::new(0));
            let most = Arc::new(AtomicUsize::new(0));
            for lane in lanes {
                let (buffers, written) = (buffers.clone(), written.clone());
                let (in_use, most) = (Arc::clone(&in_use), Arc::clone(&most));
                tokio::spawn(async move {
                    for bytes in lane {
                        let mut buffer = buffers.take(bytes).await;
                        buffer.resize(bytes, 1);
                        most.fetch_max(in_use.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        written.send(buffer).unwrap();
                    }
                });
            }
            drop(written);
            let mut served = 0;
            let work = async {
                while let Some(buffer) = queue.recv().await {
                    in_use.fetch_sub(buffer.len(), Ordering::SeqCst);
                    served += 1;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), work).await.expect("every request is served");
            (most.load(Ordering::SeqCst), served)
        });
        prop_assert_eq!(served, asked);
        prop_assert!(most <= pool * PIECE, "{} bytes in use, {} allowed", most, pool * PIECE);
    }
}
