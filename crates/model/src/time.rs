//! Moments: RFC 3339 UTC with milliseconds on the wire, integer milliseconds in SQLite.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(type = "string"))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, format = "date-time"))]
pub struct TimeMs(i64);

/// A text that is not an RFC 3339 time within the years 0000–9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time: {0:?}")]
pub struct InvalidTime(pub String);

/// One second, minute, hour and day in milliseconds.
pub const SECOND_MS: i64 = 1_000;
/// One minute.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// One hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One day of 24 hours.
pub const DAY_MS: i64 = 24 * HOUR_MS;

impl TimeMs {
    // 0000-01-01 is the first day RFC 3339 can write; the end leaves room for any offset within year 9999.
    const MIN: i64 = -62_167_219_200_000;
    const MAX: i64 = 253_402_207_200_000;

    /// The moment so many milliseconds after the epoch, clamped to the years 0000–9999.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        if ms < Self::MIN {
            Self(Self::MIN)
        } else if ms > Self::MAX {
            Self(Self::MAX)
        } else {
            Self(ms)
        }
    }

    /// Milliseconds after the epoch.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// This moment moved by so many milliseconds, clamped.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self::from_ms(self.0.saturating_add(ms))
    }

    /// How many milliseconds this moment lies after another (negative: before).
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for TimeMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // from_ms clamps, so the conversion can't fail; the epoch is the fallback the type demands.
        let timestamp = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{timestamp:.3}")
    }
}

impl FromStr for TimeMs {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let timestamp: jiff::Timestamp = text.parse().map_err(|_| InvalidTime(text.chars().take(40).collect()))?;
        Ok(Self::from_ms(timestamp.as_millisecond()))
    }
}

impl Serialize for TimeMs {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeMs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_utc_with_milliseconds_and_read_back() {
        let time = TimeMs::from_ms(1_795_168_800_007);
        assert_eq!(time.to_string(), "2026-11-20T10:00:00.007Z", "three digits, Z");
        assert_eq!("2026-11-20T12:00:00.007+02:00".parse(), Ok(time), "offsets are read");
        for edge in [TimeMs::MIN, -1, 0, TimeMs::MAX] {
            let edge = TimeMs::from_ms(edge);
            assert_eq!(edge.to_string().parse(), Ok(edge), "{edge} survives the wire");
        }
        assert!("yesterday".parse::<TimeMs>().is_err(), "rubbish is refused");
    }
}
