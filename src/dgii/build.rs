//! Builds the index file out of the staged rows.
//!
//! An ordinary SQLite file with FTS5, written once and never changed. `row` is the order of merit (active
//! taxpayers first, shorter names first), so that "the best ten of forty thousand" is "the first ten": no ranking at
//! query time, however common the word.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, params};

use super::error::{At, ImportError};
use super::stage::Stage;
use super::text::{fold, name_hash, without_legal_form};

/// Version of the layout below; an index of another version is refused by the reader.
pub(super) const SCHEMA_VERSION: i64 = 1;
/// `DNPD` in ASCII: marks the file as ours.
pub(super) const APPLICATION_ID: i64 = 0x444e_5044;
/// Page cache while building, in KiB.
const CACHE_KIB: u32 = 32 * 1024;
/// What FTS5 gathers in memory before it writes a segment, in bytes.
const SEGMENT_BYTES: u32 = 32 * 1024 * 1024;

const SCHEMA: &str = "
CREATE TABLE taxpayer (row INTEGER PRIMARY KEY, key INTEGER NOT NULL, name TEXT NOT NULL, trade TEXT, activity INTEGER, start INTEGER,
  status INTEGER, regime INTEGER);
CREATE TABLE label (number INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE exact (hash INTEGER, row INTEGER, PRIMARY KEY (hash, row)) WITHOUT ROWID;
CREATE TABLE word (text TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE about (rows INTEGER NOT NULL, active_rows INTEGER NOT NULL);
CREATE VIRTUAL TABLE name USING fts5 (text, content='', columnsize=0, detail=none, prefix='3', tokenize='ascii');
";

/// What was built.
pub(super) struct Built {
    pub(super) rows: u64,
    pub(super) active_rows: u64,
    pub(super) bytes: u64,
}

/// Writes the index to `path` (which must not exist) and flushes it to disk. `progress` gets (rows done, rows).
pub(super) fn build(stage: &Stage, path: &Path, progress: &dyn Fn(u64, u64)) -> Result<Built, ImportError> {
    let db = Connection::open(path)?;
    db.execute_batch(&format!(
        "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-{CACHE_KIB};
         PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};
         BEGIN; {SCHEMA}
         INSERT INTO name (name, rank) VALUES ('hashsize', {SEGMENT_BYTES});"
    ))?;
    let (keys, active_rows) = stage.ordered_keys()?;
    let rows = keys.len();
    let mut exact = write_rows(&db, stage, &keys, progress)?;
    drop(keys);

    let mut put_exact = db.prepare("INSERT OR IGNORE INTO exact VALUES (?1, ?2)")?;
    exact.sort_unstable();
    for (hash, row) in exact {
        put_exact.execute(params![hash, row])?;
    }
    put_exact.finalize()?;
    for (number, text) in stage.labels() {
        db.execute("INSERT INTO label VALUES (?1, ?2)", params![number, text])?;
    }
    db.execute("INSERT INTO about VALUES (?1, ?2)", [whole(rows), whole(active_rows)])?;
    db.execute_batch(
        "CREATE UNIQUE INDEX taxpayer_key ON taxpayer (key);
         INSERT INTO name (name) VALUES ('optimize');
         CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab (main, name, row);
         INSERT INTO word SELECT term, doc FROM temp.vocabulary;
         COMMIT",
    )?;
    db.close().map_err(|(_, error)| error)?;
    let file = File::open(path).at(path)?;
    file.sync_all().at(path)?;
    let unsigned = |n: usize| u64::try_from(n).expect("a length fits in 64 bits");
    Ok(Built { rows: unsigned(rows), active_rows: unsigned(active_rows), bytes: file.metadata().at(path)?.len() })
}

fn whole(n: usize) -> i64 {
    i64::try_from(n).expect("a length in memory fits in 63 bits")
}

/// Writes the rows and their words; gives the (hash, row) pairs of exact names.
fn write_rows(db: &Connection, stage: &Stage, keys: &[i64], progress: &dyn Fn(u64, u64)) -> Result<Vec<(i64, u32)>, ImportError> {
    let total = u64::try_from(keys.len()).expect("a length fits in 64 bits");
    let mut exact = Vec::with_capacity(keys.len() + keys.len() / 2);
    let mut put_row = db.prepare("INSERT INTO taxpayer VALUES (?1,?2,?3,?4,?5,?6,?7,?8)")?;
    let mut put_words = db.prepare("INSERT INTO name (rowid, text) VALUES (?1, ?2)")?;
    progress(0, total);
    for (row, key) in (1_u32..).zip(keys) {
        let r = stage.row(*key)?;
        let trade_folded = r.trade_name.as_deref().map(fold);
        let name_folded = fold(&r.name);
        exact.push((name_hash(&without_legal_form(&name_folded)), row));
        if let Some(trade) = &trade_folded {
            exact.push((name_hash(&without_legal_form(trade)), row));
        }
        put_row.execute(params![row, r.key, r.name, r.trade_name, r.activity, r.start_day, r.status, r.regime])?;
        put_words.execute(params![row, distinct_words(&name_folded, trade_folded.as_deref())])?;
        if row.is_multiple_of(8192) {
            progress(row.into(), total);
        }
    }
    Ok(exact)
}

/// The words of both names, each once: the trade name mostly repeats the name.
fn distinct_words(name: &str, trade: Option<&str>) -> String {
    let mut seen = HashSet::new();
    let words: Vec<&str> = name.split(' ').chain(trade.unwrap_or_default().split(' ')).filter(|w| !w.is_empty() && seen.insert(*w)).collect();
    words.join(" ")
}
