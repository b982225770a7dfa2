//! The service's database beside the learner's list.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Failure, learner::Desk, ledger::Ledger, site::Site};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Acknowledged, and not there.
    pub(crate) lost: u64,
    /// There, or counted, more than once.
    pub(crate) duplicated: u64,
    /// Neither acknowledged nor in doubt, refused, or shown otherwise than it is.
    pub(crate) wrong: u64,
    /// Each in words.
    pub(crate) lines: Vec<String>,
}

pub(crate) async fn look(ledger: &Ledger, site: &Site, desk: &Desk) -> Result<Verdict, Failure> {
    let mut verdict = Verdict::default();
    verdict.answers(ledger, &site.texts("SELECT response FROM answers").await?);
    verdict.progress(ledger, site, desk).await?;

    let twice = "SELECT device_id || ':' || op_seq FROM sync_log WHERE outcome IN ('applied', 'superseded')
                 GROUP BY device_id, op_seq HAVING count(*) > 1";
    for key in site.texts(twice).await? {
        verdict.duplicated += 1;
        verdict.lines.push(format!("op {key} had its effect twice"));
    }
    for refused in
        site.texts("SELECT action || ' ' || outcome || ' ' || data FROM sync_log WHERE outcome = 'rejected'").await?
    {
        verdict.wrong += 1;
        verdict.lines.push(format!("the service refused {refused}"));
    }
    let log = site.log();
    if log.contains("panicked") {
        verdict.wrong += 1;
        verdict.lines.push(log);
    }
    Ok(verdict)
}

impl Verdict {
    fn answers(&mut self, ledger: &Ledger, responses: &[String]) {
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for response in responses {
            let text = serde_json::from_str::<Value>(response).ok();
            let text = text.as_ref().and_then(|value| value.get("text")?.as_str()).unwrap_or(response);
            *found.entry(text.to_owned()).or_default() += 1;
        }
        for answer in ledger.answers.iter().filter(|answer| !found.contains_key(*answer)) {
            self.lost += 1;
            self.lines.push(format!("the answer {answer:?} is lost"));
        }
        for (answer, times) in found {
            if times > 1 {
                self.duplicated += 1;
                self.lines.push(format!("the answer {answer:?} is there {times} times"));
            }
            if !ledger.answers.contains(&answer) && !ledger.doubtful_answers.contains(&answer) {
                self.wrong += 1;
                self.lines.push(format!("the answer {answer:?} was never given"));
            }
        }
    }

    async fn progress(&mut self, ledger: &Ledger, site: &Site, desk: &Desk) -> Result<(), Failure> {
        let rows = "SELECT lesson_id || ' ' || status || ' ' || coalesce(position, 0) FROM progress WHERE attempt = 1";
        let mut found: BTreeMap<String, (String, u64)> = BTreeMap::new();
        for row in site.texts(rows).await? {
            if let [lesson, status, position] = *row.split(' ').collect::<Vec<_>>().as_slice() {
                found.insert(lesson.to_owned(), (status.to_owned(), position.parse()?));
            }
        }
        for lesson in &ledger.completed {
            if found.get(lesson).is_none_or(|(status, _)| status != "completed") {
                self.lost += 1;
                self.lines.push(format!("the completion of {lesson} is lost"));
            }
        }
        for (lesson, (acknowledged, doubtful)) in &ledger.places {
            let position = found.get(lesson).map(|(_, position)| *position);
            let right =
                position.is_some_and(|position| Some(position) == *acknowledged || doubtful.contains(&position));
            if acknowledged.is_some() && !right {
                self.lost += 1;
                self.lines
                    .push(format!("the place in {lesson} is {position:?}, and was {acknowledged:?} or {doubtful:?}"));
            }
            let shown = desk.shown(lesson).await?.get("position").and_then(Value::as_u64);
            if shown.unwrap_or(0) != position.unwrap_or(0) {
                self.wrong += 1;
                self.lines.push(format!("the place in {lesson} is {position:?}, and {shown:?} is shown"));
            }
        }
        Ok(())
    }
}
