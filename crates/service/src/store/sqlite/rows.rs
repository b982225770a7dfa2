//! Reading columns as the types they hold. A value no version of the service writes is damage, not a panic.

use std::str::FromStr;

use carrel_model::{DeviceId, TimeMs, stamp::Stamp};
use serde::de::DeserializeOwned;
use sqlx::{Row as _, sqlite::SqliteRow};

use crate::store::StoreError;

/// An id, hash or word kept as text.
pub(super) fn word<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| StoreError::Damaged(column))
}

/// An id, hash or word that may be missing.
pub(super) fn word_or_none<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<Option<T>, StoreError> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|_| StoreError::Damaged(column))).transpose()
}

/// A moment.
pub(super) fn time(row: &SqliteRow, column: &'static str) -> Result<TimeMs, StoreError> {
    Ok(TimeMs::from_ms(row.try_get(column)?))
}

/// A moment that may be missing.
pub(super) fn time_or_none(row: &SqliteRow, column: &'static str) -> Result<Option<TimeMs>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(TimeMs::from_ms))
}

/// A number that is never negative.
pub(super) fn number<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    T::try_from(row.try_get::<i64, _>(column)?).map_err(|_| StoreError::Damaged(column))
}

/// A number that may be missing.
pub(super) fn number_or_none(row: &SqliteRow, column: &'static str) -> Result<Option<u64>, StoreError> {
    let value: Option<i64> = row.try_get(column)?;
    value.map(|value| u64::try_from(value).map_err(|_| StoreError::Damaged(column))).transpose()
}

/// JSON kept as text.
pub(super) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(row.try_get(column)?).map_err(|_| StoreError::Damaged(column))
}

/// JSON as text.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Damaged("json"))
}

/// A stamp kept in three columns.
pub(super) fn stamp(
    row: &SqliteRow,
    at: &'static str,
    device: &'static str,
    seq: &'static str,
) -> Result<Stamp, StoreError> {
    Ok(Stamp { at: time(row, at)?, device_id: word::<DeviceId>(row, device)?, seq: number(row, seq)? })
}

/// An unsigned number as SQLite keeps it. What the wire carries is below 2^53, so nothing is cut off.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
