//! A lane on a slow line waits for the writers, one on a fast line doesn't, and none for ever.

use super::*;

async fn waits(unkept: &mut Unkept) -> bool {
    let mut settle = Box::pin(unkept.settle());
    std::future::poll_fn(|cx| std::task::Poll::Ready(settle.as_mut().poll(cx).is_pending())).await
}

#[tokio::test]
async fn a_lane_on_a_slow_line_waits_for_the_writers_and_no_longer() {
    let mut unkept = Unkept::new();
    unkept.received(MOST_BYTES + 1);
    assert!(!waits(&mut unkept).await, "nobody writes, so nothing would end the waiting");
    let (first, second) = (unkept.writing(1000), unkept.writing(0));
    assert!(waits(&mut unkept).await);
    drop(first);
    assert!(!waits(&mut unkept).await, "only the end is missing");
    unkept.received(MOST_BYTES);
    assert!(waits(&mut unkept).await);
    drop(second);
    unkept.settle().await;
}

#[tokio::test]
async fn a_lane_on_a_fast_line_reads_on() {
    let mut unkept = Unkept::new();
    // However busy the machine is, no time has passed since.
    unkept.piece_begun = Instant::now() + Duration::from_secs(1000);
    unkept.received(1 << 20);
    unkept.complete();
    let _writing = unkept.writing(0);
    unkept.received(1 << 20);
    assert!(!waits(&mut unkept).await);
    unkept.begin();
    unkept.piece_begun -= SLOW_PIECE;
    unkept.complete();
    assert!(waits(&mut unkept).await);
}
