//! What the learner was told: acknowledged, or in doubt because no answer came.

use std::collections::{BTreeMap, BTreeSet};

/// The learner's own list.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Answers that were acknowledged, each a text of its own.
    pub(crate) answers: BTreeSet<String>,
    /// Answers of which nobody knows.
    pub(crate) doubtful_answers: BTreeSet<String>,
    /// For each lesson: the place that was acknowledged last, and those after it of which nobody knows.
    pub(crate) places: BTreeMap<String, (Option<u64>, BTreeSet<u64>)>,
    /// Lessons whose completion was acknowledged.
    pub(crate) completed: BTreeSet<String>,
    /// How many commands were acknowledged.
    pub(crate) acknowledged: u64,
    /// How often an acknowledged answer was not shown any more after a start.
    pub(crate) forgotten: u64,
}

/// The ledger in numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) acknowledged: u64,
    pub(crate) answers: usize,
    pub(crate) in_doubt: usize,
}

impl Ledger {
    pub(crate) fn answered(&mut self, text: String, acknowledged: bool) {
        self.acknowledged += u64::from(acknowledged);
        let list = if acknowledged { &mut self.answers } else { &mut self.doubtful_answers };
        list.insert(text);
    }

    pub(crate) fn reached(&mut self, lesson: &str, position: u64, acknowledged: bool) {
        self.acknowledged += u64::from(acknowledged);
        let (last, doubtful) = self.places.entry(lesson.to_owned()).or_default();
        if acknowledged {
            *last = Some(position);
            doubtful.clear();
        } else {
            doubtful.insert(position);
        }
    }

    pub(crate) fn completed(&mut self, lesson: &str, acknowledged: bool) {
        if acknowledged {
            self.acknowledged += 1;
            self.completed.insert(lesson.to_owned());
        }
    }

    pub(crate) fn counted(&self) -> Counted {
        let places: usize = self.places.values().map(|(_, doubtful)| doubtful.len()).sum();
        Counted {
            acknowledged: self.acknowledged,
            answers: self.answers.len(),
            in_doubt: self.doubtful_answers.len() + places,
        }
    }
}
