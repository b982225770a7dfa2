//! Three days without a network on two devices of one learner, and then both come back.
//!
//! One device is the real window; the other is `carrel-host`, told what to do as its page would tell it: a second window
//! would only be slower. Days pass by clocks that are set ahead, the service's as well. Whichever comes back first, both and
//! the service end with the same, everything arrives once, and what is seen on a screen never goes backwards meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use carrel_testbed::{browser::Browser, processes::Process};
use serde_json::{Value, json};

use crate::{
    content_service::{LEARNER, PASSWORD},
    desk::{Desk, built},
    screens,
    window::{LIMIT, Window, hook},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const DAYS: u32 = 3;
/// On each device.
const ANSWERS_A_DAY: usize = 100;
/// A quiz is handed in and taken again after so many.
const ANSWERS_A_SESSION: usize = 10;
const LOOK_EVERY: Duration = Duration::from_millis(30);
const START_LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn three_days_offline_on_two_devices_end_alike_when_the_window_is_back_first() {
    three_days("devices-window-first", true).await;
}

#[tokio::test]
async fn three_days_offline_on_two_devices_end_alike_when_the_other_is_back_first() {
    three_days("devices-other-first", false).await;
}

async fn three_days(name: &'static str, window_first: bool) {
    let mut desk = Desk::new(name).await;
    let course = Course::of(&desk).await;
    let mut answers = [0, 0];
    for day in 0..DAYS {
        desk.clock_ahead = DAY * day;
        let window = Device::Window(if day == 0 { desk.open_signed_in().await } else { desk.open_app().await });
        let other = Device::other(&desk).await;
        if day == 0 {
            other.sign_in(&desk).await;
            for device in [&window, &other] {
                device.until_quiet().await;
            }
            desk.service_goes_down().await;
            with_hands(&window, &course).await;
        }
        for (at, device) in [&window, &other].into_iter().enumerate() {
            work(device, &course, at, day).await;
            answers[at] = device.answers_kept().await;
        }
        window.kill().await;
        other.kill().await;
    }

    desk.clock_ahead = DAY * DAYS;
    desk.service_comes_back().await;
    let open =
        async |window: bool| if window { Device::Window(desk.open_app().await) } else { Device::other(&desk).await };
    let first = open(window_first).await;
    first.comes_back(&course).await;
    let second = open(!window_first).await;
    second.comes_back(&course).await;
    // The first one learns what the second one brought.
    first.ask("sync_now", Value::Null).await;
    first.comes_back(&course).await;

    let seen = first.glance(&course).await;
    assert_eq!(seen, second.glance(&course).await, "the same on both devices");
    the_service_has_the_same(&desk, &seen, answers.iter().sum()).await;
}

/// What there is to learn with: lessons that are read, and quizzes with a question whose answer is typed.
struct Course {
    units: Vec<String>,
    pages: Vec<String>,
    quizzes: Vec<(String, String)>,
}

impl Course {
    /// Looks it up with a device that is used for nothing else.
    async fn of(desk: &Desk) -> Self {
        let data = desk.folder().join("index");
        let device = Device::host(desk, &data).await;
        device.sign_in(desk).await;
        let library = device.ask("catalogue_library", Value::Null).await;
        let mut course = Self { units: Vec::new(), pages: Vec::new(), quizzes: Vec::new() };
        let units =
            library["courses"].as_array().unwrap().iter().flat_map(|course| course["units"].as_array().unwrap());
        for unit in units {
            course.units.push(text(&unit["id"]));
            let view = device.ask("catalogue_unit", json!({ "unit_id": unit["id"] })).await;
            for lesson in view["lessons"].as_array().unwrap() {
                let id = text(&lesson["id"]);
                match lesson["kind"].as_str() {
                    Some("page") => course.pages.push(id),
                    Some("quiz") => {
                        let quiz = device.ask("learning_quiz", json!({ "lesson_id": id })).await;
                        let questions = quiz["quiz"]["questions"].as_array().unwrap().clone();
                        let typed = questions.iter().find(|question| question["body"]["kind"] == "short_text");
                        course.quizzes.extend(typed.map(|question| (id, text(&question["id"]))));
                    }
                    _ => {}
                }
            }
        }
        assert!(course.pages.len() >= 3 && course.quizzes.len() >= 2, "the samples have enough to do");
        device.until_quiet().await;
        device.kill().await;
        course
    }
}

/// The first quiz in the window, by clicks; the rest of the work is asked of the page's own commands.
async fn with_hands(window: &Device, course: &Course) {
    let Device::Window(window) = window else { panic!("hands need a window") };
    let mut unit = None;
    for id in &course.units {
        screens::open_unit(window, id).await;
        window.see(&hook("lesson-row")).await;
        let kinds = window.attributes(&hook("lesson-row"), "data-kind").await;
        if ["video", "document", "quiz"].iter().all(|kind| kinds.iter().any(|found| found == kind)) {
            unit = Some(id);
            break;
        }
    }
    screens::open_lesson(window, unit.unwrap(), "quiz").await;
    screens::answer_quiz(window).await;
    screens::finish_quiz(window).await;
}

/// A day offline: answers, places, and a lesson that is completed on this device alone.
async fn work(device: &Device, course: &Course, number: usize, day: u32) {
    let mut session = Value::Null;
    for answer in 0..ANSWERS_A_DAY {
        let turn = answer / ANSWERS_A_SESSION;
        let (lesson, question) = &course.quizzes[(turn + number) % course.quizzes.len()];
        if answer % ANSWERS_A_SESSION == 0 {
            let view = device.ask("learning_start_quiz", json!({ "lesson_id": lesson, "again": true })).await;
            session = view["session"]["id"].clone();
            let page = &course.pages[turn % course.pages.len()];
            let percent = 10 + turn * 5;
            let place = json!({ "lesson_id": page, "position": percent * 10, "percent": percent });
            device.ask("learning_record_position", place).await;
        }
        let response = json!({ "kind": "short_text", "text": format!("day {day}, device {number}, answer {answer}") });
        let request = json!({ "session_id": session, "question_id": question, "response": response });
        device.ask("learning_answer", request).await;
        // The last one of a day stays open overnight, and is handed in by nobody.
        if answer % ANSWERS_A_SESSION == ANSWERS_A_SESSION - 1 && answer + 1 < ANSWERS_A_DAY {
            device.ask("learning_finish", json!({ "session_id": session })).await;
        }
    }
    let page = &course.pages[(day as usize * 2 + number) % course.pages.len()];
    device.ask("learning_complete", json!({ "lesson_id": page })).await;
}

/// One of the learner's devices.
enum Device {
    Window(Window),
    Host(Process, Browser),
}

impl Device {
    /// The second device, on its data.
    async fn other(desk: &Desk) -> Self {
        Self::host(desk, &desk.folder().join("other")).await
    }

    async fn host(desk: &Desk, data: &Path) -> Self {
        let mut command = Command::new(built("carrel-host"));
        command.arg("--data").arg(data).env("CARREL_CLOCK_AHEAD_SECONDS", desk.clock_ahead.as_secs().to_string());
        let mut process = Process::start(&mut command, &data.with_extension("log")).unwrap();
        let link = process.wait_for(START_LIMIT, |log| Some(log.split_once("Open ")?.1.split_once('\n')?.0.to_owned()));
        let browser = Browser::enter(&link.await.unwrap()).await.unwrap();
        Self::Host(process, browser)
    }

    async fn sign_in(&self, desk: &Desk) {
        let request = json!({ "service_url": desk.relay.url(), "name": LEARNER, "password": PASSWORD });
        self.ask("access_sign_in", request).await;
        self.ask("catalogue_refresh", Value::Null).await;
    }

    async fn kill(self) {
        match self {
            Self::Window(window) => window.kill().await,
            Self::Host(mut process, _) => process.kill(),
        }
    }

    /// Calls a command as the page does; it must be acknowledged.
    async fn ask(&self, command: &str, request: Value) -> Value {
        match self {
            Self::Window(window) => {
                let answer = window.invoke(command, json!({ "request": request })).await;
                assert!(answer.get("error").is_none(), "{command}: {answer}");
                answer["ok"].clone()
            }
            Self::Host(_, browser) => {
                let (status, answer) = browser.call(command, &request).await.unwrap();
                assert_eq!(status, 200, "{command}: {answer}");
                answer
            }
        }
    }

    /// Answers that wait on this device.
    async fn answers_kept(&self) -> usize {
        let export = self.ask("outbox_export", Value::Null).await;
        let file: Value = serde_json::from_str(export["content"].as_str().unwrap()).unwrap();
        file["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "answer.recorded").count()
    }

    async fn is_quiet(&self) -> bool {
        let sync = self.ask("sync_status", Value::Null).await;
        assert_eq!(sync["refused"], 0, "{sync}");
        sync["waiting"] == 0
            && sync["syncing"] == false
            && sync["last_error"].is_null()
            && !sync["last_success_at"].is_null()
    }

    async fn until_quiet(&self) {
        let began = Instant::now();
        while !self.is_quiet().await {
            assert!(began.elapsed() < LIMIT * 2, "it does not come to rest");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until everything is sent and fetched, looking all the time: nothing that is seen goes backwards.
    async fn comes_back(&self, course: &Course) {
        let began = Instant::now();
        if let Self::Window(window) = self {
            screens::open_unit(window, &course.units[0]).await;
            window.see(&hook("lesson-row")).await;
        }
        let mut before = self.glance(course).await;
        let mut painted = self.painted().await;
        loop {
            // Asked before the look: what is seen in the end is what there is in the end.
            let quiet = self.is_quiet().await;
            let now = self.glance(course).await;
            now.is_not_behind(&before);
            before = now;
            let now = self.painted().await;
            for (lesson, rank) in &painted {
                assert!(now.get(lesson).is_none_or(|now| now >= rank), "{lesson} went back on the screen");
            }
            painted = now;
            if quiet {
                return;
            }
            assert!(began.elapsed() < LIMIT * 3, "it does not come to rest");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The state of each lesson in the unit that is painted now; nothing where there is no window.
    async fn painted(&self) -> BTreeMap<String, usize> {
        let Self::Window(window) = self else { return BTreeMap::new() };
        let script = "return [...document.querySelectorAll('[data-testid=lesson-row]')]
            .map(row => [row.dataset.lessonId, row.dataset.status])";
        let rows = window.script(script, vec![]).await;
        rows.as_array().unwrap().iter().map(|row| (text(&row[0]), rank(&row[1]))).collect()
    }

    /// Everything a learner can see of their own work.
    async fn glance(&self, course: &Course) -> Glance {
        let mut glance = Glance::default();
        for unit in &course.units {
            let view = self.ask("catalogue_unit", json!({ "unit_id": unit })).await;
            for lesson in view["lessons"].as_array().unwrap() {
                let mut progress = lesson["progress"].clone();
                progress.as_object_mut().unwrap().remove("unsent");
                glance.lessons.insert(text(&lesson["id"]), progress);
            }
        }
        for (lesson, _) in &course.quizzes {
            let view = self.ask("learning_quiz", json!({ "lesson_id": lesson })).await;
            let answers = view["answers"].as_object().unwrap();
            let said = answers.iter().map(|(id, answer)| (id.clone(), answer["response"].clone())).collect();
            glance.quizzes.insert(lesson.clone(), (view["session"].clone(), said));
        }
        glance
    }
}

/// What a learner sees: progress by lesson; session and answers by quiz.
#[derive(Debug, Default, PartialEq)]
struct Glance {
    lessons: BTreeMap<String, Value>,
    quizzes: BTreeMap<String, (Value, BTreeMap<String, Value>)>,
}

impl Glance {
    /// What was reached stays reached: neither state nor share of a lesson shrinks, a completion stays and gets no later,
    /// the quiz shown is the same or a later one, and an answered question stays answered.
    fn is_not_behind(&self, before: &Self) {
        for (lesson, was) in &before.lessons {
            let is = &self.lessons[lesson];
            assert!(rank(&is["status"]) >= rank(&was["status"]), "{lesson}: {was} became {is}");
            assert!(is["percent"].as_u64() >= was["percent"].as_u64(), "{lesson}: {was} became {is}");
            if let Some(completed) = was["completed_at"].as_str() {
                assert!(is["completed_at"].as_str().is_some_and(|now| now <= completed), "{lesson}: {was} became {is}");
            }
        }
        for (lesson, (was, answered)) in &before.quizzes {
            let (is, now) = &self.quizzes[lesson];
            assert!(is["attempt"].as_u64() >= was["attempt"].as_u64(), "{lesson}: {was} became {is}");
            if is["id"] == was["id"] {
                let missing: BTreeSet<_> = answered.keys().filter(|question| !now.contains_key(*question)).collect();
                assert!(missing.is_empty(), "{lesson}: no answers any more to {missing:?}");
            }
        }
    }
}

/// How far a status is.
fn rank(status: &Value) -> usize {
    let order = ["not_started", "in_progress", "completed"];
    order.iter().position(|known| status == known).unwrap_or_else(|| panic!("a status of its own: {status}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

async fn the_service_has_the_same(desk: &Desk, seen: &Glance, answers: usize) {
    assert!(answers >= 2 * DAYS as usize * ANSWERS_A_DAY, "{answers} answers waited");
    let rows = "SELECT lesson_id || ' ' || status || ' ' || percent || ' ' || coalesce(position, 0) FROM progress \
                WHERE attempt = 1 ORDER BY lesson_id";
    let there: BTreeSet<String> = desk.service.texts(rows).await.into_iter().collect();
    let begun = seen.lessons.iter().filter(|(_, progress)| progress["status"] != "not_started");
    let here = begun.map(|(lesson, progress)| {
        format!("{lesson} {} {} {}", text(&progress["status"]), progress["percent"], progress["position"])
    });
    assert_eq!(here.collect::<BTreeSet<_>>(), there, "the same at the service");

    assert_eq!(desk.service.count("SELECT count(*) FROM answers").await, i64::try_from(answers).unwrap(), "each once");
    let typed = "SELECT count(DISTINCT response) FROM answers WHERE response LIKE '%answer%'";
    let expected = 2 * DAYS as usize * ANSWERS_A_DAY;
    assert_eq!(desk.service.count(typed).await, i64::try_from(expected).unwrap(), "and all of them");
    let twice = "SELECT count(*) FROM (SELECT 1 FROM sync_log WHERE outcome IN ('applied', 'superseded') \
                 GROUP BY device_id, op_seq HAVING count(*) > 1)";
    assert_eq!(desk.service.count(twice).await, 0, "nothing had its effect twice");
    assert_eq!(
        desk.service.count("SELECT count(*) FROM sync_log WHERE outcome = 'rejected'").await,
        0,
        "nothing is refused"
    );
    for (lesson, (session, _)) in &seen.quizzes {
        let query = format!("SELECT count(*) FROM sessions WHERE session_id = '{}'", text(&session["id"]));
        assert_eq!(desk.service.count(&query).await, 1, "the session shown of {lesson} is the service's");
    }
}
