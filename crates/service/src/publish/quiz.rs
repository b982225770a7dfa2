//! The questions of a quiz: read, and checked so that each can be answered rightly.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::quiz::{Choice, Question, QuestionBody, Quiz};
use serde::Deserialize;

use super::{error::ContentProblem, front_matter::LessonToml};

/// A question in front matter.
#[derive(Debug, Deserialize)]
pub(super) struct QuestionToml {
    id: String,
    prompt: String,
    #[serde(default)]
    explanation: String,
    #[serde(default = "one")]
    points: u32,
    #[serde(flatten)]
    body: BodyToml,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum BodyToml {
    Single {
        options: Vec<Choice>,
        correct: String,
    },
    Multiple {
        options: Vec<Choice>,
        correct: Vec<String>,
    },
    Order {
        options: Vec<Choice>,
        correct: Vec<String>,
    },
    Match {
        left: Vec<Choice>,
        right: Vec<Choice>,
        correct: BTreeMap<String, String>,
    },
    ShortText {
        accept: Vec<String>,
    },
    Numeric {
        value: Number,
        #[serde(default)]
        tolerance: Number,
        #[serde(default)]
        unit: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(i64),
    Decimal(f64),
    Text(String),
}

impl Default for Number {
    fn default() -> Self {
        Self::Whole(0)
    }
}

const fn one() -> u32 {
    1
}

/// The quiz of a lesson.
pub(super) fn quiz(toml: LessonToml) -> Result<Quiz, ContentProblem> {
    if toml.questions.is_empty() {
        return Err(ContentProblem::value("questions", "a quiz has at least one"));
    }
    if toml.passing_percent > 100 {
        return Err(ContentProblem::value("passing_percent", "0 to 100"));
    }
    let mut ids = BTreeSet::new();
    let mut questions = Vec::with_capacity(toml.questions.len());
    for question in toml.questions {
        if question.id.is_empty() || question.id.len() > 100 || !ids.insert(question.id.clone()) {
            let reason = "ids are unique and have 1 to 100 bytes".to_owned();
            return Err(ContentProblem::Question { id: question.id, reason });
        }
        let id = question.id.clone();
        questions.push(checked(question).map_err(|reason| ContentProblem::Question { id, reason })?);
    }
    Ok(Quiz { passing_percent: toml.passing_percent, practice: toml.practice, questions })
}

fn checked(question: QuestionToml) -> Result<Question, String> {
    let body = match question.body {
        BodyToml::Single { options, correct } => {
            among(&correct, &ids(&options)?)?;
            QuestionBody::Single { options, correct: Some(correct) }
        }
        BodyToml::Multiple { options, correct } => {
            let known = ids(&options)?;
            correct.iter().try_for_each(|id| among(id, &known))?;
            unique(&correct)?;
            if correct.is_empty() {
                return Err("at least one option is correct".to_owned());
            }
            QuestionBody::Multiple { options, correct: Some(correct) }
        }
        BodyToml::Order { options, correct } => {
            let known = ids(&options)?;
            correct.iter().try_for_each(|id| among(id, &known))?;
            if unique(&correct)? != known {
                return Err("correct lists every option once".to_owned());
            }
            QuestionBody::Order { options, correct: Some(correct) }
        }
        BodyToml::Match { left, right, correct } => {
            let (left_ids, right_ids) = (ids(&left)?, ids(&right)?);
            correct.values().try_for_each(|id| among(id, &right_ids))?;
            if correct.keys().map(String::as_str).collect::<BTreeSet<_>>() != left_ids {
                return Err("correct has every id of the left side".to_owned());
            }
            QuestionBody::Match { left, right, correct: Some(correct) }
        }
        BodyToml::ShortText { accept } => {
            if accept.is_empty() || accept.iter().any(|text| text.trim().is_empty()) {
                return Err("accept lists at least one text, and none is empty".to_owned());
            }
            QuestionBody::ShortText { accept: Some(accept) }
        }
        BodyToml::Numeric { value, tolerance, unit } => {
            QuestionBody::Numeric { value: Some(decimal(value)?), tolerance: Some(decimal(tolerance)?), unit }
        }
    };
    if question.prompt.trim().is_empty() {
        return Err("the prompt is empty".to_owned());
    }
    Ok(Question {
        id: question.id,
        prompt: question.prompt,
        explanation: question.explanation,
        points: question.points,
        body,
    })
}

fn ids(choices: &[Choice]) -> Result<BTreeSet<&str>, String> {
    let ids: BTreeSet<&str> = choices.iter().map(|choice| choice.id.as_str()).collect();
    if ids.len() != choices.len() || ids.contains("") {
        return Err("the ids of options are unique and not empty".to_owned());
    }
    if ids.len() < 2 {
        return Err("there are at least two options".to_owned());
    }
    Ok(ids)
}

fn among(id: &str, known: &BTreeSet<&str>) -> Result<(), String> {
    if known.contains(id) { Ok(()) } else { Err(format!("{id:?} is not one of the options")) }
}

fn unique(list: &[String]) -> Result<BTreeSet<&str>, String> {
    let set: BTreeSet<&str> = list.iter().map(String::as_str).collect();
    if set.len() == list.len() { Ok(set) } else { Err("correct names an option twice".to_owned()) }
}

fn decimal(number: Number) -> Result<String, String> {
    let text = match number {
        Number::Whole(number) => number.to_string(),
        Number::Decimal(number) => number.to_string(),
        Number::Text(text) => text.trim().to_owned(),
    };
    if text.parse::<f64>().is_ok_and(f64::is_finite) { Ok(text) } else { Err(format!("{text:?} is not a number")) }
}
