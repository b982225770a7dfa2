//! Signed addresses for many fetches: kept while they hold, renewed together, never asked for twice.
//!
//! A hundred fetches share one broker. What they ask for in the same moment becomes one request of up to
//! [`MOST_PER_SIGN`] blobs; who comes while it runs goes into the next. An address is renewed shortly before its end by the
//! *service's* clock, once, however many notice it. The decisions are in `desk`, which knows no clock and no socket; this
//! file lends it both. A request runs in a task of its own: whoever stops waiting stops nobody else's answer.

mod desk;
mod held;
mod signer;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use carrel_model::{BlobHash, TimeMs};
use tokio::{sync::oneshot, time::timeout};

pub use signer::{MOST_PER_SIGN, Signed, Signer};

use self::desk::{Answer, Desk, Next, Waiter};
use crate::{Clock, ResolveReason, Source, SourceError, Sources, clock::Moment};

/// How long the first to ask waits for company. Fetches that start together ask within this, and it is lost in the time
/// any request takes.
const GATHER: Duration = Duration::from_millis(2);
/// How long a request may take: then it is given up, so that a hanging one doesn't hold up what comes after it.
const SIGN_TIMEOUT: Duration = Duration::from_secs(25);

/// [`Sources`] over a [`Signer`]; clones share what is known. To be used within a tokio runtime.
///
/// In the sources it hands out, `expires_at` is by *this device's* clock, a margin before the true end: a request isn't
/// begun after it.
#[derive(Clone)]
pub struct Broker {
    office: Arc<Office>,
}

struct Office {
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    desk: Mutex<Open>,
    /// See [`SIGN_TIMEOUT`].
    timeout: Duration,
}

#[derive(Default)]
struct Open {
    desk: Desk<Asker>,
    /// A task is seeing to it that everybody is answered.
    at_work: bool,
}

type Asker = oneshot::Sender<Answer>;

impl Waiter for Asker {
    fn has_gone(&self) -> bool {
        self.is_closed()
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker that knows nothing yet.
    #[must_use]
    pub fn new(signer: Arc<dyn Signer>, clock: Arc<dyn Clock>) -> Self {
        Self { office: Arc::new(Office { signer, clock, desk: Mutex::default(), timeout: SIGN_TIMEOUT }) }
    }

    /// Keeps an address that came some other way, in place of what was known of the blob. `expires_at` is in the
    /// service's time, `server_now` the service's clock when it gave the address.
    pub fn keep(&self, blob: BlobHash, source: Source, server_now: Option<TimeMs>) {
        let now = self.office.now();
        let replies = self.office.open().desk.keep(blob, source, server_now, now);
        deliver(replies);
    }

    /// Announces blobs that will be asked for soon, in this order: as many as there is room for ride along with the next
    /// request. Some 2,000 are remembered.
    pub fn want(&self, blobs: impl IntoIterator<Item = BlobHash>) {
        let mut open = self.office.open();
        for blob in blobs {
            open.desk.want(blob);
        }
    }

    /// Forgets what is known of a blob, and that it was wanted: nobody will ask for it any more.
    pub fn forget(&self, blob: BlobHash) {
        self.office.open().desk.forget(blob);
    }

    async fn ask(&self, blob: BlobHash, reason: ResolveReason, had: Option<&[Source]>) -> Answer {
        let answer = {
            let now = self.office.now();
            let mut open = self.office.open();
            if let Some(answer) = open.desk.known(blob, reason, had, now) {
                return answer;
            }
            let (asker, answer) = oneshot::channel();
            open.desk.wait(blob, reason, asker);
            if !std::mem::replace(&mut open.at_work, true) {
                tokio::spawn(Arc::clone(&self.office).work());
            }
            answer
        };
        // The task ends without an answer only together with the runtime.
        let ended = |_| Err(SourceError::Unavailable { retry_after: None, cause: "shutting down".to_owned() });
        answer.await.unwrap_or_else(ended)
    }
}

#[async_trait::async_trait]
impl Sources for Broker {
    async fn resolve(&self, blob: BlobHash, reason: ResolveReason) -> Result<Vec<Source>, SourceError> {
        self.ask(blob, reason, None).await
    }

    async fn renew(&self, blob: BlobHash, reason: ResolveReason, held: &[Source]) -> Result<Vec<Source>, SourceError> {
        self.ask(blob, reason, Some(held)).await
    }
}

impl Office {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        Moment::now(&*self.clock)
    }

    /// Makes requests until nobody waits.
    async fn work(self: Arc<Self>) {
        tokio::time::sleep(GATHER).await;
        loop {
            let next = {
                let now = self.now();
                let mut open = self.open();
                let next = open.desk.next(now);
                // Under the lock, so that whoever asks next knows that he has to start a task.
                open.at_work = next != Next::Idle;
                next
            };
            match next {
                Next::Idle => return,
                Next::Wait(pause) => self.clock.sleep(pause).await,
                Next::Sign(blobs, reason) => {
                    let answer = self.sign(blobs, reason).await;
                    let now = self.now();
                    let replies = self.open().desk.answered(answer, now);
                    deliver(replies);
                }
            }
        }
    }

    async fn sign(&self, blobs: Vec<BlobHash>, reason: ResolveReason) -> Result<Signed, SourceError> {
        let count = blobs.len();
        let signer = Arc::clone(&self.signer);
        // Its own task, so that a signer that panics takes nobody along.
        let mut asking = tokio::spawn(async move { signer.sign(blobs, reason).await });
        let answer = match timeout(self.timeout, &mut asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(broken)) => Err(SourceError::Failed(broken.to_string())),
            Err(_) => {
                asking.abort();
                Err(SourceError::Unavailable { retry_after: None, cause: "no answer in time".to_owned() })
            }
        };
        match &answer {
            Ok(signed) => tracing::debug!(count, ?reason, urls = signed.urls.len(), "addresses were signed"),
            Err(error) => tracing::info!(count, ?reason, %error, "no addresses"),
        }
        answer
    }
}

fn deliver(replies: Vec<(Asker, Answer)>) {
    for (asker, answer) in replies {
        // Whoever has stopped waiting finds it here when he asks again.
        asker.send(answer).ok();
    }
}

#[cfg(test)]
#[path = "broker_tests.rs"]
mod tests;
