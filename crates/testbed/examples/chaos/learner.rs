//! The learner at the host's page: answers, reads on, finishes, starts again, and never waits for a network.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use carrel_testbed::browser::Browser;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{sync::RwLock, time::sleep};

use crate::{
    Failure,
    ledger::Ledger,
    site::{NAME, PASSWORD, QUESTION},
};

/// Places in a page.
const PLACES: u64 = 1_000;
/// How often whoever waits looks again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What stands on the learner's desk: a host that comes and goes.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    browser: RwLock<Option<Browser>>,
    ends: AtomicBool,
    acknowledged: AtomicU64,
    sign_ins: AtomicU64,
}

impl Desk {
    /// A host was started; this is its link.
    pub(crate) async fn open(&self, link: String) {
        // Killed before it was entered, it is closed again.
        *self.browser.write().await = Browser::enter(&link).await.ok();
    }

    /// The host is about to be killed; what is asked of it goes on until then.
    pub(crate) async fn close(&self) {
        *self.browser.write().await = None;
    }

    /// No more work.
    pub(crate) fn finish(&self) {
        self.ends.store(true, Ordering::SeqCst);
    }

    /// How much was acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// How often the learner had to sign in.
    pub(crate) fn sign_ins(&self) -> u64 {
        self.sign_ins.load(Ordering::Relaxed)
    }

    pub(crate) async fn sign_in(&self, service: &str) -> Result<(), Failure> {
        self.sign_ins.fetch_add(1, Ordering::Relaxed);
        let request = json!({ "service_url": service, "name": NAME, "password": PASSWORD });
        let (status, answer) = self.ask("access_sign_in", &request).await?;
        if status != 200 {
            return Err(format!("signing in: {status} {answer}").into());
        }
        self.must("catalogue_refresh", &Value::Null).await?;
        Ok(())
    }

    /// Calls a command of the host that runs now.
    pub(crate) async fn ask(&self, command: &str, request: &Value) -> io::Result<(u16, Value)> {
        let browser = self.browser.read().await.clone();
        match browser {
            Some(browser) => browser.call(command, request).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    async fn must(&self, command: &str, request: &Value) -> Result<Value, Failure> {
        let (status, answer) = self.ask(command, request).await?;
        if status == 200 { Ok(answer) } else { Err(format!("{command}: {status} {answer}").into()) }
    }

    /// Asks until a host answers with success, and for as long as the learner works.
    async fn eventually(&self, command: &str, request: &Value) -> Option<Value> {
        while !self.ends.load(Ordering::SeqCst) {
            match self.ask(command, request).await {
                Ok((200, answer)) => return Some(answer),
                _ => sleep(LOOK_EVERY).await,
            }
        }
        None
    }

    /// Waits until nothing waits any more, by itself and without anybody asking for it; gives the number of writes that
    /// still do when the time is over, and of those that were refused.
    pub(crate) async fn heals(&self, within: Duration) -> Result<u64, Failure> {
        let began = Instant::now();
        loop {
            let sync = self.must("sync_status", &Value::Null).await?;
            let number = |name: &str| sync.get(name).and_then(Value::as_u64).unwrap_or(u64::MAX);
            let quiet =
                sync.get("syncing") == Some(&Value::Bool(false)) && sync.get("last_error") == Some(&Value::Null);
            if number("waiting") == 0 && number("refused") == 0 && quiet {
                return Ok(0);
            }
            if began.elapsed() > within {
                eprintln!("stuck: {sync}");
                return Ok(number("waiting").saturating_add(number("refused")).max(1));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Status and place of every lesson as the learner sees it.
    pub(crate) async fn shown(&self, lesson: &str) -> Result<Value, Failure> {
        let view = self.must("catalogue_lesson", &json!({ "lesson_id": lesson })).await?;
        Ok(view.pointer("/card/progress").or_else(|| view.get("progress")).cloned().unwrap_or(view))
    }
}

/// A learner at work.
#[derive(Debug)]
pub(crate) struct Learner {
    desk: Arc<Desk>,
    quiz: String,
    pages: Vec<String>,
    ledger: Ledger,
    random: StdRng,
}

impl Learner {
    pub(crate) async fn new(desk: Arc<Desk>, seed: u64) -> Result<Self, Failure> {
        let library = desk.must("catalogue_library", &Value::Null).await?;
        let unit = library.pointer("/courses/0/units/0/id").ok_or("the course has no unit")?;
        let unit = desk.must("catalogue_unit", &json!({ "unit_id": unit })).await?;
        let lessons = unit.get("lessons").and_then(Value::as_array).ok_or("the unit has no lessons")?;
        let of_kind = |kind: &str| -> Vec<String> {
            let lessons = lessons.iter().filter(|lesson| lesson.get("kind").is_some_and(|found| found == kind));
            lessons.filter_map(|lesson| lesson.get("id")?.as_str().map(str::to_owned)).collect()
        };
        let quiz = of_kind("quiz").pop().ok_or("the unit has no quiz")?;
        let random = StdRng::seed_from_u64(seed ^ 0xbeef);
        Ok(Self { desk, quiz, pages: of_kind("page"), ledger: Ledger::default(), random })
    }

    /// Works until the desk says that it is enough; gives the list of what was acknowledged.
    pub(crate) async fn work(mut self) -> Result<Ledger, Failure> {
        let mut session: Option<String> = None;
        let mut count = 0_u64;
        while !self.desk.ends.load(Ordering::SeqCst) {
            let Some(id) = session.clone() else {
                session = self.begin().await;
                continue;
            };
            match self.random.random_range(0..20) {
                0..14 => {
                    count += 1;
                    let text = format!("word {count} \u{1f30a} & = \u{0646}\u{0647}\u{0631}");
                    let response = json!({ "kind": "short_text", "text": text });
                    let request = json!({ "session_id": id, "question_id": first_question(), "response": response });
                    let said = self.does("learning_answer", &request).await;
                    self.ledger.answered(text, said == Said::Yes);
                    // After a kill, or when a hand-in of which nobody knew went through after all.
                    if said != Said::Yes {
                        session = None;
                    }
                }
                14..17 => {
                    let lesson = self.page();
                    let position = self.random.random_range(0..PLACES);
                    let request = json!({ "lesson_id": lesson, "position": position, "percent": position / 10 });
                    let said = self.does("learning_record_position", &request).await;
                    self.ledger.reached(&lesson, position, said == Said::Yes);
                }
                17 => {
                    let lesson = self.page();
                    let said = self.does("learning_complete", &json!({ "lesson_id": lesson })).await;
                    self.ledger.completed(&lesson, said == Said::Yes);
                }
                18 => {
                    if self.does("learning_finish", &json!({ "session_id": id })).await == Said::Yes {
                        self.ledger.acknowledged += 1;
                    }
                    session = None;
                }
                _ => sleep(Duration::from_millis(self.random.random_range(0..60))).await,
            }
        }
        Ok(self.ledger)
    }

    /// Goes on with the session that runs, or starts the next one; and looks whether the last answer is still there.
    async fn begin(&mut self) -> Option<String> {
        let quiz = json!({ "lesson_id": self.quiz, "again": true });
        let view = self.desk.eventually("learning_start_quiz", &quiz).await?;
        let shown = view.pointer(&format!("/answers/{}/response/text", first_question())).and_then(Value::as_str);
        if let Some(shown) = shown
            && !self.ledger.answers.contains(shown)
            && !self.ledger.doubtful_answers.contains(shown)
        {
            eprintln!("nobody ever answered {shown:?}");
            self.ledger.forgotten += 1;
        }
        view.pointer("/session/id").and_then(Value::as_str).map(str::to_owned)
    }

    async fn does(&self, command: &str, request: &Value) -> Said {
        match self.desk.ask(command, request).await {
            Ok((200, _)) => {
                self.desk.acknowledged.fetch_add(1, Ordering::Relaxed);
                Said::Yes
            }
            Ok((status, answer)) => {
                // A session that was handed in takes no more answers; anything else is worth reading.
                if status != 409 {
                    eprintln!("{command}: {status} {answer}");
                }
                Said::No
            }
            Err(_) => {
                sleep(LOOK_EVERY).await;
                Said::Nothing
            }
        }
    }

    fn page(&mut self) -> String {
        let index = self.random.random_range(0..self.pages.len().max(1));
        self.pages.get(index).cloned().unwrap_or_default()
    }
}

/// The one question of the quiz.
fn first_question() -> String {
    format!("{QUESTION}0")
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Yes,
    No,
    /// The host was killed, or was not there.
    Nothing,
}
