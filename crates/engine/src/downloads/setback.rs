//! What follows when fetching a blob fails. Pure.
//!
//! A setback that lies in the surroundings (no network, a service that is down, no room, an ended session) costs no round:
//! the download waits and goes on by itself. Only a failure while everything seems well counts, and the last round ends
//! with a code that a person can act on (D7).

use carrel_model::{ErrorCode, download::WaitReason};
use carrel_transfer::{FetchError, Lie};

use crate::sync::view::NetworkState;

/// Rounds before a download is given up.
pub(crate) const ROUNDS: u32 = 3;
const FIRST_WAIT_MS: i64 = 2_000;
const LONGEST_WAIT_MS: i64 = 5 * 60 * 1_000;
/// Room can come back without anybody telling; looked at again after this.
pub(crate) const SPACE_WAIT_MS: i64 = 60_000;
/// So can a drive that was pulled out.
const DRIVE_WAIT_MS: i64 = 10_000;

/// What to do with the download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// The learner stopped it, and that is already written.
    Nothing,
    /// It waits; `retry_in_ms` where no event will end that.
    Wait {
        /// Why.
        reason: WaitReason,
        /// When to try again.
        retry_in_ms: Option<i64>,
        /// Whether it was one of the rounds.
        counts: bool,
    },
    /// Given up.
    Fail(ErrorCode),
}

impl Consequence {
    /// Of several, the one with the largest counts.
    pub(crate) const fn gravity(&self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Wait { counts: true, .. } => 1,
            Self::Wait { counts: false, .. } => 2,
            Self::Fail(_) => 3,
        }
    }
}

/// The disk can't be read or written: the drive was pulled out, or its system is being checked. It goes on by itself.
pub(crate) const fn drive_wait() -> Consequence {
    Consequence::Wait { reason: WaitReason::Drive, retry_in_ms: Some(DRIVE_WAIT_MS), counts: false }
}

/// Decides. `round` is how many failed before; `said` is what the service answered when addresses were asked for;
/// `jitter` in 0.0..1.0.
#[must_use]
pub(crate) fn consequence(
    error: &FetchError,
    said: Option<ErrorCode>,
    network: NetworkState,
    round: u32,
    jitter: f64,
) -> Consequence {
    let wait = |reason| Consequence::Wait { reason, retry_in_ms: None, counts: false };
    match (error, said) {
        (FetchError::Paused | FetchError::Cancelled, _) => return Consequence::Nothing,
        (FetchError::DiskFull { .. }, _) => {
            return Consequence::Wait { reason: WaitReason::Space, retry_in_ms: Some(SPACE_WAIT_MS), counts: false };
        }
        (FetchError::NotAuthorised, Some(ErrorCode::SignInNeeded)) => return wait(WaitReason::SignIn),
        (FetchError::NotAuthorised, code) => return Consequence::Fail(code.unwrap_or(ErrorCode::Forbidden)),
        (FetchError::Gone, _) => return Consequence::Fail(ErrorCode::Gone),
        (FetchError::Io(_), _) => return drive_wait(),
        // What the service has is not what it promised, and asking again brings the same.
        (FetchError::Corrupt { .. } | FetchError::SourceLied(Lie::Bytes), _) => {
            return Consequence::Fail(ErrorCode::Damaged);
        }
        (FetchError::Journal(_), _) => return Consequence::Fail(ErrorCode::Internal),
        _ => {}
    }
    match network {
        NetworkState::Offline => return wait(WaitReason::Network),
        NetworkState::Limited => return wait(WaitReason::Server),
        NetworkState::Online | NetworkState::Unknown => {}
    }
    if round + 1 >= ROUNDS {
        return Consequence::Fail(code(error));
    }
    let asked = error.retry_after().map_or(0, |wait| i64::try_from(wait.as_millis()).unwrap_or(LONGEST_WAIT_MS));
    let own = FIRST_WAIT_MS.saturating_mul(1 << round.min(8));
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a few minutes in ms")]
    let jittered = own / 2 + (own as f64 / 2.0 * jitter) as i64;
    let retry_in_ms = Some(jittered.max(asked).min(LONGEST_WAIT_MS.max(asked)));
    Consequence::Wait { reason: WaitReason::Server, retry_in_ms, counts: true }
}

fn code(error: &FetchError) -> ErrorCode {
    match error {
        FetchError::NotAService | FetchError::TooManyRedirects | FetchError::ForbiddenRedirect => {
            ErrorCode::NotAService
        }
        FetchError::SourceLied(_) | FetchError::Http { .. } | FetchError::Sources(_) => ErrorCode::ServiceFailed,
        FetchError::Busy { .. } => ErrorCode::RateLimited,
        _ => ErrorCode::ServiceUnreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(error: &FetchError, network: NetworkState, round: u32) -> Consequence {
        consequence(error, None, network, round, 0.0)
    }

    #[test]
    fn surroundings_cost_no_round_and_the_third_real_failure_is_the_last() {
        let gone = FetchError::Unreachable("reset".to_owned());
        let waits = |reason| Consequence::Wait { reason, retry_in_ms: None, counts: false };
        assert_eq!(after(&gone, NetworkState::Offline, 2), waits(WaitReason::Network));
        assert_eq!(after(&gone, NetworkState::Limited, 2), waits(WaitReason::Server));
        let first = after(&gone, NetworkState::Online, 0);
        let second = after(&gone, NetworkState::Online, 1);
        let counted = |ms| Consequence::Wait { reason: WaitReason::Server, retry_in_ms: Some(ms), counts: true };
        assert_eq!((first, second), (counted(1_000), counted(2_000)), "each wait is longer");
        assert_eq!(after(&gone, NetworkState::Online, 2), Consequence::Fail(ErrorCode::ServiceUnreachable));
    }

    #[test]
    fn a_disk_that_is_away_is_waited_for() {
        let error = FetchError::Io(std::io::ErrorKind::NotFound.into());
        let Consequence::Wait { reason, retry_in_ms, counts } = after(&error, NetworkState::Online, 2) else {
            panic!()
        };
        assert_eq!((reason, counts), (WaitReason::Drive, false), "however often");
        assert!(retry_in_ms.is_some(), "and looked for again");
    }

    #[test]
    fn what_waiting_cannot_mend_fails_at_once_with_its_own_code() {
        let online = NetworkState::Online;
        assert_eq!(after(&FetchError::Gone, online, 0), Consequence::Fail(ErrorCode::Gone));
        assert_eq!(after(&FetchError::Corrupt { piece: 3 }, online, 0), Consequence::Fail(ErrorCode::Damaged));
        assert_eq!(
            consequence(&FetchError::NotAuthorised, Some(ErrorCode::NotEnrolled), online, 0, 0.0),
            Consequence::Fail(ErrorCode::NotEnrolled)
        );
        assert_eq!(
            consequence(&FetchError::NotAuthorised, Some(ErrorCode::SignInNeeded), online, 0, 0.0),
            Consequence::Wait { reason: WaitReason::SignIn, retry_in_ms: None, counts: false },
            "signing in ends it"
        );
    }
}
