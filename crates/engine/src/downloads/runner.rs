//! Performs what the scheduler decided: transfers, and what follows their ends.
//!
//! One loop. It sleeps until a command, the network, the end of a transfer or the clock wakes it; while transfers run it
//! also tells who listens how far they are. A look costs the same however long the queue is: it reads the few blobs that
//! come next. Reasons to wait are written for the whole queue only when something they depend on has changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use carrel_model::{BlobHash, DownloadId, ErrorCode, ProfileId, TimeMs, download::WaitReason, pieces::Manifest};
use carrel_transfer::{Control, FetchRequest, Journal, Sources, Urgency};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{
    addresses::Desk,
    awake::Awake,
    ends::{self, Brought, Ended, JobError},
    line::{self, Next, Room, Surroundings, Wish},
    live::Running,
    news::News,
    queue::Queue,
    scheduler::{self, Conditions, DEFAULT_CONCURRENCY, Fetching, GROUP, Plan, Queued, Wanted, Wishes},
    told::Told,
};
use crate::{EngineError, blobs::Manifests, network::device::DeviceView, sync::view::NetworkState};

/// A failure of the database or the disk while planning is no reason to spin.
const AFTER_FAULT: Duration = Duration::from_secs(5);
/// A wait whose end lies in the past by now, or in a clock that jumps, is not looked at more often than this.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
/// A drive may come back, and room may be made, without anybody telling.
const LOOK_AT_THE_DISK_EVERY: Duration = Duration::from_secs(10);
/// Hours begin by the clock on the wall, and the time a machine sleeps doesn't count for a timer.
const LOOK_AT_THE_CLOCK_EVERY: Duration = Duration::from_secs(60);

/// Runs until it is dropped; transfers end with it.
pub(super) async fn run(queue: Arc<Queue>) {
    let mut runner = Runner {
        network: queue.rooms.network(),
        was_away: false,
        device: queue.rooms.device(),
        jobs: JoinSet::new(),
        labelled: None,
        awake: Awake::default(),
        queue,
    };
    let mut told = Told::default();
    let mut news = News::All;
    loop {
        let wake_at = match runner.look(news).await {
            Ok(wake_at) => wake_at,
            Err(error) => {
                tracing::error!(%error, "the download queue could not be read");
                runner.labelled = None;
                Some(Instant::now() + AFTER_FAULT)
            }
        };
        runner.wait(wake_at, &mut told).await;
        news = runner.queue.news.take();
    }
}

struct Runner {
    queue: Arc<Queue>,
    network: watch::Receiver<(NetworkState, TimeMs)>,
    /// The network went since it was last online: what was begun before hangs on connections that are dead.
    was_away: bool,
    device: watch::Receiver<DeviceView>,
    jobs: JoinSet<Ended>,
    /// What the reasons to wait were last written by.
    labelled: Option<Labelled>,
    awake: Awake,
}

/// What reasons to wait depend on, besides each download's own retries.
#[derive(PartialEq, Eq)]
struct Labelled {
    network: NetworkState,
    drive_is_here: bool,
    signed_in: BTreeSet<ProfileId>,
    wishes: Wishes,
    /// Whether the room is too small for some.
    tight: bool,
    /// Downloads being fetched.
    running: BTreeSet<DownloadId>,
}

impl Runner {
    /// Until something asks for a new plan; progress is all there is to tell till then.
    async fn wait(&mut self, wake_at: Option<Instant>, told: &mut Told) {
        let queue = Arc::clone(&self.queue);
        loop {
            let telling = (!queue.live.is_empty()).then(|| told.next());
            if telling.is_none() {
                self.awake.rest();
            }
            tokio::select! {
                () = queue.news.told() => return,
                Some(ended) = self.jobs.join_next(), if !self.jobs.is_empty() => {
                    // Whatever else has ended by now shares the syncs and the commit.
                    let mut all = vec![ended];
                    all.extend(std::iter::from_fn(|| self.jobs.try_join_next()));
                    let network = self.state();
                    return ends::finish(&queue, all, network).await;
                }
                Ok(()) = self.network.changed() => {
                    let now = self.network.borrow_and_update().0;
                    return self.network_changed(now).await;
                }
                Ok(()) = self.device.changed() => {
                    self.device.borrow_and_update();
                    return queue.news.tell_all();
                }
                () = sleep_until(wake_at), if wake_at.is_some() => return,
                () = sleep_until(telling), if telling.is_some() => {
                    told.tell(&queue).await;
                    if self.awake.slept(queue.clock.read()) {
                        tracing::info!("the machine was asleep");
                        queue.fetcher.reconnect();
                    }
                }
            }
        }
    }

    async fn network_changed(&mut self, now: NetworkState) {
        let queue = &self.queue;
        match now {
            // A transfer would try for minutes and call it downloading; the queue names the cause and goes on by itself.
            NetworkState::Offline => queue.live.all().values().for_each(|fetch| fetch.control.pause()),
            NetworkState::Online => {
                // That it is there becomes known with the first answer: then nothing has gone.
                if std::mem::take(&mut self.was_away) {
                    queue.fetcher.reconnect();
                }
                if let Err(error) = ends::forgive(queue).await {
                    tracing::error!(%error, "waits could not be ended");
                }
            }
            NetworkState::Limited | NetworkState::Unknown => {}
        }
        self.was_away |= matches!(now, NetworkState::Offline | NetworkState::Limited);
        self.queue.news.tell_all();
    }

    fn state(&self) -> NetworkState {
        self.network.borrow().0
    }

    /// Plans, begins what may begin, and writes down who waits and why. Says when to look again.
    async fn look(&mut self, news: News) -> Result<Option<Instant>, EngineError> {
        let queue = Arc::clone(&self.queue);
        let readers = queue.library.readers();
        let was_here = self.labelled.as_ref().is_none_or(|labelled| labelled.drive_is_here);
        let drive_is_here = queue.blobs.is_here().await;
        if drive_is_here && !was_here {
            // Somebody else may have had the drive meanwhile.
            queue.look_at_the_store().await?;
        }
        let profiles = line::profiles(readers).await?;
        if profiles.is_empty() {
            self.labelled = None;
            return Ok(None);
        }
        let begun = if drive_is_here { queue.blobs.begun().await? } else { BTreeMap::new() };
        let conditions = self.conditions(&profiles, drive_is_here, &begun).await?;
        let (plan, tight) = self.plan(&conditions, &begun).await?;
        self.begin(&plan.start).await?;
        self.stop_held(&conditions.wishes).await?;

        let running: BTreeSet<DownloadId> = queue.live.all().values().flat_map(|fetch| fetch.serves.clone()).collect();
        let surroundings = Surroundings {
            now: conditions.now,
            network: conditions.network,
            drive_is_here,
            signed_in: &conditions.signed_in,
            wishes: &conditions.wishes,
            running: &running,
            room: tight.then_some(Room { bytes: conditions.room_bytes, begun: &begun }),
        };
        let before = self.labelled.take();
        let same = before.as_ref().is_some_and(|before| {
            (before.network, before.drive_is_here, before.tight) == (conditions.network, drive_is_here, tight)
                && before.signed_in == conditions.signed_in
                && before.wishes == conditions.wishes
        });
        let touched = match (before, news) {
            // As the room becomes more or less, any may wait for it or not.
            (Some(before), News::Of(mut ids)) if same && !tight => {
                // What began or ended, and whose wait is over.
                ids.extend(before.running.symmetric_difference(&running));
                ids.extend(line::due(readers, conditions.now).await?);
                Some(ids.into_iter().collect::<Vec<DownloadId>>())
            }
            _ => None,
        };
        let changed = line::label(&queue.library, &surroundings, touched.as_deref());
        queue.publish(&changed.await?).await?;
        let retry_at = line::first_retry(readers, conditions.now).await?.map(|at| until(&queue, at));
        let disk_at = (tight || !drive_is_here).then(|| Instant::now() + LOOK_AT_THE_DISK_EVERY);
        let hours_at = conditions.wishes.hours_change_at.map(|at| until(&queue, at));
        let clock_at = hours_at.map(|at| at.min(Instant::now() + LOOK_AT_THE_CLOCK_EVERY));
        let Conditions { network, signed_in, wishes, .. } = conditions;
        self.labelled = Some(Labelled { network, drive_is_here, signed_in, wishes, tight, running });
        Ok([retry_at, disk_at, clock_at].into_iter().flatten().min())
    }

    async fn conditions(
        &self,
        profiles: &[ProfileId],
        drive_is_here: bool,
        begun: &BTreeMap<BlobHash, u64>,
    ) -> Result<Conditions, EngineError> {
        let queue = &self.queue;
        let now = queue.clock.now();
        let device = *self.device.borrow();
        let mut limits = BTreeMap::new();
        let mut wishes = Wishes { without_wifi: (!device.counts_as_wifi()).then(BTreeSet::new), ..Wishes::default() };
        for profile in profiles {
            let settings = queue.rooms.settings(*profile).await?;
            limits.insert(*profile, usize::from(settings.concurrency.max(1)));
            if let Some(without_wifi) = wishes.without_wifi.as_mut().filter(|_| settings.wifi_only) {
                without_wifi.insert(*profile);
            }
            if settings.charging_only && !device.counts_as_charging() {
                wishes.without_power.insert(*profile);
            }
            if let Some(hours) = settings.hours {
                if !hours.are_open(now, queue.clock.utc_offset_ms(now)) {
                    wishes.out_of_hours.insert(*profile);
                }
                let change = hours.next_change(now, |at| queue.clock.utc_offset_ms(at));
                wishes.hours_change_at = Some(wishes.hours_change_at.map_or(change, |other| other.min(change)));
            }
        }
        let fetching = |(hash, run): (&BlobHash, &Running)| {
            let remaining_bytes = remaining(run.size, begun.get(hash));
            (*hash, Fetching { profile: run.profile, size: run.size, remaining_bytes })
        };
        let running = queue.live.all().iter().map(fetching).collect();
        Ok(Conditions {
            now,
            network: self.state(),
            drive_is_here,
            signed_in: queue.rooms.signed_in().await?.into_iter().collect(),
            wishes,
            limits,
            running,
            room_bytes: if drive_is_here { queue.blobs.space().await?.above_floor_bytes() } else { 0 },
        })
    }

    /// What to begin; and whether the room is too small for some of what comes next.
    async fn plan(
        &self,
        conditions: &Conditions,
        begun: &BTreeMap<BlobHash, u64>,
    ) -> Result<(Plan, bool), EngineError> {
        let can_run = conditions.drive_is_here
            && matches!(conditions.network, NetworkState::Online | NetworkState::Unknown)
            && !conditions.signed_in.is_empty();
        if !can_run {
            return Ok((Plan::default(), false));
        }
        let places = conditions.limits.values().copied().max().unwrap_or(DEFAULT_CONCURRENCY);
        let running: Vec<BlobHash> = conditions.running.keys().copied().collect();
        let wish = Wish {
            now: conditions.now,
            signed_in: &conditions.signed_in,
            wishes: &conditions.wishes,
            running: &running,
            room: None,
            limit: places * GROUP,
        };
        let readers = self.queue.library.readers();
        let mut next = line::next(readers, &wish).await?;
        // What somebody plays comes before all that was asked for.
        for hash in self.queue.playing().into_iter().filter(|hash| !conditions.running.contains_key(hash)) {
            if let Some(played) = line::of_blob(readers, hash, &wish).await? {
                next.insert(0, Next { priority: u8::MAX, ..played });
            }
        }
        let plan = scheduler::plan(&queued(&next, begun), conditions);
        let in_use = conditions.running.values().map(|running| running.remaining_bytes).sum();
        let room = conditions.room_bytes.saturating_sub(in_use);
        if next.iter().all(|next| remaining(next.size, begun.get(&next.hash)) <= room) {
            self.announce(&next);
            return Ok((plan, false));
        }
        // Behind what is too large there may be something, however far behind, that there is room for.
        let fitting = line::next(readers, &Wish { room: Some(Room { bytes: room, begun }), ..wish }).await?;
        self.announce(&fitting);
        Ok((scheduler::plan(&queued(&fitting, begun), conditions), true))
    }

    /// Addresses of what comes next ride along with the first that is asked for.
    fn announce(&self, next: &[Next]) {
        let mut of_profile: BTreeMap<ProfileId, Vec<BlobHash>> = BTreeMap::new();
        for next in next {
            of_profile.entry(next.profile).or_default().push(next.hash);
        }
        for (profile, hashes) in of_profile {
            self.queue.addresses.of(profile).broker.want(hashes);
        }
    }

    /// Ends the transfers that only downloads need which are held back now; what they have verified stays.
    async fn stop_held(&self, wishes: &Wishes) -> Result<(), EngineError> {
        let queue = &self.queue;
        let served: BTreeSet<DownloadId> = queue.live.all().values().flat_map(|fetch| fetch.serves.clone()).collect();
        if served.is_empty() || !wishes.hold_back_some() {
            return Ok(());
        }
        let free = line::free(queue.library.readers(), &served, wishes).await?;
        let all = queue.live.all();
        let running = all.iter().map(|(hash, fetch)| (hash, fetch.serves.as_slice()));
        for hash in scheduler::to_stop(running, |id| free.contains(&id)) {
            if let Some(fetch) = all.get(&hash) {
                fetch.control.pause();
            }
        }
        Ok(())
    }

    /// Starts transfers.
    async fn begin(&mut self, start: &[(DownloadId, BlobHash)]) -> Result<(), EngineError> {
        if start.is_empty() {
            return Ok(());
        }
        let queue = &self.queue;
        let hashes: Vec<BlobHash> = start.iter().map(|(_, hash)| *hash).collect();
        let Manifests { good: mut manifests, damaged } = queue.blobs.manifests(&hashes).await?;
        let mut served = line::served(queue.library.readers(), &hashes).await?;
        let owners = super::rows::owners(queue.library.readers(), start.iter().map(|(id, _)| *id)).await?;
        for (download, hash) in start {
            // Gone since the plan was made: there is nothing to fetch for anybody.
            let (Some(manifest), Some((profile, usable))) = (manifests.remove(hash), owners.get(download)) else {
                continue;
            };
            let Some(serves) = served.remove(hash) else { continue };
            let control = Control::new();
            let running = Running {
                profile: *profile,
                progress: control.progress(),
                control: control.clone(),
                size: manifest.size(),
                task: None,
                serves,
            };
            queue.live.all().insert(*hash, running);
            let urgency = if queue.playing().contains(hash) {
                Urgency::Playing
            } else if *usable {
                // Nobody waits for a newer version as long as the older one opens.
                Urgency::Refresh
            } else {
                Urgency::Asked
            };
            let (queue, desk) = (Arc::clone(queue), queue.addresses.of(*profile));
            let job = Job { queue, manifest: Arc::new(manifest), desk, urgency, control };
            let task = self.jobs.spawn(job.run());
            if let Some(running) = self.queue.live.all().get_mut(hash) {
                running.task = Some(task.id());
            }
        }
        // What the database has lost of them comes with a new authorisation; nobody waits behind it.
        for hash in damaged {
            for id in served.remove(&hash).unwrap_or_default() {
                self.queue.fail(id, ErrorCode::BadManifest).await?;
            }
        }
        // A pause that came while they were begun found none of them to stop.
        queue.stop_unneeded().await
    }
}

/// One transfer.
struct Job {
    queue: Arc<Queue>,
    manifest: Arc<Manifest>,
    desk: Desk,
    urgency: Urgency,
    control: Control,
}

impl Job {
    async fn run(self) -> Ended {
        let hash = self.manifest.hash();
        let writing = self.queue.blobs.writing(hash).await;
        let result = Box::pin(self.bring()).await;
        Ended { hash, result, said: self.desk.said(), writing: Some(writing) }
    }

    async fn bring(&self) -> Result<Brought, JobError> {
        let (queue, hash) = (&self.queue, self.manifest.hash());
        // A whole file is there already: somebody else has just written it, the database was made anew, or the power went
        // between a file's place and the record of it.
        if queue.blobs.take_in(hash).await.map_err(JobError::Store)? {
            return Ok(Brought::WasHere);
        }
        let mut request = FetchRequest::new(Arc::clone(&self.manifest), queue.blobs.part_path(hash));
        request.urgency = self.urgency;
        let journal: Arc<dyn Journal> = Arc::new(queue.blobs.journal());
        let sources: Arc<dyn Sources> = Arc::new(self.desk.broker.clone());
        let fetching = queue.fetcher.fetch(request, sources, journal, self.control.clone());
        fetching.await.map_err(JobError::Fetch)?;
        Ok(Brought::Part)
    }
}

/// The blobs that come next, by download.
fn queued(next: &[Next], begun: &BTreeMap<BlobHash, u64>) -> Vec<Queued> {
    let of_download = next.chunk_by(|one, other| one.download == other.download);
    let queued = of_download.filter_map(|blobs| {
        let first = blobs.first()?;
        let wanted = |next: &Next| Wanted {
            hash: next.hash,
            size: next.size,
            remaining_bytes: remaining(next.size, begun.get(&next.hash)),
        };
        Some(Queued {
            id: first.download,
            profile: first.profile,
            priority: first.priority,
            position: first.position,
            // Those that wait for their next round are not among what comes next.
            retry: None::<(TimeMs, WaitReason)>,
            own: first.own,
            blobs: blobs.iter().map(wanted).collect(),
        })
    });
    queued.collect()
}

fn remaining(size: u64, begun: Option<&u64>) -> u64 {
    size.saturating_sub(begun.copied().unwrap_or(0))
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

fn until(queue: &Queue, at: TimeMs) -> Instant {
    let wait = u64::try_from(at.since(queue.clock.now())).unwrap_or(0);
    Instant::now() + Duration::from_millis(wait).max(SHORTEST_WAIT)
}
