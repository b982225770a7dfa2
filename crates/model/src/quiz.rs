//! Questions, responses and their grading.
//!
//! Practice quizzes are graded on the device and by the service with this same code, so that both say the same. The
//! solutions of all others stay with the service: on a device their questions come without, and can't be graded there.

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

wire! {
    /// The questions of a quiz lesson.
    #[derive(Eq)]
    pub struct Quiz {
        /// From this percentage of points on it is passed.
        pub passing_percent: u8,
        /// Graded on the device, with the solution shown afterwards.
        pub practice: bool,
        /// In order.
        pub questions: Vec<Question>,
    }

    /// One question.
    #[derive(Eq)]
    pub struct Question {
        /// Unique within the quiz.
        pub id: String,
        /// What is asked.
        pub prompt: String,
        /// Shown after answering. Says what is right, so it travels with the solution only.
        #[serde(default)]
        pub explanation: String,
        /// What it is worth.
        pub points: u32,
        /// How it is answered.
        pub body: QuestionBody,
    }

    /// The kinds of questions. What is right is missing where it is not for the reader.
    #[derive(Eq)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    pub enum QuestionBody {
        /// One of several.
        Single {
            /// To choose from.
            options: Vec<Choice>,
            /// Id of the right one.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "ts", ts(optional = nullable))]
            correct: Option<String>,
        },
        /// Any number of several.
        Multiple {
            /// To choose from.
            options: Vec<Choice>,
            /// Ids of the right ones.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "ts", ts(optional = nullable))]
            correct: Option<Vec<String>>,
        },
        /// Bring into order.
        Order {
            /// To be ordered.
            options: Vec<Choice>,
            /// All ids in the right order.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "ts", ts(optional = nullable))]
            correct: Option<Vec<String>>,
        },
        /// Pair up.
        Match {
            /// One side.
            left: Vec<Choice>,
            /// The other side.
            right: Vec<Choice>,
            /// Left id to right id.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "ts", ts(optional = nullable))]
            correct: Option<BTreeMap<String, String>>,
        },
        /// A word or two.
        ShortText {
            /// What is accepted; compared without case, surrounding space and diacritics.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "ts", ts(optional = nullable))]
            accept: Option<Vec<String>>,
        },
        /// A number, as decimal text so that no precision is invented.
        Numeric {
            /// The right value.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "ts", ts(optional = nullable))]
            value: Option<String>,
            /// How far off is still right.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "ts", ts(optional = nullable))]
            tolerance: Option<String>,
            /// Shown behind the field.
            unit: String,
        },
    }

    /// Something to choose.
    #[derive(Eq)]
    pub struct Choice {
        /// Unique within the question.
        pub id: String,
        /// What it says.
        pub text: String,
    }

    /// What a learner answered. `kind` names the kind of question it answers.
    #[derive(Eq)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    pub enum Response {
        /// The chosen option.
        Single {
            /// Its id.
            option: String,
        },
        /// The chosen options.
        Multiple {
            /// Their ids, in any order.
            options: Vec<String>,
        },
        /// All options in the learner's order.
        Order {
            /// Their ids.
            options: Vec<String>,
        },
        /// The learner's pairs.
        Match {
            /// Left id to right id.
            pairs: BTreeMap<String, String>,
        },
        /// The typed text.
        ShortText {
            /// As typed.
            text: String,
        },
        /// The typed number.
        Numeric {
            /// As typed, in Western digits with a point.
            value: String,
        },
        /// In a review: how well the learner remembered, by their own account.
        Recall {
            /// How well.
            rating: Rating,
        },
    }

    /// What a finished quiz came to.
    #[derive(Copy, Eq, PartialOrd, Ord, Default)]
    pub struct Grade {
        /// Questions answered.
        pub answered: u32,
        /// Of those, right.
        pub correct: u32,
        /// Points reached.
        pub points: u32,
        /// Points there were.
        pub max_points: u32,
        /// Whether that is enough.
        pub passed: bool,
    }
}

words! {
    /// How well something was remembered.
    pub enum Rating {
        /// Not.
        Again = "again",
        /// With trouble.
        Hard = "hard",
        /// Well.
        Good = "good",
        /// At once.
        Easy = "easy",
    }
}

/// The longest text a response may hold, in bytes of UTF-8.
pub const MAX_RESPONSE_BYTES: usize = 16 * 1024;

/// How many choices a response may name.
pub const MAX_RESPONSE_CHOICES: usize = 200;

impl Quiz {
    /// The quiz as it travels to learners: with solutions only where it is for practice.
    #[must_use]
    pub fn for_learners(mut self) -> Self {
        if !self.practice {
            self.questions.iter_mut().for_each(Question::take_solution_away);
        }
        self
    }

    /// What answers come to: the one that counts for each question, by its id. None where solutions are missing.
    #[must_use]
    pub fn grade<'a>(&self, answers: impl IntoIterator<Item = (&'a str, &'a Response)>) -> Option<Grade> {
        let answers: BTreeMap<&str, &Response> = answers.into_iter().collect();
        let mut grade = Grade::default();
        for question in &self.questions {
            grade.max_points = grade.max_points.saturating_add(question.points);
            if !question.has_solution() {
                return None;
            }
            let Some(response) = answers.get(question.id.as_str()) else { continue };
            grade.answered += 1;
            if question.is_correct(response)? {
                grade.correct += 1;
                grade.points = grade.points.saturating_add(question.points);
            }
        }
        let needed = u64::from(grade.max_points) * u64::from(self.passing_percent);
        grade.passed = u64::from(grade.points) * 100 >= needed;
        Some(grade)
    }
}

impl Question {
    /// Whether a response answers this question rightly; a response of another kind does not. None where the solution is
    /// not here.
    #[must_use]
    pub fn is_correct(&self, response: &Response) -> Option<bool> {
        if !self.has_solution() {
            return None;
        }
        Some(match (&self.body, response) {
            (QuestionBody::Single { correct, .. }, Response::Single { option }) => correct.as_ref() == Some(option),
            (QuestionBody::Multiple { correct, .. }, Response::Multiple { options }) => {
                let set = |ids: &Vec<String>| ids.iter().cloned().collect::<BTreeSet<_>>();
                correct.as_ref().map(set) == Some(set(options))
            }
            (QuestionBody::Order { correct, .. }, Response::Order { options }) => correct.as_ref() == Some(options),
            (QuestionBody::Match { correct, .. }, Response::Match { pairs }) => correct.as_ref() == Some(pairs),
            (QuestionBody::ShortText { accept }, Response::ShortText { text }) => {
                let given = folded(text);
                !given.is_empty() && accept.iter().flatten().any(|accepted| folded(accepted) == given)
            }
            (QuestionBody::Numeric { value, tolerance, .. }, Response::Numeric { value: given }) => {
                match (value.as_deref().and_then(number), number(given)) {
                    (Some(value), Some(given)) => {
                        let tolerance = tolerance.as_deref().and_then(number).unwrap_or(0.0);
                        (value - given).abs() <= tolerance + 1e-9
                    }
                    _ => false,
                }
            }
            _ => false,
        })
    }

    /// Whether what is right is here.
    #[must_use]
    pub const fn has_solution(&self) -> bool {
        match &self.body {
            QuestionBody::Single { correct, .. } => correct.is_some(),
            QuestionBody::Multiple { correct, .. } | QuestionBody::Order { correct, .. } => correct.is_some(),
            QuestionBody::Match { correct, .. } => correct.is_some(),
            QuestionBody::ShortText { accept } => accept.is_some(),
            QuestionBody::Numeric { value, .. } => value.is_some(),
        }
    }

    /// Whether a response is of the kind this question asks for.
    #[must_use]
    pub const fn fits(&self, response: &Response) -> bool {
        matches!(
            (&self.body, response),
            (QuestionBody::Single { .. }, Response::Single { .. })
                | (QuestionBody::Multiple { .. }, Response::Multiple { .. })
                | (QuestionBody::Order { .. }, Response::Order { .. })
                | (QuestionBody::Match { .. }, Response::Match { .. })
                | (QuestionBody::ShortText { .. }, Response::ShortText { .. })
                | (QuestionBody::Numeric { .. }, Response::Numeric { .. })
        )
    }

    /// Leaves what is asked. An author often writes things down in their right order, so that order goes, too.
    fn take_solution_away(&mut self) {
        self.explanation.clear();
        match &mut self.body {
            QuestionBody::Single { correct, .. } => *correct = None,
            QuestionBody::Multiple { correct, .. } => *correct = None,
            QuestionBody::Order { options, correct } => {
                *correct = None;
                mix(&self.id, options);
            }
            QuestionBody::Match { right, correct, .. } => {
                *correct = None;
                mix(&self.id, right);
            }
            QuestionBody::ShortText { accept } => *accept = None,
            QuestionBody::Numeric { value, tolerance, .. } => (*value, *tolerance) = (None, None),
        }
    }
}

/// An order that says nothing and is the same for everybody, so that a unit doesn't change by being read.
fn mix(question: &str, choices: &mut [Choice]) {
    choices.sort_by_cached_key(|choice| {
        *blake3::Hasher::new()
            .update(question.as_bytes())
            .update(b"\0")
            .update(choice.id.as_bytes())
            .finalize()
            .as_bytes()
    });
}

impl Response {
    /// Whether it is small enough to be kept and sent.
    #[must_use]
    pub fn is_within_limits(&self) -> bool {
        let (choices, bytes) = match self {
            Self::Single { option } => (1, option.len()),
            Self::Multiple { options } | Self::Order { options } => {
                (options.len(), options.iter().map(String::len).sum())
            }
            Self::Match { pairs } => (pairs.len(), pairs.iter().map(|(left, right)| left.len() + right.len()).sum()),
            Self::ShortText { text } => (1, text.len()),
            Self::Numeric { value } => (1, value.len()),
            Self::Recall { .. } => (1, 0),
        };
        choices <= MAX_RESPONSE_CHOICES && bytes <= MAX_RESPONSE_BYTES
    }
}

/// Case, diacritics (Arabic vowel marks too), tatweel and runs of white space don't make an answer wrong.
fn folded(text: &str) -> String {
    let plain: String = text.nfkd().filter(|c| !is_combining_mark(*c) && *c != 'ـ').collect();
    plain.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a decimal, with Arabic-Indic digits and either decimal mark.
fn number(text: &str) -> Option<f64> {
    let western: String = text
        .trim()
        .chars()
        .filter_map(|c| match c {
            '٠'..='٩' => char::from_digit(u32::from(c) - u32::from('٠'), 10),
            '۰'..='۹' => char::from_digit(u32::from(c) - u32::from('۰'), 10),
            ',' | '٫' => Some('.'),
            '−' => Some('-'),
            '\u{200e}' | '\u{200f}' => None,
            other => Some(other),
        })
        .collect();
    western.parse().ok().filter(|n: &f64| n.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(body: QuestionBody) -> Question {
        Question { id: "q".into(), prompt: String::new(), explanation: String::new(), points: 1, body }
    }

    fn choices(ids: &[&str]) -> Vec<Choice> {
        ids.iter().map(|id| Choice { id: (*id).into(), text: id.to_uppercase() }).collect()
    }

    #[test]
    fn typed_answers_are_read_as_a_person_means_them() {
        let cafe =
            question(QuestionBody::ShortText { accept: Some(vec!["Café au lait".into(), "نَهْر".into()]) });
        for (text, right) in [(" cafe  AU lait", true), ("نهر", true), ("نـهر", true), ("tea", false), ("", false)]
        {
            assert_eq!(cafe.is_correct(&Response::ShortText { text: text.into() }), Some(right), "{text:?}");
        }
        let (value, tolerance) = (Some("6650".into()), Some("50".into()));
        let nile = question(QuestionBody::Numeric { value, tolerance, unit: "km".into() });
        for (value, right) in [("6650", true), ("٦٧٠٠", true), ("6600.0", true), ("6599", false), ("NaN", false)] {
            assert_eq!(nile.is_correct(&Response::Numeric { value: value.into() }), Some(right), "{value:?}");
        }
        assert_eq!(
            nile.is_correct(&Response::ShortText { text: "6650".into() }),
            Some(false),
            "another kind is no answer"
        );
    }

    /// One question of each kind, each worth its place.
    fn every_kind(practice: bool) -> Quiz {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let bodies = [
            QuestionBody::Single { options: choices(&["a", "b"]), correct: Some("b".into()) },
            QuestionBody::Multiple { options: choices(&["a", "b", "c"]), correct: Some(ids(&["a", "c"])) },
            QuestionBody::Order { options: choices(&["a", "b", "c"]), correct: Some(ids(&["c", "a", "b"])) },
            QuestionBody::Match {
                left: choices(&["l", "m"]),
                right: choices(&["r", "s"]),
                correct: Some([("l".into(), "s".into()), ("m".into(), "r".into())].into()),
            },
            QuestionBody::ShortText { accept: Some(ids(&["silt"])) },
            QuestionBody::Numeric { value: Some("0.4".into()), tolerance: Some("0.01".into()), unit: "m/s".into() },
        ];
        let questions = bodies.into_iter().zip(1..).map(|(body, n)| Question {
            id: format!("q{n}"),
            points: n,
            explanation: "It is so because".into(),
            ..question(body)
        });
        Quiz { passing_percent: 60, practice, questions: questions.collect() }
    }

    fn right_answers() -> Vec<Response> {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        vec![
            Response::Single { option: "b".into() },
            Response::Multiple { options: ids(&["c", "a"]) },
            Response::Order { options: ids(&["c", "a", "b"]) },
            Response::Match { pairs: [("l".into(), "s".into()), ("m".into(), "r".into())].into() },
            Response::ShortText { text: " Silt".into() },
            Response::Numeric { value: "0.405".into() },
        ]
    }

    #[test]
    fn every_kind_of_question_is_graded_and_points_decide() {
        let quiz = every_kind(false);
        let right = right_answers();
        let all: Vec<_> = quiz.questions.iter().map(|question| question.id.as_str()).zip(&right).collect();
        let full = Grade { answered: 6, correct: 6, points: 21, max_points: 21, passed: true };
        assert_eq!(quiz.grade(all.iter().copied()), Some(full));
        for missing in 0..6 {
            let some = all.iter().enumerate().filter(|(place, _)| *place != missing).map(|(_, answer)| *answer);
            let points = 21 - u32::try_from(missing).unwrap() - 1;
            let grade = Grade { answered: 5, correct: 5, points, ..full };
            assert_eq!(quiz.grade(some), Some(grade), "each counts for itself");
        }
        let (low, high) =
            (quiz.grade(all.iter().take(4).copied()).unwrap(), quiz.grade(all.iter().skip(3).copied()).unwrap());
        assert_eq!((low.points, low.passed), (10, false), "four of six answers, and less than 60 % of the points");
        assert_eq!((high.points, high.passed), (15, true), "three of six, and more");
        let rotated = all.iter().map(|(id, _)| *id).zip(right.iter().cycle().skip(1));
        assert_eq!(quiz.grade(rotated).unwrap().correct, 0, "an answer of another kind is not right");
    }

    #[test]
    fn solutions_of_graded_quizzes_are_not_for_learners() {
        let shown = every_kind(false).for_learners();
        assert!(shown.questions.iter().all(|question| !question.has_solution()));
        assert_eq!(shown.grade([]), None, "without solutions nothing can be graded");
        let text = serde_json::to_string(&shown).unwrap();
        for secret in ["correct", "accept", "because", "0.4", "0.01", "silt"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        let read: Quiz = serde_json::from_str(&text).unwrap();
        assert_eq!(read, shown, "and it can be read on the other side");
        assert_eq!(shown.clone().for_learners(), shown, "once is enough");
        assert_eq!(every_kind(true).for_learners(), every_kind(true), "practice comes whole");
    }

    #[test]
    fn the_order_in_which_an_author_wrote_gives_nothing_away() {
        let ids: Vec<String> = (0..12).map(|n| format!("step{n}")).collect();
        let options: Vec<Choice> = ids.iter().map(|id| Choice { id: id.clone(), text: id.clone() }).collect();
        let written = question(QuestionBody::Order { options: options.clone(), correct: Some(ids) });
        let quiz = Quiz { passing_percent: 60, practice: false, questions: vec![written] };
        let QuestionBody::Order { options: shown, .. } = &quiz.for_learners().questions[0].body else {
            panic!("order")
        };
        assert_ne!(*shown, options, "the right order was the order of writing");
        let mut sorted = shown.clone();
        sorted.sort_by_key(|choice| options.iter().position(|option| option == choice));
        assert_eq!(sorted, options, "nothing is missing");
    }
}
