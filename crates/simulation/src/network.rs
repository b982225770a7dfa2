//! The network between a device and the service: what it does to requests and answers is chosen for each.

use carrel_engine::sync::planner::Failure;
use carrel_model::{
    ErrorCode, TimeMs,
    time::{DAY_MS, MINUTE_MS},
    wire::sync::{PullPage, PushResult},
};

use carrel_service::rules::Regressed;

use crate::{chance::Chance, service::Refusal};

/// What a device asks.
#[derive(Debug, Clone)]
pub enum Request {
    /// Ops, as they travel.
    Push(Vec<u8>),
    /// A page of the learner's rows.
    Pull(Option<String>),
    /// What changed in the catalogue.
    Units,
}

/// What comes back.
#[derive(Debug, Clone)]
pub enum Response {
    /// Verdicts and the service's clock.
    Pushed(Vec<PushResult>, TimeMs),
    /// A page.
    Page(Box<PullPage>),
    /// The catalogue is up to date.
    Units,
    /// 409: other contents came under some of these keys.
    Regressed(Regressed),
    /// No use.
    Failed(Failure),
}

/// How bad the weather is.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Requests that never arrive.
    pub lost: f64,
    /// Answers that never arrive.
    pub unanswered: f64,
    /// Requests that arrive once more, at any time.
    pub repeated: f64,
    /// Answers of somebody who isn't the service, or of a service in trouble.
    pub odd: f64,
    /// The most ops the service takes at once; 413 otherwise.
    pub most_ops: usize,
    /// Rows of a page.
    pub page: usize,
}

impl Weather {
    /// Some weather.
    pub fn random(chance: &mut Chance) -> Self {
        let bad = chance.fraction() * 0.5;
        Self {
            lost: bad * chance.fraction(),
            unanswered: bad * chance.fraction(),
            repeated: bad * chance.fraction(),
            odd: bad * chance.fraction(),
            most_ops: if chance.happens(0.3) { 1 + usize::try_from(chance.below(5)).unwrap_or(0) } else { 500 },
            page: if chance.happens(0.7) { 1 + usize::try_from(chance.below(6)).unwrap_or(0) } else { 100 },
        }
    }

    /// Peace at the end of a history.
    #[must_use]
    pub const fn fair(self) -> Self {
        Self { lost: 0.0, unanswered: 0.0, repeated: 0.0, odd: 0.0, ..self }
    }

    /// How long one way takes.
    pub fn delay(&self, chance: &mut Chance) -> i64 {
        if self.lost > 0.0 && chance.happens(0.05) { chance.spread(1_000, MINUTE_MS) } else { chance.spread(5, 2_000) }
    }

    /// How much later a request comes a second time.
    pub fn repeat_after(&self, chance: &mut Chance) -> i64 {
        chance.spread(10, 60 * DAY_MS)
    }

    /// An answer that isn't the service's own.
    pub fn odd_answer(&self, chance: &mut Chance) -> Failure {
        let not_now = |code, failed, retry_after_ms| Failure::NotNow { code, failed, retry_after_ms };
        match chance.below(8) {
            0 => Failure::Stop(ErrorCode::SignInNeeded),
            1 => Failure::TooLarge,
            2 => not_now(ErrorCode::RateLimited, false, Some(chance.between(0, 15 * MINUTE_MS))),
            3 | 4 => not_now(ErrorCode::ServiceFailed, true, None),
            5 => Failure::Unreachable(ErrorCode::NotAService),
            6 => Failure::CursorExpired,
            _ => Failure::Unreachable(ErrorCode::Offline),
        }
    }
}

/// What a refusal means to the planner; the engine's driver reads it off the status.
#[must_use]
pub fn failure(refusal: &Refusal) -> Failure {
    match refusal {
        Refusal::Failed => Failure::NotNow { code: ErrorCode::ServiceFailed, failed: true, retry_after_ms: None },
        Refusal::SeqRegressed(_) => Failure::SeqRegressed,
        Refusal::CursorExpired => Failure::CursorExpired,
    }
}
