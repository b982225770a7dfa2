//! The power goes: the journal of the app's database ends anywhere, torn and with rubbish behind, and every write that the
//! app had acknowledged before is there when the database is opened again.
//!
//! A learner works at a real engine; after each acknowledgement it is noted how much of the journal SQLite had synced by then
//! (`synchronous=FULL`: all of it, docs/PRAGMAS.md) and what the write was. Then the files are laid down again and again as
//! a power cut could have left them, and opened by the way every start takes. `CARREL_WAL_CUTS` and `CARREL_SEED` choose
//! other numbers than the ordinary ones; `cargo xtask chaos --wal-cuts` sets them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use carrel_engine::{
    learning::view::{AnswerQuestion, FinishSession, RecordPosition, StartQuiz},
    library::{DATABASE_FILE, Library},
    ports::SystemClock,
};
use carrel_model::{content::LessonKind, quiz::Response};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sqlx::{Row as _, SqlitePool};
use tokio::task::JoinSet;

use crate::{
    wal::{HEADER, Journal},
    world::{Device, World},
};

/// How often the learner takes the quiz in the recorded run.
const ROUNDS: usize = 60;
/// The journal is written back and begun anew after so many acknowledgements, so that there are many of its beginnings.
const WRITE_BACK_EVERY: usize = 25;
/// How many cuts are tried at once.
const AT_ONCE: usize = 4;
/// The unit in which disks tear.
const SECTOR: usize = 512;

/// One state of a write: a place in a lesson is changed while it waits, everything else has one.
type Version = (i64, String);

/// A write as it was when it was acknowledged.
struct Acknowledged {
    generation: usize,
    /// So much of the journal was durable by then.
    durable: usize,
    seq: i64,
    version: Version,
}

/// The database between two resets of its journal.
struct Generation {
    database: Vec<u8>,
    journal: Journal,
}

struct Recording {
    generations: Vec<Generation>,
    acknowledged: Vec<Acknowledged>,
}

impl Recording {
    /// A learner's work, offline.
    async fn make() -> Self {
        let mut world = World::new().await;
        let device = world.device("tablet").await;
        let amina = device.signed_in(&world, "amina").await.id;
        let (page, quiz) =
            (device.lesson(amina, LessonKind::Page).await.id, device.lesson(amina, LessonKind::Quiz).await.id);
        device.everything_is_sent(amina).await;
        world.relay.go_down().await;

        let mut recorder = Recorder::new(device.folder().to_owned()).await;
        let learning = device.engine.learning();
        let mut random = StdRng::seed_from_u64(1);
        for round in 0..ROUNDS {
            let started = learning.start_quiz(amina, StartQuiz { lesson_id: quiz, again: true }).await.unwrap();
            recorder.note(&device).await;
            let session_id = started.session.unwrap().id;
            for answer in 0..4 {
                let text = format!(
                    "answer {answer} of round {round} & \u{1f30a} \u{0645}{}",
                    "~".repeat(random.random_range(0..400))
                );
                let question_id = "q2".to_owned();
                let answer = AnswerQuestion { session_id, question_id, response: Response::ShortText { text } };
                learning.answer(amina, answer).await.unwrap();
                recorder.note(&device).await;
                let (position, percent) = (random.random_range(0..1_000), 10);
                learning.record_position(amina, RecordPosition { lesson_id: page, position, percent }).await.unwrap();
                recorder.note(&device).await;
            }
            learning.finish(amina, FinishSession { session_id }).await.unwrap();
            recorder.note(&device).await;
        }
        recorder.recording
    }

    /// For each write what it must be, at least: the acknowledged version or any later one.
    fn demanded(&self, generation: usize, kept: usize) -> BTreeMap<i64, Vec<&Version>> {
        let mut demanded: BTreeMap<i64, Vec<&Version>> = BTreeMap::new();
        for write in &self.acknowledged {
            let safe = (write.generation, write.durable) <= (generation, kept);
            match demanded.get_mut(&write.seq) {
                Some(versions) if !safe => versions.push(&write.version),
                _ if safe => drop(demanded.insert(write.seq, vec![&write.version])),
                _ => {}
            }
        }
        demanded
    }
}

/// Looks at the files after each acknowledgement.
struct Recorder {
    folder: PathBuf,
    recording: Recording,
    last_seq: i64,
    maintenance: SqlitePool,
}

impl Recorder {
    async fn new(folder: PathBuf) -> Self {
        let maintenance =
            SqlitePool::connect(&format!("sqlite:{}", folder.join(DATABASE_FILE).display())).await.unwrap();
        let recording = Recording { generations: Vec::new(), acknowledged: Vec::new() };
        let mut recorder = Self { folder, recording, last_seq: 0, maintenance };
        recorder.follow();
        recorder
    }

    async fn note(&mut self, device: &Device) {
        let rows = sqlx::query(
            "SELECT seq, at, payload FROM events WHERE seq > ?1 OR seq = (
                 SELECT max(seq) FROM events WHERE kind = 'progress.position') ORDER BY seq",
        )
        .bind(self.last_seq)
        .fetch_all(device.engine.read_only_pool())
        .await
        .unwrap();
        self.follow();
        let (generation, last) = (self.recording.generations.len() - 1, self.recording.generations.last().unwrap());
        for row in rows {
            let seq = row.get(0);
            self.last_seq = self.last_seq.max(seq);
            self.recording.acknowledged.push(Acknowledged {
                generation,
                durable: last.journal.bytes.len(),
                seq,
                version: (row.get(1), row.get(2)),
            });
        }
        if self.recording.acknowledged.len().is_multiple_of(WRITE_BACK_EVERY) {
            // The next write begins the journal anew, if no reader is at it at this moment.
            sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&self.maintenance).await.unwrap();
        }
    }

    fn follow(&mut self) {
        let journal = self.folder.join(format!("{DATABASE_FILE}-wal"));
        if let Some(last) = self.recording.generations.last_mut()
            && last.journal.follow(&journal)
        {
            return;
        }
        // Nothing is written back into the database until somebody says so.
        let database = std::fs::read(self.folder.join(DATABASE_FILE)).unwrap();
        let mut generation = Generation { database, journal: Journal::default() };
        assert!(generation.journal.follow(&journal), "the journal is read");
        self.recording.generations.push(generation);
    }
}

/// What a power cut left behind.
#[derive(Debug)]
struct Wreck {
    /// Which generation, and how much of its journal is surely as it was written.
    generation: usize,
    kept: usize,
    what: &'static str,
    database: Vec<u8>,
    journal: Vec<u8>,
    rubbish_shm: bool,
}

impl Wreck {
    fn of(recording: &Recording, random: &mut StdRng) -> Self {
        let number = random.random_range(0..recording.generations.len());
        let generation = &recording.generations[number];
        let whole = &generation.journal.bytes;
        let database = generation.database.clone();
        let rubbish_shm = random.random_bool(0.3);
        if random.random_ratio(1, 8)
            && let Some(next) = recording.generations.get(number + 1)
        {
            let database = half_written_back(generation, &next.database, random);
            let (kept, journal) = (whole.len(), whole.clone());
            let what = "the power went while the journal was written back";
            return Self { generation: number, kept, what, database, journal, rubbish_shm };
        }
        let kept = cut(&generation.journal, random);
        let mut journal = whole[..kept].to_vec();
        let what = match random.random_range(0..6) {
            0 => "it ends there",
            1 => {
                journal.resize(whole.len(), 0);
                "zeros follow"
            }
            2 => {
                let before =
                    number.checked_sub(1).map_or(&[][..], |before| &recording.generations[before].journal.bytes);
                journal.extend_from_slice(before.get(kept..).unwrap_or_default());
                "frames of the journal before follow"
            }
            3 => {
                journal.extend((0..random.random_range(0..16_384)).map(|_| random.random::<u8>()));
                "rubbish follows"
            }
            4 => {
                journal.extend_from_slice(&whole[kept..]);
                for _ in 0..random.random_range(1..9) {
                    let tail = kept..journal.len().max(kept + 1);
                    if let Some(byte) = journal.get_mut(random.random_range(tail)) {
                        *byte ^= 1 << random.random_range(0..8);
                    }
                }
                "bits of what follows are flipped"
            }
            _ => {
                // Later sectors came to the disk before earlier ones.
                journal.extend_from_slice(&whole[kept..]);
                for sector in journal[kept..].chunks_mut(SECTOR) {
                    if random.random_bool(0.3) {
                        sector.fill_with(|| 0xa5);
                    }
                }
                "sectors of what follows are missing"
            }
        };
        Self { generation: number, kept, what, database, journal, rubbish_shm }
    }

    /// Lays the files down, opens them as a start does, and looks. Gives the number of writes that the cut took.
    async fn survives(self, recording: &Recording, folder: &Path) -> Result<usize, String> {
        std::fs::write(folder.join(DATABASE_FILE), &self.database).unwrap();
        std::fs::write(folder.join(format!("{DATABASE_FILE}-wal")), &self.journal).unwrap();
        if self.rubbish_shm {
            std::fs::write(folder.join(format!("{DATABASE_FILE}-shm")), [0x5a; 32 * 1024]).unwrap();
        }
        let (library, notices) =
            Library::open(folder, &SystemClock::default()).await.map_err(|error| error.to_string())?;
        if !notices.is_empty() {
            return Err(format!("{notices:?}"));
        }
        let found = self.missing(recording, &library).await;
        // And it goes on: what is written now is written.
        let mut tx = library.write().await.unwrap();
        sqlx::query("INSERT INTO metadata VALUES ('after', 'the cut')").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        library.close().await;
        found
    }

    async fn missing(&self, recording: &Recording, library: &Library) -> Result<usize, String> {
        let text = |sql: &'static str| sqlx::query_scalar::<_, String>(sql).fetch_one(library.readers());
        let verdict = text("PRAGMA integrity_check").await.map_err(|error| error.to_string())?;
        if verdict != "ok" {
            return Err(verdict);
        }
        let rows = sqlx::query(
            "SELECT e.seq, e.at, e.payload, o.at IS e.at AND o.payload IS e.payload AND o.state IS 'waiting'
             FROM events e LEFT JOIN outbox o ON o.profile_id = e.profile_id AND o.seq = e.seq",
        )
        .fetch_all(library.readers())
        .await
        .map_err(|error| error.to_string())?;
        let mut found: BTreeMap<i64, Version> = BTreeMap::new();
        for row in rows {
            if !row.get::<bool, _>(3) {
                return Err(format!("write {} is in one table and not in the other", row.get::<i64, _>(0)));
            }
            found.insert(row.get(0), (row.get(1), row.get(2)));
        }
        for (seq, versions) in recording.demanded(self.generation, self.kept) {
            match found.get(&seq) {
                None => return Err(format!("write {seq} was acknowledged and is not there")),
                Some(version) if !versions.contains(&version) => {
                    return Err(format!("write {seq} is {version:?}, and was {:?}", versions[0]));
                }
                Some(_) => {}
            }
        }
        let seqs: BTreeSet<i64> = recording.acknowledged.iter().map(|write| write.seq).collect();
        Ok(seqs.iter().filter(|seq| !found.contains_key(seq)).count())
    }
}

/// Anywhere; half of the time close to the end of a frame, where mistakes would be.
fn cut(journal: &Journal, random: &mut StdRng) -> usize {
    let whole = journal.bytes.len();
    if random.random_bool(0.1) {
        return random.random_range(0..=HEADER.min(whole));
    }
    if journal.frames.is_empty() || random.random_bool(0.5) {
        return random.random_range(0..=whole);
    }
    let end = journal.frames[random.random_range(0..journal.frames.len())];
    (end + random.random_range(0..3)).saturating_sub(1).min(whole)
}

/// The database with some sectors of the pages that the journal has, as they come later, and some that are rubbish.
fn half_written_back(generation: &Generation, after: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut database = generation.database.clone();
    for (number, content) in generation.journal.pages() {
        let place = (number - 1) * content.len();
        for sector in (place..place + content.len()).step_by(SECTOR) {
            let (Some(old), Some(new)) =
                (database.get_mut(sector..sector + SECTOR), after.get(sector..sector + SECTOR))
            else {
                continue;
            };
            match random.random_range(0..4) {
                0 => old.copy_from_slice(new),
                // The first page says how large pages are; SQLite reads it before it has recovered anything.
                1 if number > 1 => old.fill_with(|| random.random()),
                _ => {}
            }
        }
    }
    database
}

/// Two thousand files of a megabyte: in memory where that can be had, since it is us who cut the power.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let builder = tempfile::Builder::new().prefix("carrel-wal-").tempdir_in(memory);
    builder.or_else(|_| tempfile::tempdir()).unwrap()
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_acknowledged_write_survives_two_thousand_cuts_of_the_journal() {
    let (cuts, seed) = (number("CARREL_WAL_CUTS", 2_000), number("CARREL_SEED", 1));
    let began = Instant::now();
    let recording = Arc::new(Recording::make().await);
    let generations = recording.generations.len();
    assert!(generations >= 10, "the journal was begun anew again and again: {generations}");
    assert!(recording.acknowledged.len() > ROUNDS * 9, "{} writes were acknowledged", recording.acknowledged.len());

    let scratch = scratch();
    let mut trying = JoinSet::new();
    let (mut failed, mut taken) = (Vec::new(), 0);
    let mut judge = |outcome: Result<usize, String>| match outcome {
        Ok(writes) => taken += writes,
        Err(why) => failed.push(why),
    };
    for n in 0..cuts {
        if trying.len() == AT_ONCE {
            judge(trying.join_next().await.unwrap().unwrap());
        }
        let (recording, folder) = (Arc::clone(&recording), scratch.path().join(n.to_string()));
        trying.spawn(async move {
            let wreck =
                Wreck::of(&recording, &mut StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9).wrapping_add(n)));
            let case = format!("cut {n}: generation {} after {} bytes, {}", wreck.generation, wreck.kept, wreck.what);
            std::fs::create_dir(&folder).unwrap();
            let outcome = wreck.survives(&recording, &folder).await;
            std::fs::remove_dir_all(&folder).unwrap();
            outcome.map_err(|why| format!("{case}: {why}"))
        });
    }
    while let Some(outcome) = trying.join_next().await {
        judge(outcome.unwrap());
    }
    println!(
        "{{\"wal_cuts\":{cuts},\"seed\":{seed},\"acknowledged\":{},\"generations\":{generations},\"failed\":{},\"seconds\":{:.1}}}",
        recording.acknowledged.len(),
        failed.len(),
        began.elapsed().as_secs_f64()
    );
    assert!(taken > 0, "the cuts cut nothing");
    assert!(failed.is_empty(), "{} of {cuts}: {:#?}", failed.len(), &failed[..failed.len().min(5)]);
}
