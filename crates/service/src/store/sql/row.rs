//! Reading columns as the types they hold. A value no version of the service writes is damage, not a panic.

use std::str::FromStr;

use carrel_model::{DeviceId, TimeMs, stamp::Stamp};
use serde::de::DeserializeOwned;
use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};

use crate::store::StoreError;

/// A row of either database.
pub(crate) enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

macro_rules! read {
    ($row:expr, $column:expr, $type:ty) => {
        match $row {
            Row::Sqlite(row) => row.try_get::<$type, _>($column),
            Row::Postgres(row) => row.try_get::<$type, _>($column),
        }
    };
}

impl Row {
    /// A number.
    pub(super) fn int(&self, column: &'static str) -> Result<i64, StoreError> {
        Ok(read!(self, column, i64)?)
    }

    /// A number that may be missing.
    pub(super) fn int_or_none(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        Ok(read!(self, column, Option<i64>)?)
    }

    /// A text.
    pub(in crate::store) fn text(&self, column: &'static str) -> Result<&str, StoreError> {
        Ok(read!(self, column, &str)?)
    }

    /// A text that may be missing.
    pub(super) fn text_or_none(&self, column: &'static str) -> Result<Option<&str>, StoreError> {
        Ok(read!(self, column, Option<&str>)?)
    }

    /// What a person typed (see [`super::Value::Free`]).
    pub(super) fn free(&self, column: &'static str) -> Result<String, StoreError> {
        match self {
            Self::Sqlite(row) => Ok(row.try_get(column)?),
            Self::Postgres(row) => String::from_utf8(row.try_get(column)?).map_err(|_| StoreError::Damaged(column)),
        }
    }

    /// Bytes.
    pub(super) fn bytes(&self, column: &'static str) -> Result<&[u8], StoreError> {
        Ok(read!(self, column, &[u8])?)
    }

    /// Yes or no.
    pub(super) fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        Ok(read!(self, column, bool)?)
    }

    /// An id, hash or word kept as text.
    pub(super) fn word<T: FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|_| StoreError::Damaged(column))
    }

    /// An id, hash or word that may be missing.
    pub(super) fn word_or_none<T: FromStr>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        self.text_or_none(column)?.map(|text| text.parse().map_err(|_| StoreError::Damaged(column))).transpose()
    }

    /// A moment.
    pub(super) fn time(&self, column: &'static str) -> Result<TimeMs, StoreError> {
        Ok(TimeMs::from_ms(self.int(column)?))
    }

    /// A moment that may be missing.
    pub(super) fn time_or_none(&self, column: &'static str) -> Result<Option<TimeMs>, StoreError> {
        Ok(self.int_or_none(column)?.map(TimeMs::from_ms))
    }

    /// A number that is never negative.
    pub(super) fn number<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, StoreError> {
        T::try_from(self.int(column)?).map_err(|_| StoreError::Damaged(column))
    }

    /// A number that is never negative and may be missing.
    pub(super) fn number_or_none(&self, column: &'static str) -> Result<Option<u64>, StoreError> {
        self.int_or_none(column)?.map(|value| u64::try_from(value).map_err(|_| StoreError::Damaged(column))).transpose()
    }

    /// JSON kept as text.
    pub(super) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(self.text(column)?).map_err(|_| StoreError::Damaged(column))
    }

    /// A stamp kept in three columns.
    pub(super) fn stamp(&self, at: &'static str, device: &'static str, seq: &'static str) -> Result<Stamp, StoreError> {
        Ok(Stamp { at: self.time(at)?, device_id: self.word::<DeviceId>(device)?, seq: self.number(seq)? })
    }
}

/// JSON as text. Control characters are escaped in it, NUL among them.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Damaged("json"))
}
