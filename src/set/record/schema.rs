//! The tables of a set's record, version by version.

use rusqlite::{Connection, Transaction};

/// The version that is written.
pub(super) const VERSION: i64 = 1;
/// Says that a database is a set's: `QSET`.
pub(super) const APPLICATION: i64 = 0x5153_4554;

/// What makes each version of the one before; the first of nothing.
const STEPS: [&str; VERSION as usize] = [include_str!("version_1.sql")];

/// Brings a record to this version.
///
/// # Errors
/// What SQLite says; nothing is changed then.
pub(super) fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for step in STEPS.iter().skip(usize::try_from(from).unwrap_or(usize::MAX)) {
        transaction.execute_batch(step)?;
    }
    settle(&transaction)?;
    transaction.commit()
}

fn settle(transaction: &Transaction) -> rusqlite::Result<()> {
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)
}
