//! The lease: what a learner may open, verifiable without a network.
//!
//! The service signs it with Ed25519; the device verifies it with the public keys it pinned at first sign-in. A lease
//! only ever limits *opening* content. It never limits recording, syncing or exporting progress (requirement A2).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::{CourseId, DeviceId, LearnerId, TimeMs, time::DAY_MS};

/// After this the device asks for a new one.
pub const RENEW_AFTER_MS: i64 = 7 * DAY_MS;
/// After this nothing opens until it is renewed.
pub const NOT_AFTER_MS: i64 = 30 * DAY_MS;

words! {
    /// What a learner is in a course.
    pub enum Role {
        /// Takes the course.
        Learner = "learner",
        /// Takes it, premium content included.
        Premium = "premium",
        /// Teaches it.
        Teacher = "teacher",
    }
}

impl Role {
    /// Whether premium content may be downloaded.
    #[must_use]
    pub const fn has_premium(self) -> bool {
        !matches!(self, Self::Learner)
    }
}

wire! {
    /// What the service grants to one learner on one device.
    #[derive(Eq)]
    pub struct Lease {
        /// Whom.
        pub learner: LearnerId,
        /// Where.
        pub device: DeviceId,
        /// Since when.
        pub issued_at: TimeMs,
        /// From then on the device asks for a new one.
        pub renew_after: TimeMs,
        /// From then on it no longer holds.
        pub not_after: TimeMs,
        /// The courses.
        pub enrolments: Vec<Enrolment>,
        /// The service's clock when it was signed.
        pub service_time: TimeMs,
    }

    /// One enrolment.
    #[derive(Eq)]
    pub struct Enrolment {
        /// The course.
        pub course_id: CourseId,
        /// As what.
        pub role: Role,
        /// Until when; none: without end.
        pub expires_at: Option<TimeMs>,
    }

    /// A lease and its signature. The payload is signed as the text it is, so no two encodings of one lease matter.
    #[derive(Eq)]
    pub struct SignedLease {
        /// Base64url of the lease's JSON.
        pub payload: String,
        /// Base64url of the Ed25519 signature over the bytes of `payload`.
        pub signature: String,
        /// Which of the service's keys.
        pub key_id: String,
    }

    /// A public key of the service.
    #[derive(Eq)]
    pub struct LeaseKey {
        /// Its name.
        pub key_id: String,
        /// Base64url of its 32 bytes.
        pub public_key: String,
    }
}

/// Why a lease doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Signed with a key that was not pinned.
    #[error("signed with the unknown key {0:?}")]
    UnknownKey(String),
    /// The signature doesn't fit, or it is no lease.
    #[error("the signature does not fit")]
    Forged,
    /// Given to another learner or device.
    #[error("given to another learner or device")]
    NotYours,
}

/// Why content doesn't open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The lease itself has ended; renewed by the next sync.
    #[error("the lease has ended")]
    LeaseEnded,
    /// The learner is not enrolled in the course.
    #[error("not enrolled")]
    NotEnrolled,
    /// The enrolment has ended.
    #[error("the enrolment has ended")]
    EnrolmentEnded,
    /// The download has passed its last day.
    #[error("the download has expired")]
    DownloadExpired,
}

impl Lease {
    /// Signs it.
    ///
    /// # Errors
    /// Only if the lease can't be written as JSON, which its type can't cause.
    pub fn sign(&self, key_id: &str, key: &SigningKey) -> Result<SignedLease, serde_json::Error> {
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self)?);
        let signature = URL_SAFE_NO_PAD.encode(key.sign(payload.as_bytes()).to_bytes());
        Ok(SignedLease { payload, signature, key_id: key_id.to_owned() })
    }

    /// Whether a course's content opens at `now` (trusted time). `open` courses need no enrolment.
    pub fn permits(
        &self,
        course: CourseId,
        open: bool,
        download_expires_at: Option<TimeMs>,
        now: TimeMs,
    ) -> Result<(), Refusal> {
        if now >= self.not_after {
            return Err(Refusal::LeaseEnded);
        }
        if !open {
            let enrolment = self.enrolments.iter().find(|e| e.course_id == course).ok_or(Refusal::NotEnrolled)?;
            if enrolment.expires_at.is_some_and(|end| now >= end) {
                return Err(Refusal::EnrolmentEnded);
            }
        }
        if download_expires_at.is_some_and(|end| now >= end) {
            return Err(Refusal::DownloadExpired);
        }
        Ok(())
    }
}

impl LeaseKey {
    /// The public half of a signing key under a name.
    #[must_use]
    pub fn of(key_id: &str, key: &SigningKey) -> Self {
        Self { key_id: key_id.to_owned(), public_key: URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes()) }
    }
}

impl SignedLease {
    /// Verifies it with the pinned keys, for this learner on this device.
    pub fn verify(&self, keys: &[LeaseKey], learner: LearnerId, device: DeviceId) -> Result<Lease, LeaseError> {
        let key = keys.iter().find(|k| k.key_id == self.key_id);
        let key = key.ok_or_else(|| LeaseError::UnknownKey(self.key_id.chars().take(40).collect()))?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| LeaseError::Forged);
        let public: [u8; 32] = decode(&key.public_key)?.try_into().map_err(|_| LeaseError::Forged)?;
        let public = VerifyingKey::from_bytes(&public).map_err(|_| LeaseError::Forged)?;
        let signature: [u8; 64] = decode(&self.signature)?.try_into().map_err(|_| LeaseError::Forged)?;
        public
            .verify_strict(self.payload.as_bytes(), &Signature::from_bytes(&signature))
            .map_err(|_| LeaseError::Forged)?;
        let lease: Lease = serde_json::from_slice(&decode(&self.payload)?).map_err(|_| LeaseError::Forged)?;
        if lease.learner != learner || lease.device != device {
            return Err(LeaseError::NotYours);
        }
        Ok(lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id<T: std::str::FromStr>(n: u8) -> T
    where
        T::Err: std::fmt::Debug,
    {
        format!("01900000-0000-7000-8000-0000000000{n:02x}").parse().unwrap()
    }

    #[test]
    fn opens_what_was_granted_and_nothing_else() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let start = TimeMs::from_ms(1_800_000_000_000);
        let lease = Lease {
            learner: id(1),
            device: id(2),
            issued_at: start,
            renew_after: start.plus_ms(RENEW_AFTER_MS),
            not_after: start.plus_ms(NOT_AFTER_MS),
            enrolments: vec![Enrolment {
                course_id: id(3),
                role: Role::Learner,
                expires_at: Some(start.plus_ms(DAY_MS)),
            }],
            service_time: start,
        };
        let signed = lease.sign("k1", &key).unwrap();
        let keys = [LeaseKey::of("k1", &key)];
        assert_eq!(signed.verify(&keys, id(1), id(2)), Ok(lease.clone()), "what was signed verifies");
        assert_eq!(signed.verify(&keys, id(9), id(2)), Err(LeaseError::NotYours), "not another learner's");
        assert_eq!(signed.verify(&keys, id(1), id(9)), Err(LeaseError::NotYours), "not on another device");
        let other = [LeaseKey::of("k1", &SigningKey::from_bytes(&[8; 32]))];
        assert_eq!(signed.verify(&other, id(1), id(2)), Err(LeaseError::Forged), "not another service's");
        let richer = Lease { not_after: start.plus_ms(900 * DAY_MS), ..lease.clone() }.sign("k1", &key).unwrap();
        let forged = SignedLease { payload: richer.payload, ..signed };
        assert_eq!(forged.verify(&keys, id(1), id(2)), Err(LeaseError::Forged), "a changed payload is noticed");

        assert_eq!(lease.permits(id(3), false, None, start), Ok(()));
        assert_eq!(lease.permits(id(4), false, None, start), Err(Refusal::NotEnrolled));
        assert_eq!(lease.permits(id(4), true, None, start), Ok(()), "open courses need no enrolment");
        assert_eq!(lease.permits(id(3), false, None, start.plus_ms(DAY_MS)), Err(Refusal::EnrolmentEnded));
        assert_eq!(lease.permits(id(3), false, Some(start), start), Err(Refusal::DownloadExpired));
        assert_eq!(lease.permits(id(4), true, None, start.plus_ms(NOT_AFTER_MS)), Err(Refusal::LeaseEnded));
    }
}
