//! Who may have what (requirements A1, B4).

use carrel_model::{ErrorCode, TimeMs, lease::Role};

/// Why content is not given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// It never existed.
    #[error("there is no such thing")]
    NotFound,
    /// It was withdrawn.
    #[error("it was withdrawn")]
    Gone,
    /// The learner isn't enrolled in the course.
    #[error("not enrolled in the course")]
    NotEnrolled,
    /// The enrolment has ended.
    #[error("the enrolment has ended")]
    EnrolmentExpired,
    /// The course needs the premium role.
    #[error("the course needs the premium role")]
    PremiumRequired,
    /// It would be more than the learner's quota.
    #[error("{wanted} bytes are wanted, {used} of {limit} are used")]
    QuotaExceeded {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes used.
        used: u64,
        /// Bytes allowed.
        limit: u64,
    },
}

impl Denial {
    /// The word for it on the wire.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::NotFound,
            Self::Gone => ErrorCode::Gone,
            Self::NotEnrolled => ErrorCode::NotEnrolled,
            Self::EnrolmentExpired => ErrorCode::EnrolmentExpired,
            Self::PremiumRequired => ErrorCode::PremiumRequired,
            Self::QuotaExceeded { .. } => ErrorCode::QuotaExceeded,
        }
    }
}

/// A learner's enrolment in a course, where there is one that was not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EnrolmentFacts {
    pub(crate) role: Role,
    pub(crate) expires_at: Option<TimeMs>,
}

/// One period of an enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) expires_at: Option<TimeMs>,
    pub(crate) ended_at: Option<TimeMs>,
}

/// When the right to work on a course ended or will end: `None` if there never was one, `Some(None)` if it has no end.
///
/// There is no lower bound: without an enrolment there is nothing to work on, so an earlier time is a wrong clock and no
/// reason to lose work.
pub(crate) fn last_day(open: bool, periods: &[Period]) -> Option<Option<TimeMs>> {
    let end = |period: &Period| match (period.expires_at, period.ended_at) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    if open || periods.iter().any(|period| end(period).is_none()) {
        return Some(None);
    }
    periods.iter().filter_map(end).max().map(Some)
}

/// Whether a course's content may be had now. An enrolment counts before openness does, since only it can carry the
/// premium role; when it has ended, an open course is what it is for everybody.
pub(crate) fn may_open(
    open: bool,
    premium: bool,
    enrolment: Option<EnrolmentFacts>,
    now: TimeMs,
) -> Result<(), Denial> {
    let current = enrolment.filter(|e| e.expires_at.is_none_or(|end| now < end));
    match (current, open) {
        (None, false) if enrolment.is_some() => Err(Denial::EnrolmentExpired),
        (None, false) => Err(Denial::NotEnrolled),
        (current, _) if premium && !current.is_some_and(|e| e.role.has_premium()) => Err(Denial::PremiumRequired),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_counts_until_the_last_period_has_ended() {
        let at = |ms: i64| Some(TimeMs::from_ms(ms));
        let period = |expires_at, ended_at| Period { expires_at, ended_at };
        let cases = [
            (false, vec![], None, "never enrolled"),
            (true, vec![], Some(None), "open to everybody"),
            (true, vec![period(at(5), None)], Some(None), "open, whatever the enrolment says"),
            (false, vec![period(None, None)], Some(None), "enrolled for good"),
            (false, vec![period(at(5), at(3))], Some(at(3)), "ended before its last day"),
            (false, vec![period(at(5), at(9))], Some(at(5)), "ended after its last day"),
            (false, vec![period(None, at(9)), period(at(5), None)], Some(at(9)), "the latest of several"),
        ];
        for (open, periods, expected, why) in cases {
            assert_eq!(last_day(open, &periods), expected, "{why}");
        }
    }

    #[test]
    fn opens_to_whom_it_should() {
        let now = TimeMs::from_ms(1_000);
        let as_role = |role, end: Option<i64>| Some(EnrolmentFacts { role, expires_at: end.map(TimeMs::from_ms) });
        let learner = as_role(Role::Learner, None);
        let cases = [
            (true, false, None, Ok(()), "open to everybody"),
            (false, false, None, Err(Denial::NotEnrolled), "closed to strangers"),
            (false, false, learner, Ok(()), "open to the enrolled"),
            (false, false, as_role(Role::Learner, Some(1_000)), Err(Denial::EnrolmentExpired), "closed at its end"),
            (true, false, as_role(Role::Learner, Some(1_000)), Ok(()), "an open course outlives an enrolment"),
            (false, true, learner, Err(Denial::PremiumRequired), "premium needs the role"),
            (false, true, as_role(Role::Premium, None), Ok(()), "and the role suffices"),
            (true, true, None, Err(Denial::PremiumRequired), "being open does not make it free"),
        ];
        for (open, premium, enrolment, expected, why) in cases {
            assert_eq!(may_open(open, premium, enrolment, now), expected, "{why}");
        }
    }
}
