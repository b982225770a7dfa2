//! Push, then pull: a pure planner decides, a driver performs.
//!
//! Each learner whose session holds has a planner and a driver of their own, so that what one of them recorded is sent also
//! while another one learns.

mod driver;
pub mod planner;
mod records;
pub mod view;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use carrel_model::{ErrorCode, ProfileId, TimeMs};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    EngineError, EngineEvent,
    access::Accounts,
    background::Background,
    catalogue::Fetching,
    events::EventBus,
    library::Library,
    network::Network,
    outbox::{self, Count, Outbox},
    ports::Clock,
    rows::{parsed_option, time_option},
    service_api::ServiceApi,
};
use driver::{Command, Driver};
use view::{NetworkState, SyncNowOutcome, SyncNowView, SyncView};

/// Changes that come together are told together.
const PUBLISH_PAUSE: Duration = Duration::from_millis(50);
/// Signing out waits so long for what is being sent.
const SEND_ALL_PATIENCE: Duration = Duration::from_secs(60);
/// How often trusted time is written down.
const KEEP_TIME_EVERY: Duration = Duration::from_secs(60);

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Sync {
    shared: Arc<Shared>,
    background: Background,
}

/// What the drivers share.
#[derive(Debug)]
struct Shared {
    library: Library,
    events: EventBus,
    accounts: Accounts,
    network: Network,
    outbox: Outbox,
    fetching: Fetching,
    api: ServiceApi,
    clock: Arc<dyn Clock>,
    running: Mutex<BTreeMap<ProfileId, Running>>,
    publish: Notify,
}

/// A driver that runs.
#[derive(Debug, Clone)]
struct Running {
    commands: mpsc::Sender<Command>,
    pulse: Arc<Pulse>,
    stop: CancellationToken,
    ended: CancellationToken,
}

/// What can be seen of a driver from outside.
#[derive(Debug, Default)]
struct Pulse(Mutex<(bool, Option<TimeMs>)>);

impl Pulse {
    /// Whether that is news.
    fn set(&self, syncing: bool, next_attempt_at: Option<TimeMs>) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *kept, (syncing, next_attempt_at)) != (syncing, next_attempt_at)
    }

    fn get(&self) -> (bool, Option<TimeMs>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the room is made of.
#[derive(Debug)]
pub(crate) struct SyncParts {
    pub(crate) library: Library,
    pub(crate) events: EventBus,
    pub(crate) accounts: Accounts,
    pub(crate) network: Network,
    pub(crate) outbox: Outbox,
    pub(crate) fetching: Fetching,
    pub(crate) api: ServiceApi,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Sync {
    pub(crate) fn new(parts: SyncParts, background: Background) -> Self {
        let SyncParts { library, events, accounts, network, outbox, fetching, api, clock } = parts;
        let shared = Shared {
            library,
            events,
            accounts,
            network,
            outbox,
            fetching,
            api,
            clock,
            running: Mutex::default(),
            publish: Notify::new(),
        };
        Self { shared: Arc::new(shared), background }
    }

    /// Starts the drivers of all whose session holds, and whoever tells of changes.
    pub(crate) async fn start_all(&self) -> Result<(), EngineError> {
        for profile in self.shared.accounts.signed_in().await? {
            self.start(profile);
        }
        let shared = Arc::clone(&self.shared);
        self.background.spawn(async move { shared.keep_publishing().await });
        let accounts = self.shared.accounts.clone();
        self.background.spawn(async move {
            loop {
                tokio::time::sleep(KEEP_TIME_EVERY).await;
                if let Err(error) = accounts.keep_trusted_time().await {
                    tracing::warn!(%error, "trusted time was not kept");
                }
            }
        });
        Ok(())
    }

    /// Starts a learner's driver, or tells it that the session holds again.
    pub(crate) fn start(&self, profile: ProfileId) {
        let mut running = self.shared.running();
        if let Some(known) = running.get(&profile).filter(|known| !known.ended.is_cancelled()) {
            // A full queue means that it is about to look anyway.
            let _ = known.commands.try_send(Command::SignedIn);
            return;
        }
        let (commands, receiver) = mpsc::channel(8);
        let pulse = Arc::new(Pulse::default());
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        running
            .insert(profile, Running { commands, pulse: Arc::clone(&pulse), stop: stop.clone(), ended: ended.clone() });
        drop(running);
        let driver = Driver::new(Arc::clone(&self.shared), profile, pulse);
        self.background.spawn(async move {
            let _ended = ended.drop_guard();
            stop.run_until_cancelled_owned(Box::pin(driver.run(receiver))).await;
        });
    }

    /// Stops a learner's driver and waits until it has let go.
    pub(crate) async fn stop(&self, profile: ProfileId) {
        let known = self.shared.running().remove(&profile);
        if let Some(known) = known {
            known.stop.cancel();
            known.ended.cancelled().await;
        }
    }

    /// Sends what waits now, and waits for the end of it.
    pub(crate) async fn send_all(&self, profile: ProfileId) -> Result<(), EngineError> {
        let known = self.shared.running().get(&profile).cloned();
        let known = known.ok_or(EngineError::Refused(ErrorCode::SignInNeeded))?;
        let (done, over) = oneshot::channel();
        if known.commands.send(Command::SyncNow(Some(done))).await.is_ok() {
            // Too slow or ended: whoever asked looks at what is left.
            let _ = tokio::time::timeout(SEND_ALL_PATIENCE, over).await;
        }
        Ok(())
    }

    /// Network, waiting writes, last sync.
    pub async fn status(&self, profile: Option<ProfileId>) -> Result<SyncView, EngineError> {
        self.shared.status(profile).await
    }

    /// "Sync now": always answers.
    pub async fn now(&self, profile: ProfileId) -> Result<SyncNowView, EngineError> {
        if !self.shared.accounts.profile(profile).await?.signed_in {
            return Ok(SyncNowView { outcome: SyncNowOutcome::SignInNeeded });
        }
        self.shared.network.ask_now();
        let known = self.shared.running().get(&profile).cloned();
        if let Some(known) = known {
            // A full queue means that it is about to sync anyway.
            let _ = known.commands.try_send(Command::SyncNow(None));
        } else {
            self.start(profile);
        }
        let outcome = match self.shared.network.state() {
            NetworkState::Online | NetworkState::Unknown => SyncNowOutcome::Started,
            NetworkState::Offline | NetworkState::Limited => SyncNowOutcome::WillSendWhenOnline,
        };
        Ok(SyncNowView { outcome })
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, BTreeMap<ProfileId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn status(&self, profile: Option<ProfileId>) -> Result<SyncView, EngineError> {
        let mut view = SyncView {
            network: self.network.state(),
            network_since: Some(self.network.since()),
            waiting: 0,
            refused: 0,
            syncing: false,
            last_success_at: None,
            last_error: None,
            next_attempt_at: None,
            clock_off_by_ms: self.accounts.wall_clock_off_by_ms(),
        };
        let Some(profile) = profile else { return Ok(view) };
        Count { waiting: view.waiting, refused: view.refused } = self.outbox.count(profile).await?;
        let row = sqlx::query("SELECT last_success_at, last_error FROM sync_state WHERE profile_id = ?1")
            .bind(profile.to_string())
            .fetch_optional(self.library.readers())
            .await?;
        if let Some(row) = row {
            view.last_success_at = time_option(&row, "last_success_at")?;
            view.last_error = parsed_option(&row, "last_error")?;
        }
        if let Some(known) = self.running().get(&profile) {
            (view.syncing, view.next_attempt_at) = known.pulse.get();
        }
        Ok(view)
    }

    /// Notes how a run ended.
    async fn note_end(&self, profile: ProfileId, error: Option<ErrorCode>) {
        let noted = async {
            let mut tx = self.library.write().await?;
            sqlx::query(
                "UPDATE sync_state SET last_error = ?2,
                     last_success_at = CASE WHEN ?2 IS NULL THEN ?3 ELSE last_success_at END WHERE profile_id = ?1",
            )
            .bind(profile.to_string())
            .bind(error.map(ErrorCode::as_str))
            .bind(self.clock.now().as_ms())
            .execute(&mut *tx)
            .await?;
            tx.commit().await
        };
        if let Err(error) = noted.await {
            tracing::warn!(%error, "the end of a sync was not noted");
        }
        self.publish(profile).await;
    }

    /// A restored or cloned device: what was not acknowledged gets a new key, and the session has to be opened for it.
    async fn rekey(&self, profile: ProfileId) -> Result<(), EngineError> {
        let device = self.accounts.new_device();
        let mut tx = self.library.write().await?;
        sqlx::query("UPDATE profiles SET device_id = ?2 WHERE id = ?1")
            .bind(profile.to_string())
            .bind(device.to_string())
            .execute(&mut *tx)
            .await?;
        outbox::rekey(&mut tx, profile, device).await?;
        tx.commit().await?;
        self.accounts.session_ended(profile).await
    }

    /// Tells who listens how it is now.
    async fn publish(&self, profile: ProfileId) {
        match self.status(Some(profile)).await {
            Ok(sync) => self.events.send(EngineEvent::Sync { profile_id: Some(profile), sync }),
            Err(error) => tracing::warn!(%error, "the state of sync can't be read"),
        }
    }

    fn publish_soon(&self) {
        self.publish.notify_one();
    }

    /// Tells of changes of the network and of waiting writes, also while a driver is busy.
    async fn keep_publishing(&self) {
        let mut network = self.network.watch();
        let mut written = self.outbox.written();
        loop {
            tokio::select! {
                Ok(()) = network.changed() => {}
                Ok(()) = written.changed() => {}
                () = self.publish.notified() => {}
            }
            tokio::time::sleep(PUBLISH_PAUSE).await;
            network.mark_unchanged();
            written.mark_unchanged();
            let profiles = self.accounts.all().await.unwrap_or_default();
            if profiles.is_empty()
                && let Ok(sync) = self.status(None).await
            {
                self.events.send(EngineEvent::Sync { profile_id: None, sync });
            }
            for profile in profiles {
                self.publish(profile).await;
            }
        }
    }
}
