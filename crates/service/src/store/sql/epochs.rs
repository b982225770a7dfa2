//! Epochs: which stretch of which database's life a cursor was given in (protocol.md, Cursor).
//!
//! A backup that is restored brings counters back to where they were; what is written then takes them past the numbers that
//! readers already hold, and their cursors would point into rows they never saw. So every time the first process opens the
//! database a new epoch begins, and the first write of an epoch to a scope marks where the scope's counter stood. A cursor
//! of an earlier epoch holds as far as the counter had come before any later epoch wrote: in a database that went on
//! without a restore that is always far enough, and in one that was restored it never is – however often it was restored or
//! restarted since, and without a clock. A cursor of an epoch the database doesn't know is another database's.

use carrel_model::{TimeMs, time::DAY_MS};

use super::{Transaction, values};
use crate::store::StoreError;

/// As long as tombstones are kept; a cursor older than an epoch that is forgotten has expired for their sake anyway.
const EPOCH_RETENTION_MS: i64 = 180 * DAY_MS;

/// By its name, and the one that lasts.
pub(in crate::store) const BY_NAME: &str = "SELECT e.no, e.name, s.value AS incarnation FROM epochs e, service_state s
     WHERE s.key = 'epoch' AND (e.name = $1 OR e.no = (SELECT MAX(no) FROM epochs))";

/// The epoch a cursor was given in, and the one its successor will be given in.
pub(super) struct Epochs {
    /// Of the epoch that lasts.
    pub(super) current: String,
    /// The number of the cursor's own epoch; none if it isn't of this database.
    pub(super) of_cursor: Option<i64>,
}

/// Begins an epoch. Called by whoever opens the database while nobody else has it open.
pub(in crate::store) async fn begin(tx: &mut dyn Transaction, name: &str, now: TimeMs) -> Result<(), StoreError> {
    tx.execute("INSERT INTO epochs (name, began_at) VALUES ($1, $2)", values![name, now]).await?;
    Ok(())
}

/// Looks an epoch up by what a cursor calls it.
pub(super) async fn look_up(tx: &mut dyn Transaction, of_cursor: &str) -> Result<Epochs, StoreError> {
    let (incarnation, name) = of_cursor.split_once('.').unwrap_or(("", ""));
    let rows = tx.rows(BY_NAME, values![name]).await?;
    let mut found = Epochs { current: String::new(), of_cursor: None };
    let mut latest = i64::MIN;
    for row in &rows {
        let number = row.int("no")?;
        if row.text("name")? == name && row.text("incarnation")? == incarnation {
            found.of_cursor = Some(number);
        }
        if number > latest {
            latest = number;
            found.current = format!("{}.{}", row.text("incarnation")?, row.text("name")?);
        }
    }
    if rows.is_empty() { Err(StoreError::Damaged("epochs")) } else { Ok(found) }
}

/// Forgets epochs that ended before any cursor that still holds was given.
pub(super) async fn prune(tx: &mut dyn Transaction, now: TimeMs) -> Result<(), StoreError> {
    let before = now.plus_ms(-EPOCH_RETENTION_MS);
    // An epoch has ended when the next one began; the one that lasts has no next.
    let ended = "SELECT MAX(e.no) AS last FROM epochs e
         WHERE EXISTS (SELECT 1 FROM epochs n WHERE n.no > e.no AND n.began_at < $1)";
    let Some(last) = tx.row(ended, values![before]).await?.and_then(|row| row.int("last").ok()) else {
        return Ok(());
    };
    tx.execute("DELETE FROM epochs WHERE no <= $1", values![last]).await?;
    // What a forgotten epoch wrote bounds only cursors of epochs before it, which are forgotten, too.
    tx.execute("DELETE FROM epoch_marks WHERE epoch_no <= $1", values![last]).await?;
    Ok(())
}
