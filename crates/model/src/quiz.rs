//! Questions, responses and their grading.
//!
//! Practice quizzes are graded on the device and by the service with this same code, so that both say the same.

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
        /// Shown after answering.
        #[serde(default)]
        pub explanation: String,
        /// What it is worth.
        pub points: u32,
        /// How it is answered.
        pub body: QuestionBody,
    }

    /// The kinds of questions.
    #[derive(Eq)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    pub enum QuestionBody {
        /// One of several.
        Single {
            /// To choose from.
            options: Vec<Choice>,
            /// Id of the right one.
            correct: String,
        },
        /// Any number of several.
        Multiple {
            /// To choose from.
            options: Vec<Choice>,
            /// Ids of the right ones.
            correct: Vec<String>,
        },
        /// Bring into order.
        Order {
            /// To be ordered.
            options: Vec<Choice>,
            /// All ids in the right order.
            correct: Vec<String>,
        },
        /// Pair up.
        Match {
            /// One side.
            left: Vec<Choice>,
            /// The other side.
            right: Vec<Choice>,
            /// Left id to right id.
            correct: BTreeMap<String, String>,
        },
        /// A word or two.
        ShortText {
            /// What is accepted; compared without case, surrounding space and diacritics.
            accept: Vec<String>,
        },
        /// A number, as decimal text so that no precision is invented.
        Numeric {
            /// The right value.
            value: String,
            /// How far off is still right.
            tolerance: String,
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
    }
}

/// The longest text a response may hold, in bytes of UTF-8.
pub const MAX_RESPONSE_BYTES: usize = 16 * 1024;

/// How many choices a response may name.
pub const MAX_RESPONSE_CHOICES: usize = 200;

impl Question {
    /// Whether a response answers this question rightly; a response of another kind does not.
    #[must_use]
    pub fn is_correct(&self, response: &Response) -> bool {
        match (&self.body, response) {
            (QuestionBody::Single { correct, .. }, Response::Single { option }) => correct == option,
            (QuestionBody::Multiple { correct, .. }, Response::Multiple { options }) => {
                correct.iter().collect::<BTreeSet<_>>() == options.iter().collect::<BTreeSet<_>>()
            }
            (QuestionBody::Order { correct, .. }, Response::Order { options }) => correct == options,
            (QuestionBody::Match { correct, .. }, Response::Match { pairs }) => correct == pairs,
            (QuestionBody::ShortText { accept }, Response::ShortText { text }) => {
                let given = folded(text);
                !given.is_empty() && accept.iter().any(|accepted| folded(accepted) == given)
            }
            (QuestionBody::Numeric { value, tolerance, .. }, Response::Numeric { value: given }) => {
                match (number(value), number(given)) {
                    (Some(value), Some(given)) => (value - given).abs() <= number(tolerance).unwrap_or(0.0) + 1e-9,
                    _ => false,
                }
            }
            _ => false,
        }
    }
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

    #[test]
    fn typed_answers_are_read_as_a_person_means_them() {
        let cafe = question(QuestionBody::ShortText { accept: vec!["Café au lait".into(), "نَهْر".into()] });
        for (text, right) in [(" cafe  AU lait", true), ("نهر", true), ("نـهر", true), ("tea", false), ("", false)]
        {
            assert_eq!(cafe.is_correct(&Response::ShortText { text: text.into() }), right, "{text:?}");
        }
        let nile = question(QuestionBody::Numeric { value: "6650".into(), tolerance: "50".into(), unit: "km".into() });
        for (value, right) in [("6650", true), ("٦٧٠٠", true), ("6600.0", true), ("6599", false), ("NaN", false)] {
            assert_eq!(nile.is_correct(&Response::Numeric { value: value.into() }), right, "{value:?}");
        }
        assert!(!nile.is_correct(&Response::ShortText { text: "6650".into() }), "another kind is not an answer");
    }
}
