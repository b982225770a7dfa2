//! Scopes' counters: what makes the order of numbers the order of commits (protocol.md, Cursor).

use std::collections::BTreeMap;

use super::{Spelled, Transaction, Value, epochs::Epochs, values};
use crate::{rules::Cursor, store::StoreError};

/// How far scopes have come, and how far cursors of an epoch hold.
pub(in crate::store) const COUNTERS: Spelled = Spelled {
    sqlite: "SELECT s.scope, s.seq, s.pruned_through,
                    (SELECT MIN(m.seq) FROM epoch_marks m WHERE m.scope = s.scope AND m.epoch_no > $2) AS held
             FROM sync_scope s WHERE s.scope IN (SELECT value FROM json_each($1))",
    postgres: "SELECT s.scope, s.seq, s.pruned_through,
                      (SELECT MIN(m.seq) FROM epoch_marks m WHERE m.scope = s.scope AND m.epoch_no > $2) AS held
               FROM sync_scope s WHERE s.scope = ANY($1)",
};

/// How far a scope has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counter {
    /// The last number given out.
    pub(super) last: i64,
    /// Tombstones up to here are forgotten.
    pub(super) pruned: i64,
    /// Up to here the cursor's epoch saw what this database has.
    held: Option<i64>,
}

impl Counter {
    /// Whether a reader that has come so far can go on from there.
    fn continues(&self, from: i64) -> bool {
        from == 0 || from <= self.held.unwrap_or(self.last).min(self.last) && from >= self.pruned
    }
}

/// Advances a scope's counter by `count` and gives the first of the new numbers. The first statement of every transaction
/// that writes to the scope: it holds the counter's row until the end, so whoever comes next has the later numbers.
pub(super) async fn advance(tx: &mut dyn Transaction, scope: &str, count: usize) -> Result<i64, StoreError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let row = tx
        .row(
            "INSERT INTO sync_scope (scope, seq, epoch_no) VALUES ($1, $2, 0)
             ON CONFLICT (scope) DO UPDATE SET seq = sync_scope.seq + excluded.seq
             RETURNING seq, epoch_no, (SELECT MAX(no) FROM epochs) AS current",
            values![scope, count],
        )
        .await?
        .ok_or(StoreError::Damaged("sync_scope"))?;
    let (last, current) = (row.int("seq")?, row.int("current")?);
    if row.int("epoch_no")? != current {
        tx.execute(
            "INSERT INTO epoch_marks (scope, epoch_no, seq) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            values![scope, current, last - count],
        )
        .await?;
        tx.execute("UPDATE sync_scope SET epoch_no = $2 WHERE scope = $1", values![scope, current]).await?;
    }
    Ok(last - count + 1)
}

/// The counters of scopes; those never written to are missing.
pub(super) async fn counters(
    tx: &mut dyn Transaction,
    scopes: impl IntoIterator<Item = &String>,
    epoch: Option<i64>,
) -> Result<BTreeMap<String, Counter>, StoreError> {
    let none_later = epoch.unwrap_or(i64::MAX);
    let rows = tx.rows_of(&COUNTERS, values![Value::among(scopes), none_later]).await?;
    rows.iter()
        .map(|row| {
            let held = row.int_or_none("held")?;
            let counter = Counter { last: row.int("seq")?, pruned: row.int("pruned_through")?, held };
            Ok((row.text("scope")?.to_owned(), counter))
        })
        .collect()
}

/// Whether a cursor holds, wholly. From here on it is one of the epoch that lasts.
pub(super) fn admit(
    cursor: &mut Cursor,
    epochs: &Epochs,
    counters: &BTreeMap<String, Counter>,
) -> Result<(), StoreError> {
    let continues = |(scope, from): (&String, &i64)| counters.get(scope).copied().unwrap_or_default().continues(*from);
    if !cursor.scopes.is_empty() && epochs.of_cursor.is_none() || !cursor.scopes.iter().all(continues) {
        return Err(StoreError::CursorExpired);
    }
    cursor.epoch.clone_from(&epochs.current);
    Ok(())
}
