use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use url::Url;

use super::*;
use crate::SystemClock;

/// Signs when the gate opens, and writes down what was asked.
#[derive(Default)]
struct Gate {
    asked: Mutex<Vec<(usize, ResolveReason)>>,
    closed: bool,
    open: Notify,
    answered: AtomicUsize,
}

#[async_trait::async_trait]
impl Signer for Gate {
    async fn sign(&self, wanted: Vec<BlobHash>, reason: ResolveReason) -> Result<Signed, SourceError> {
        self.asked.lock().unwrap().push((wanted.len(), reason));
        if self.closed {
            self.open.notified().await;
        }
        let serial = self.answered.fetch_add(1, Ordering::SeqCst);
        let url = Url::parse(&format!("https://s.test/?s={serial}")).unwrap();
        let urls = wanted.into_iter().map(|blob| (blob, Source::new(url.clone()))).collect();
        Ok(Signed { urls, ..Signed::default() })
    }
}

fn broker(signer: &Arc<Gate>) -> Broker {
    let signer: Arc<Gate> = Arc::clone(signer);
    Broker::new(signer, Arc::new(SystemClock::default()))
}

fn blob(number: usize) -> BlobHash {
    BlobHash::of(&number.to_le_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetches_that_come_together_make_one_request() {
    let gate = Arc::new(Gate::default());
    let broker = broker(&gate);
    let ask = |number: usize| {
        let broker = broker.clone();
        tokio::spawn(async move { broker.resolve(blob(number % 50), ResolveReason::First).await })
    };
    let answers = futures_join((0..100).map(ask)).await;
    assert!(answers.iter().all(Result::is_ok), "everybody has an address");
    let asked = gate.asked.lock().unwrap().clone();
    assert_eq!(asked.iter().map(|(count, _)| count).sum::<usize>(), 50, "no blob twice: {asked:?}");
    assert!(asked.len() <= 3, "together, however the tasks were scheduled: {asked:?}");
}

#[tokio::test]
async fn who_stops_waiting_stops_nobody_else() {
    let gate = Arc::new(Gate { closed: true, ..Gate::default() });
    let broker = broker(&gate);
    let impatient = {
        let broker = broker.clone();
        tokio::spawn(async move { broker.resolve(blob(0), ResolveReason::First).await })
    };
    while gate.asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let patient = {
        let broker = broker.clone();
        tokio::spawn(async move { broker.resolve(blob(0), ResolveReason::First).await })
    };
    impatient.abort();
    assert!(impatient.await.unwrap_err().is_cancelled(), "the one who started the request is gone");
    gate.open.notify_one();
    assert!(patient.await.unwrap().is_ok(), "the other has his answer");
    assert!(broker.resolve(blob(0), ResolveReason::First).await.is_ok(), "and it is kept");
    assert_eq!(gate.asked.lock().unwrap().len(), 1, "one request for all of this");
}

#[tokio::test]
async fn a_request_that_hangs_is_given_up() {
    let gate = Arc::new(Gate { closed: true, ..Gate::default() });
    let mut broker = broker(&gate);
    Arc::get_mut(&mut broker.office).unwrap().timeout = Duration::from_millis(500);
    let hung = broker.resolve(blob(0), ResolveReason::First).await;
    assert!(matches!(hung, Err(SourceError::Unavailable { .. })), "a typed end: {hung:?}");
    gate.open.notify_one();
    assert!(broker.resolve(blob(0), ResolveReason::First).await.is_ok(), "and the next one is made");
}

#[tokio::test]
async fn a_signer_that_panics_is_an_error_and_not_a_hang() {
    struct Broken;
    #[async_trait::async_trait]
    impl Signer for Broken {
        async fn sign(&self, _: Vec<BlobHash>, _: ResolveReason) -> Result<Signed, SourceError> {
            panic!("broken on purpose")
        }
    }
    let broker = Broker::new(Arc::new(Broken), Arc::new(SystemClock::default()));
    for _ in 0..2 {
        let answer = broker.resolve(blob(0), ResolveReason::First).await;
        assert!(matches!(answer, Err(SourceError::Failed(_))), "told, each time: {answer:?}");
    }
}

async fn futures_join<T>(tasks: impl Iterator<Item = tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        results.push(task.await.unwrap());
    }
    results
}
