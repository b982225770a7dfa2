//! Reading typed values from rows: ids and words are texts in SQLite, times are integer milliseconds.

use std::{fmt::Display, str::FromStr};

use carrel_model::TimeMs;
use sqlx::{Row as _, sqlite::SqliteRow};

use crate::EngineError;

/// A text column as what it stands for.
pub(crate) fn parsed<T>(row: &SqliteRow, column: &str) -> Result<T, EngineError>
where
    T: FromStr,
    T::Err: Display,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|error: T::Err| EngineError::Unreadable(format!("{column}: {error}")))
}

/// A text column that may be null.
pub(crate) fn parsed_option<T>(row: &SqliteRow, column: &str) -> Result<Option<T>, EngineError>
where
    T: FromStr,
    T::Err: Display,
{
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|error: T::Err| EngineError::Unreadable(format!("{column}: {error}"))))
        .transpose()
}

/// A JSON column.
pub(crate) fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, EngineError> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text).map_err(|error| EngineError::Unreadable(format!("{column}: {error}")))
}

/// A time.
pub(crate) fn time(row: &SqliteRow, column: &str) -> Result<TimeMs, EngineError> {
    Ok(TimeMs::from_ms(row.try_get(column)?))
}

/// A time that may be null.
pub(crate) fn time_option(row: &SqliteRow, column: &str) -> Result<Option<TimeMs>, EngineError> {
    let ms: Option<i64> = row.try_get(column)?;
    Ok(ms.map(TimeMs::from_ms))
}

/// A number that is never negative; SQLite's integers are signed.
pub(crate) fn unsigned(row: &SqliteRow, column: &str) -> Result<u64, EngineError> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|_| EngineError::Unreadable(format!("{column}: {number}")))
}

/// A number as SQLite keeps it. What doesn't fit is beyond anything this app counts.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
