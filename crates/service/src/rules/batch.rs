//! A pushed batch: read op by op, put on the service's clock, checked one at a time (protocol.md, Push, Clocks).

use carrel_model::{
    DeviceId, TimeMs,
    op::{LessonFacts, MAX_BATCH_OPS, Op, RawOp, RejectCode, Rejection},
    time::MINUTE_MS,
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// From this difference on the device's clock counts as wrong.
const CLOCK_TOLERANCE_MS: i64 = 2 * MINUTE_MS;
/// How far after the end of an enrolment an op may lie: no more than a clock may be off without being corrected.
pub const OP_TIME_TOLERANCE_MS: i64 = CLOCK_TOLERANCE_MS;
/// The wire's numbers end where a double stops being exact.
const MAX_WIRE_NUMBER: u64 = 1 << 53;
/// No download is larger; sums of many stay numbers.
const MAX_DOWNLOAD_BYTES: u64 = 1 << 43;
/// No kind or id is longer.
const MAX_WORD_BYTES: usize = 200;

/// One op of a batch, ready for the store.
#[derive(Debug, Clone)]
pub struct IncomingOp {
    /// The device's running number.
    pub seq: u64,
    /// Its kind as sent, shortened.
    pub kind: String,
    /// What it is about as sent, shortened.
    pub entity_id: String,
    /// What it says, for the audit; null if it can't be read.
    pub payload: Value,
    /// The device's time.
    pub device_at: TimeMs,
    /// The service's idea of that time.
    pub effective_at: TimeMs,
    /// Tells two contents of one key apart.
    pub content_hash: [u8; 32],
    /// What it says, or why it can't be taken.
    pub op: Result<Op, Rejection>,
}

/// Why a whole request can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The envelope can't be read.
    #[error("the batch can't be read: {0}")]
    Malformed(String),
    /// So many ops at once.
    #[error("{0} ops are more than {MAX_BATCH_OPS}")]
    TooMany(usize),
}

/// The envelope alone: what is wrong within one op must not make the request unreadable.
#[derive(Deserialize)]
struct Envelope<'a> {
    device_id: DeviceId,
    client_now: TimeMs,
    #[serde(borrow)]
    ops: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

/// Reads a request's body.
pub fn read_batch(body: &[u8], now: TimeMs) -> Result<(DeviceId, Vec<IncomingOp>), BatchError> {
    let malformed = |error: serde_json::Error| BatchError::Malformed(error.to_string().chars().take(200).collect());
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(malformed)?;
    if envelope.ops.len() > MAX_BATCH_OPS {
        return Err(BatchError::TooMany(envelope.ops.len()));
    }
    let shift = shift(envelope.client_now, now);
    let ops = envelope.ops.iter().map(|raw| {
        // Without a number there is nothing a verdict could be given on.
        let Numbered { seq } = serde_json::from_str(raw.get()).map_err(malformed)?;
        Ok(read_op(seq, raw.get(), shift, now))
    });
    Ok((envelope.device_id, ops.collect::<Result<_, _>>()?))
}

/// What to add to a device's times; zero while its clock is right enough.
fn shift(client_now: TimeMs, now: TimeMs) -> i64 {
    let ahead = client_now.since(now);
    if ahead.abs() > CLOCK_TOLERANCE_MS { ahead.saturating_neg() } else { 0 }
}

fn read_op(seq: u64, text: &str, shift: i64, now: TimeMs) -> IncomingOp {
    let on_our_clock = |at: TimeMs| at.plus_ms(shift).min(now);
    let raw: RawOp = match serde_json::from_str(text) {
        Ok(raw) => raw,
        Err(_) => {
            return IncomingOp {
                seq,
                kind: String::new(),
                entity_id: String::new(),
                payload: Value::Null,
                device_at: now,
                effective_at: now,
                content_hash: *blake3::hash(text.as_bytes()).as_bytes(),
                op: Err(Rejection::new(RejectCode::Malformed, "not an op")),
            };
        }
    };
    let op =
        Op::decode(&raw).and_then(|op| within_wire_numbers(seq, &op).map(|()| with_corrected_times(op, on_our_clock)));
    IncomingOp {
        seq,
        kind: shortened(&raw.kind),
        entity_id: shortened(&raw.entity_id),
        device_at: raw.at,
        effective_at: on_our_clock(raw.at),
        content_hash: content_hash(&raw),
        payload: raw.payload,
        op,
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_WORD_BYTES / 4).collect()
}

/// A session carries its start within; it was read from the same clock as the op's own time.
fn with_corrected_times(op: Op, on_our_clock: impl Fn(TimeMs) -> TimeMs) -> Op {
    match op {
        Op::Session(id, status, mut moved) => {
            moved.started_at = on_our_clock(moved.started_at);
            Op::Session(id, status, moved)
        }
        Op::Statistics(id, mut recorded) => {
            recorded.session.started_at = on_our_clock(recorded.session.started_at);
            Op::Statistics(id, recorded)
        }
        other => other,
    }
}

fn within_wire_numbers(seq: u64, op: &Op) -> Result<(), Rejection> {
    let number = match op {
        Op::Position(_, p) => p.position,
        Op::Session(_, _, p) => p.statistics.duration_ms,
        Op::Statistics(_, p) => p.session.statistics.duration_ms,
        Op::Download(_, p) => p.bytes,
        Op::BookmarkPut(_, p) => p.position,
        Op::Completed(..) | Op::Answer(..) | Op::BookmarkDeleted(..) => 0,
    };
    if seq >= MAX_WIRE_NUMBER || number >= MAX_WIRE_NUMBER {
        return Err(Rejection::new(RejectCode::OutOfRange, "a number is 2^53 or more"));
    }
    Ok(())
}

/// The hash of what an op says, whatever the order of its object's keys.
fn content_hash(raw: &RawOp) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in [raw.kind.as_str(), raw.entity_id.as_str(), &raw.at.to_string()] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hash_value(&mut hasher, &raw.payload);
    *hasher.finalize().as_bytes()
}

fn hash_value(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            hasher.update(b"{").update(&(entries.len() as u64).to_le_bytes());
            for (key, value) in entries {
                hash_value(hasher, &Value::String(key.clone()));
                hash_value(hasher, value);
            }
        }
        Value::Array(items) => {
            hasher.update(b"[").update(&(items.len() as u64).to_le_bytes());
            for item in items {
                hash_value(hasher, item);
            }
        }
        plain => {
            let text = plain.to_string();
            hasher.update(b"=").update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
    }
}

/// What the store knows that bears on one op.
#[derive(Debug, Clone, Copy, Default)]
pub struct KnownToOp {
    /// The lesson it speaks of, withdrawn ones included: work done before a withdrawal counts.
    pub lesson: Option<LessonFacts>,
    /// For a download: whether the unit is known.
    pub unit: bool,
    /// Whether the learner was enrolled at the op's time, or the course is open.
    pub enrolled: bool,
    /// Whether its entity is somebody else's, or a session is about another lesson.
    pub foreign: bool,
}

/// Whether an op is right in itself.
pub fn admit(op: &Op, known: KnownToOp) -> Result<(), Rejection> {
    if known.foreign {
        return Err(Rejection::new(RejectCode::WrongState, "belongs to something else"));
    }
    if let Op::Download(_, report) = op {
        if report.bytes > MAX_DOWNLOAD_BYTES {
            return Err(Rejection::new(RejectCode::OutOfRange, "bytes"));
        }
        // A report of what is on a device is true whether or not the enrolment still holds.
        let unknown = || Rejection::new(RejectCode::UnknownEntity, "unit");
        return known.unit.then_some(()).ok_or_else(unknown);
    }
    let facts = known.lesson.ok_or_else(|| Rejection::new(RejectCode::UnknownEntity, "lesson"))?;
    op.check(facts)?;
    known.enrolled.then_some(()).ok_or_else(|| Rejection::new(RejectCode::NotEnrolled, "at the time of the op"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(client_now: i64, ops: &str) -> Result<(DeviceId, Vec<IncomingOp>), BatchError> {
        let client_now = TimeMs::from_ms(client_now);
        let body = format!(
            r#"{{"device_id":"01900000-0000-7000-8000-000000000001","client_now":"{client_now}","ops":[{ops}]}}"#
        );
        read_batch(body.as_bytes(), TimeMs::from_ms(1_800_000_000_000))
    }

    fn position(at: i64) -> String {
        let at = TimeMs::from_ms(at);
        format!(
            r#"{{"seq":1,"kind":"progress.position","entity_id":"01900000-0000-7000-8000-000000000009","at":"{at}","payload":{{"position":5,"percent":1}}}}"#
        )
    }

    #[test]
    fn times_of_a_wrong_clock_are_shifted_and_never_into_the_future() {
        let now = 1_800_000_000_000;
        let hour = 3_600_000;
        let cases = [
            (now, now - hour, now - hour, "a right clock is believed"),
            (now + 60_000, now - hour, now - hour, "a minute is not worth a correction"),
            (now + 10 * hour, now + 9 * hour, now - hour, "a clock ahead"),
            (now - 10 * hour, now - 11 * hour, now - hour, "a clock behind"),
            (now - 10 * hour, now, now, "what would lie ahead is now"),
            (now + 60_000, now + 60_000, now, "even within the tolerance"),
            (i64::MAX, i64::MAX, now, "the end of time"),
        ];
        for (client_now, at, effective, why) in cases {
            let (_, ops) = batch(client_now, &position(at)).unwrap();
            assert_eq!(ops[0].effective_at.as_ms(), effective, "{why}");
        }
    }

    #[test]
    fn one_unreadable_op_leaves_the_others_readable() {
        let poison = r#"{"seq":2,"kind":"progress.position","entity_id":7,"at":"x","payload":1e999}"#;
        let (_, ops) = batch(1_800_000_000_000, &format!("{},{poison}", position(0))).unwrap();
        assert!(ops[0].op.is_ok(), "the good one is read");
        assert_eq!(ops[1].op.as_ref().unwrap_err().code, RejectCode::Malformed, "the bad one has its own verdict");
        assert!(batch(0, r#"{"kind":"x"}"#).is_err(), "an op without a number can't get a verdict");
        let many = vec![position(0); MAX_BATCH_OPS + 1].join(",");
        assert_eq!(batch(0, &many).unwrap_err(), BatchError::TooMany(MAX_BATCH_OPS + 1));
    }

    #[test]
    fn the_same_content_hashes_the_same_in_any_key_order() {
        let of = |payload: &str| {
            content_hash(&RawOp {
                seq: 1,
                kind: "k".into(),
                entity_id: "e".into(),
                at: TimeMs::default(),
                payload: serde_json::from_str(payload).unwrap(),
            })
        };
        assert_eq!(of(r#"{"a":1,"b":[{"c":2,"d":3}]}"#), of(r#"{"b":[{"d":3,"c":2}],"a":1}"#));
        assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":2}"#));
        assert_ne!(of(r#"["a","b"]"#), of(r#"["ab"]"#));
    }
}
