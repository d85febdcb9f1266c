//! One active index, read-only: a small pool of connections and the exact look-up.
//!
//! Connections are opened with `immutable=1`: an index file never changes after its activation, so SQLite takes no
//! locks and looks for no journal. Everything here is synchronous and takes microseconds.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use chrono::NaiveDate;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};
use serde::Serialize;
use url::Url;

use super::build::{APPLICATION_ID, SCHEMA_VERSION};
use super::error::PadronError;
use super::identifier::TaxpayerId;
use super::padron::PadronLimits;
use super::stage::{count_at, date_of};

/// A taxpayer as the listing has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taxpayer {
    /// RNC or cédula.
    pub id: TaxpayerId,
    /// *Razón social*, as the DGII writes it, blanks collapsed; 65 characters at most if only the TXT was imported.
    pub name: String,
    /// *Nombre comercial*; only the TXT has it. Often equal to the name.
    pub trade_name: Option<String>,
    /// *Actividad económica*; cut at 30 characters if only the TXT was imported.
    pub activity: Option<String>,
    /// *Fecha de inicio de operaciones*.
    pub start_date: Option<NaiveDate>,
    /// *Estado*: ACTIVO, SUSPENDIDO, DADO DE BAJA, CESE TEMPORAL, ANULADO, RECHAZADO, or whatever the DGII writes.
    pub status: Option<String>,
    /// *Régimen de pagos*: NORMAL, RST, PST.
    pub regime: Option<String>,
}

impl Taxpayer {
    /// Whether the status is exactly ACTIVO (`INACTIVO` holds the same letters and is not).
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status.as_deref() == Some("ACTIVO")
    }
}

/// The answer to an exact look-up: the taxpayer, or that the listing of that day does not have the number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// `None`: not in the listing of [`Self::cutoff`], which does not mean that it does not exist.
    pub taxpayer: Option<Taxpayer>,
    /// The day the data are of.
    pub cutoff: NaiveDate,
}

/// Columns that [`taxpayer`] reads, in its order.
macro_rules! select_taxpayer {
    ($condition:literal) => {
        concat!("SELECT key, name, trade, activity, start, status, regime FROM taxpayer WHERE ", $condition)
    };
}

/// The taxpayer in one row of the index.
pub(super) const SELECT_BY_ROW: &str = select_taxpayer!("row = ?1");
const SELECT_BY_KEY: &str = select_taxpayer!("key = ?1");

/// The texts of activities, statuses and regimes: a few hundred, numbered from 1 without gaps.
#[derive(Default)]
pub(super) struct Labels(Vec<Box<str>>);

impl Labels {
    fn load(db: &Connection) -> rusqlite::Result<Self> {
        db.prepare("SELECT text FROM label ORDER BY number")?.query_map([], |r| r.get::<_, String>(0).map(String::into_boxed_str))?.collect::<rusqlite::Result<_>>().map(Self)
    }

    fn text(&self, number: Option<i64>) -> Option<String> {
        let at = usize::try_from(number?.checked_sub(1)?).ok()?;
        self.0.get(at).map(ToString::to_string)
    }
}

/// An index file and its idle connections.
pub(super) struct Index {
    path: PathBuf,
    limits: PadronLimits,
    idle: Mutex<Vec<Connection>>,
    pub(super) labels: Labels,
    pub(super) rows: u64,
    pub(super) active_rows: u64,
}

impl Index {
    /// Opens an index and checks that it is one of ours and of this version.
    pub(super) fn open(path: PathBuf, limits: PadronLimits) -> Result<Self, PadronError> {
        let mut index = Self { path, limits, idle: Mutex::new(Vec::new()), labels: Labels::default(), rows: 0, active_rows: 0 };
        let db = index.connect()?;
        let pragma = |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |r| r.get::<_, i64>(0));
        let check = || -> rusqlite::Result<Option<(u64, u64, Labels)>> {
            if pragma("application_id")? != APPLICATION_ID || pragma("user_version")? != SCHEMA_VERSION {
                return Ok(None);
            }
            let (rows, active_rows) = db.query_row("SELECT rows, active_rows FROM about", [], |r| Ok((count_at(r, 0)?, count_at(r, 1)?)))?;
            Ok(Some((rows, active_rows, Labels::load(&db)?)))
        };
        match check() {
            Ok(Some((rows, active_rows, labels))) => (index.rows, index.active_rows, index.labels) = (rows, active_rows, labels),
            Ok(None) => return Err(index.damaged("it is of another version")),
            Err(cause) => return Err(index.damaged(&cause.to_string())),
        }
        index.give_back(db);
        Ok(index)
    }

    /// Runs `work` on an idle connection, or on a new one.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, PadronError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let db = match idle {
            Some(db) => db,
            None => self.connect()?,
        };
        let result = work(&db);
        self.give_back(db);
        Ok(result?)
    }

    /// The row of one number.
    pub(super) fn lookup(&self, id: &TaxpayerId) -> Result<Option<Taxpayer>, PadronError> {
        self.with(|db| db.prepare_cached(SELECT_BY_KEY)?.query_row([id.key()], |r| taxpayer(r, &self.labels)).optional())
    }

    fn give_back(&self, db: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.limits.idle_connections_max {
            idle.push(db);
        }
    }

    fn connect(&self) -> Result<Connection, PadronError> {
        let uri = Url::from_file_path(&self.path).map_err(|()| self.damaged("its path is not absolute"))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let open = || -> rusqlite::Result<Connection> {
            let db = Connection::open_with_flags(format!("{uri}?immutable=1"), flags)?;
            db.execute_batch(&format!("PRAGMA cache_size=-{}; PRAGMA mmap_size={}", self.limits.cache_kib_per_connection, self.limits.mmap_bytes_max))?;
            Ok(db)
        };
        open().map_err(|cause| self.damaged(&cause.to_string()))
    }

    fn damaged(&self, cause: &str) -> PadronError {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        PadronError::Damaged { file, cause: cause.to_owned() }
    }
}

/// Reads a row of [`SELECT_BY_ROW`] or by key.
pub(super) fn taxpayer(r: &Row<'_>, labels: &Labels) -> rusqlite::Result<Taxpayer> {
    let key: i64 = r.get(0)?;
    Ok(Taxpayer {
        id: TaxpayerId::from_key(key).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, key))?,
        name: r.get(1)?,
        trade_name: r.get(2)?,
        activity: labels.text(r.get(3)?),
        start_date: r.get::<_, Option<i32>>(4)?.and_then(date_of),
        status: labels.text(r.get(5)?),
        regime: labels.text(r.get(6)?),
    })
}
