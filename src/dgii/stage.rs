//! Where imported rows wait until all files are read: one row per number, on disk, later row wins (rule R7).
//!
//! A throw-away SQLite file beside the index that is being built. It keeps the import's memory bounded whatever
//! the size of the files; nothing but the import ever sees it.

use std::collections::HashMap;
use std::path::Path;

use chrono::{Datelike, NaiveDate};
use rusqlite::{CachedStatement, Connection, params};

use super::error::ImportError;
use super::report::SourceKind;
use super::txt::Row;

/// Page cache of the staging file, in KiB.
const CACHE_KIB: u32 = 48 * 1024;
/// Distinct activities, statuses and regimes together; the true file has about 2,000.
const LABELS_MAX: usize = 20_000;

/// What the TXT says is kept whole; the CSV adds its longer activity, its longer name where the TXT's is cut, what
/// the TXT leaves blank, and the rows the TXT does not have.
const PUT: [&str; 2] = [
    "INSERT INTO staged (key, name, trade, activity, start, status, regime, cut, src) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,1)
     ON CONFLICT (key) DO UPDATE SET name=excluded.name, trade=excluded.trade, activity=excluded.activity, start=excluded.start,
       status=excluded.status, regime=excluded.regime, cut=excluded.cut, src=src|1",
    "INSERT INTO staged (key, name, trade, activity, start, status, regime, cut, src) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,2)
     ON CONFLICT (key) DO UPDATE SET
       name=iif(src&1 AND NOT (cut AND substr(excluded.name,1,length(name))=name), name, excluded.name),
       activity=coalesce(excluded.activity, iif(src&1, activity, NULL)),
       start=iif(src&1, coalesce(start, excluded.start), excluded.start),
       status=iif(src&1, coalesce(status, excluded.status), excluded.status),
       regime=iif(src&1, coalesce(regime, excluded.regime), excluded.regime),
       src=src|2",
];

/// The staging file and the texts that many rows share.
pub(super) struct Stage {
    db: Connection,
    labels: Labels,
}

/// Texts of activities, statuses and regimes, numbered from 1.
#[derive(Default)]
pub(super) struct Labels {
    numbers: HashMap<String, i64>,
}

/// One row as the index takes it.
pub(super) struct StagedRow {
    pub(super) key: i64,
    pub(super) name: String,
    pub(super) trade_name: Option<String>,
    pub(super) activity: Option<i64>,
    pub(super) start_day: Option<i32>,
    pub(super) status: Option<i64>,
    pub(super) regime: Option<i64>,
}

impl Stage {
    pub(super) fn create(path: &Path) -> Result<Self, ImportError> {
        let db = Connection::open(path)?;
        db.execute_batch(&format!(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-{CACHE_KIB};
             CREATE TABLE staged (key INTEGER PRIMARY KEY, name TEXT NOT NULL, trade TEXT, activity INTEGER, start INTEGER,
               status INTEGER, regime INTEGER, cut INTEGER NOT NULL, src INTEGER NOT NULL);
             BEGIN"
        ))?;
        Ok(Self { db, labels: Labels::default() })
    }

    /// A writer for the rows of one file; the TXT must come before the CSV.
    pub(super) fn writer(&mut self, kind: SourceKind) -> Result<Writer<'_>, ImportError> {
        let put = self.db.prepare_cached(PUT[usize::from(kind == SourceKind::Csv)])?;
        Ok(Writer { put, labels: &mut self.labels })
    }

    /// Distinct numbers that came from a file of this kind.
    pub(super) fn unique(&self, kind: SourceKind) -> Result<u64, ImportError> {
        let bit = if kind == SourceKind::Txt { 1 } else { 2 };
        Ok(self.db.query_row("SELECT count(*) FROM staged WHERE src & ?1", [bit], count)?)
    }

    /// Distinct numbers altogether.
    pub(super) fn rows(&self) -> Result<u64, ImportError> {
        Ok(self.db.query_row("SELECT count(*) FROM staged", [], count)?)
    }

    /// All keys in the order of the index (active first, then shorter names first), and how many are active.
    pub(super) fn ordered_keys(&self) -> Result<(Vec<i64>, usize), ImportError> {
        let active = self.labels.numbers.get("ACTIVO").copied().unwrap_or(-1);
        let mut keys = Vec::with_capacity(usize::try_from(self.rows()?).unwrap_or(0));
        let mut active_rows = 0;
        // Only a few bytes of the name take part in the sort: the sorter must fit in its cache.
        let mut select = self.db.prepare("SELECT key, status IS ?1 AS active FROM staged ORDER BY status IS NOT ?1, length(name), substr(name,1,3), key")?;
        let mut rows = select.query([active])?;
        while let Some(row) = rows.next()? {
            keys.push(row.get(0)?);
            active_rows += usize::from(row.get::<_, bool>(1)?);
        }
        Ok((keys, active_rows))
    }

    /// One row by its key.
    pub(super) fn row(&self, key: i64) -> Result<StagedRow, ImportError> {
        let mut select = self.db.prepare_cached("SELECT name, trade, activity, start, status, regime FROM staged WHERE key=?1")?;
        Ok(select
            .query_row([key], |r| Ok(StagedRow { key, name: r.get(0)?, trade_name: r.get(1)?, activity: r.get(2)?, start_day: r.get(3)?, status: r.get(4)?, regime: r.get(5)? }))?)
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = (i64, &str)> {
        self.labels.numbers.iter().map(|(text, number)| (*number, text.as_str()))
    }
}

/// Writes the rows of one file.
pub(super) struct Writer<'a> {
    put: CachedStatement<'a>,
    labels: &'a mut Labels,
}

impl Writer<'_> {
    /// Takes one row. `Err(None)`: there are more distinct labels than the layout could have.
    pub(super) fn put(&mut self, row: &Row) -> Result<(), Option<ImportError>> {
        let activity = self.labels.number(row.activity.as_deref())?;
        let status = self.labels.number(row.status.as_deref())?;
        let regime = self.labels.number(row.regime.as_deref())?;
        let start = row.start_date.map(|d| d.num_days_from_ce());
        self.put.execute(params![row.id.key(), row.name, row.trade_name, activity, start, status, regime, row.name_cut]).map_err(|e| Some(e.into()))?;
        Ok(())
    }
}

impl Labels {
    fn number(&mut self, text: Option<&str>) -> Result<Option<i64>, Option<ImportError>> {
        let Some(text) = text else { return Ok(None) };
        if let Some(number) = self.numbers.get(text) {
            return Ok(Some(*number));
        }
        if self.numbers.len() >= LABELS_MAX {
            return Err(None);
        }
        let number = i64::try_from(self.numbers.len()).expect("at most LABELS_MAX") + 1;
        self.numbers.insert(text.to_owned(), number);
        Ok(Some(number))
    }
}

/// Reads the first column as a count.
pub(super) fn count(r: &rusqlite::Row<'_>) -> rusqlite::Result<u64> {
    count_at(r, 0)
}

/// Reads a column as a count; SQLite has no unsigned integers.
pub(super) fn count_at(r: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = r.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// The date behind a stored day number.
pub(super) fn date_of(day: i32) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dgii::TaxpayerId;

    fn row(id: &str, name: &str, cut: bool) -> Row {
        Row {
            id: TaxpayerId::parse(id).unwrap(),
            name: name.to_owned(),
            trade_name: None,
            activity: Some("CORTA".to_owned()),
            start_date: None,
            status: Some("ACTIVO".to_owned()),
            regime: None,
            name_cut: cut,
        }
    }

    #[test]
    fn the_later_row_wins_and_the_csv_completes() {
        let folder = tempfile::tempdir().unwrap();
        let mut stage = Stage::create(&folder.path().join("s")).unwrap();
        let id = "131793916";
        let mut txt = stage.writer(SourceKind::Txt).unwrap();
        txt.put(&row(id, "OLD", false)).unwrap();
        txt.put(&Row { trade_name: Some("T".into()), ..row(id, "INDEXA DEL CA", true) }).unwrap();
        txt.put(&row("401506254", "DGII", false)).unwrap();
        drop(txt);
        let mut csv = stage.writer(SourceKind::Csv).unwrap();
        csv.put(&Row { activity: Some("LARGA".into()), status: Some("SUSPENDIDO".into()), regime: Some("RST".into()), ..row(id, "INDEXA DEL CARIBE", false) }).unwrap();
        csv.put(&row("401506254", "OTHER NAME", false)).unwrap();
        csv.put(&row("401007551", "ONLY CSV", false)).unwrap();
        drop(csv);
        let found = stage.row(TaxpayerId::parse(id).unwrap().key()).unwrap();
        let label = |n: Option<i64>| stage.labels().find(|(number, _)| Some(*number) == n).map(|(_, text)| text.to_owned());
        assert_eq!((found.name.as_str(), found.trade_name.as_deref()), ("INDEXA DEL CARIBE", Some("T")));
        assert_eq!((label(found.activity), label(found.status), label(found.regime)), (Some("LARGA".into()), Some("ACTIVO".into()), Some("RST".into())));
        assert_eq!(stage.row(TaxpayerId::parse("401506254").unwrap().key()).unwrap().name, "DGII");
        assert_eq!((stage.unique(SourceKind::Txt).unwrap(), stage.unique(SourceKind::Csv).unwrap(), stage.rows().unwrap()), (2, 3, 3));
        assert_eq!(stage.ordered_keys().unwrap().1, 3);
    }
}
