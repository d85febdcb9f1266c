//! [`Padron`]: the handle everybody holds. Questions go to the active index, imports replace it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::error::{ImportError, PadronError};
use super::identifier::TaxpayerId;
use super::import::{self, Checked, ImportOptions, Progress};
use super::read::{Index, Listed};
use super::report::{ImportInfo, ImportReport};
use super::search::{self, NameHits, NameQuery};
use super::store::{Entry, Stamp, Store};

/// Limits of the reading side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PadronLimits {
    /// Connections kept open between questions; more are opened for a burst and closed after it.
    pub idle_connections_max: usize,
    /// Page cache of each connection, in KiB.
    pub cache_kib_per_connection: u32,
    /// How much of the index file may be memory-mapped, in bytes; 0 reads it with system calls.
    pub mmap_bytes_max: u64,
    /// Names in one answer.
    pub hits_max: usize,
    /// Where counting the matches of a name query stops.
    pub total_max: usize,
    /// Length of a name query, in characters.
    pub query_chars_max: usize,
    /// Length of a name query, in words.
    pub query_words_max: usize,
}

impl Default for PadronLimits {
    fn default() -> Self {
        Self {
            idle_connections_max: 4,
            cache_kib_per_connection: 2048,
            // Measured: mapping saves a tenth of a millisecond and makes the whole index count as resident.
            mmap_bytes_max: 0,
            hits_max: 10,
            total_max: 1000,
            query_chars_max: 200,
            query_words_max: 16,
        }
    }
}

/// The DGII listing of one folder. Cheap to clone; all clones see the same active listing.
#[derive(Clone)]
pub struct Padron {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    limits: PadronLimits,
    loaded: ArcSwap<Loaded>,
}

/// What this process has open: one consistent reading of `active.json`.
#[derive(Default)]
struct Loaded {
    stamp: Option<Stamp>,
    active: Option<(Entry, Index)>,
    previous: Option<Entry>,
}

/// What is active, and what a roll-back would bring back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PadronStatus {
    /// The listing that answers; `None` before the first import.
    pub active: Option<ImportInfo>,
    /// The listing before it.
    pub previous: Option<ImportInfo>,
}

impl Padron {
    /// Opens a folder, making it if need be. A folder without a listing is no error: questions then answer
    /// [`PadronError::NotLoaded`].
    ///
    /// # Errors
    /// [`PadronError::Io`] when the folder cannot be used, [`PadronError::Damaged`] when what it says is active is
    /// not readable.
    pub fn open(dir: &Path, limits: PadronLimits) -> Result<Self, PadronError> {
        let store = Store::open(dir)?;
        let inner = Inner { loaded: ArcSwap::from_pointee(load(&store, limits)?), store, limits };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Looks a number up, whatever its check digit says. Blocks for microseconds.
    ///
    /// # Errors
    /// [`PadronError::NotLoaded`] without a listing; [`PadronError::Engine`] or [`PadronError::Damaged`] when the
    /// index cannot be read.
    pub fn lookup(&self, id: &TaxpayerId) -> Result<Listed, PadronError> {
        self.ask(|entry, index| Ok(Listed { taxpayer: index.lookup(id)?, cutoff: entry.info.cutoff }))
    }

    /// Searches names and trade names. Blocks for milliseconds: call it off the async threads if that matters.
    ///
    /// # Errors
    /// As [`Self::lookup`], and [`PadronError::QueryTooShort`] or [`PadronError::QueryTooLong`].
    pub fn search(&self, query: &NameQuery) -> Result<NameHits, PadronError> {
        self.ask(|entry, index| search::search(index, &self.inner.limits, entry.info.cutoff, query))
    }

    /// What is active in this process.
    #[must_use]
    pub fn status(&self) -> PadronStatus {
        let loaded = self.inner.loaded.load();
        PadronStatus { active: loaded.active.as_ref().map(|(e, _)| e.info.clone()), previous: loaded.previous.as_ref().map(|e| e.info.clone()) }
    }

    /// Imports one or both official zips and makes them the active listing. Blocks for as long as that takes
    /// (about half a minute for 800,000 taxpayers); questions are answered from the old listing meanwhile.
    ///
    /// # Errors
    /// [`ImportError`]: the files are refused, or something failed. The active listing is untouched then.
    pub fn import(&self, files: &[PathBuf], options: &ImportOptions, progress: &dyn Fn(Progress)) -> Result<ImportReport, ImportError> {
        let report = import::import(&self.inner.store, self.inner.limits, files, options, progress)?;
        self.reload_if_changed()?;
        Ok(report)
    }

    /// Looks at the outside of the files: whether they are the official zips and may follow the active listing. Unpacks nothing and changes
    /// nothing; reads them once, for their digest.
    ///
    /// # Errors
    /// [`ImportError`]: an import of them would be refused.
    pub fn check(&self, files: &[PathBuf], options: &ImportOptions) -> Result<Vec<Checked>, ImportError> {
        import::check(&self.inner.store, files, options)
    }

    /// Makes the previous listing the active one (and the active one the previous: a second call undoes the first).
    ///
    /// # Errors
    /// [`PadronError::NoPrevious`], [`PadronError::Busy`] while an import runs, or an I/O failure.
    pub fn rollback(&self) -> Result<ImportInfo, PadronError> {
        let lock = self.inner.store.lock()?;
        let info = self.inner.store.swap(&lock)?;
        drop(lock);
        self.reload_if_changed()?;
        Ok(info)
    }

    /// The file of the active listing: its name, where it is, and what is known of it. None before the first import.
    #[must_use]
    pub fn active_file(&self) -> Option<(String, PathBuf, ImportInfo)> {
        let loaded = self.inner.loaded.load();
        let (entry, _) = loaded.active.as_ref()?;
        Some((entry.file.clone(), self.inner.store.path(&entry.file), entry.info.clone()))
    }

    /// Where a file that comes from another node is put together. It is on the folder's own disk, and cleared away by the next import when it is left.
    #[must_use]
    pub fn incoming(&self, name: &str) -> PathBuf {
        self.inner.store.building(&format!("incoming-{name}"))
    }

    /// Makes a listing active that another node imported: its index file, put together at [`Self::incoming`], or none when the previous listing is
    /// the one. Blocks for milliseconds.
    ///
    /// # Errors
    /// [`PadronError::Damaged`] when it is no index, [`PadronError::Busy`] while an import runs, or an I/O failure.
    pub fn adopt(&self, name: &str, info: ImportInfo, built: Option<&Path>) -> Result<(), PadronError> {
        let lock = self.inner.store.lock()?;
        match built {
            Some(built) => {
                drop(Index::open(built.to_owned(), self.inner.limits)?);
                self.inner.store.adopt(&lock, built, Entry { file: name.to_owned(), info })?;
            }
            None => drop(self.inner.store.swap(&lock)?),
        }
        drop(lock);
        self.reload_if_changed()?;
        Ok(())
    }

    /// The name of the previous listing's file.
    #[must_use]
    pub fn previous_file(&self) -> Option<String> {
        self.inner.loaded.load().previous.as_ref().map(|entry| entry.file.clone())
    }

    /// Takes over a listing that another process activated. One `stat` when nothing changed; call it every few
    /// seconds. `true` when something changed.
    ///
    /// # Errors
    /// As [`Self::open`]; the listing that was open stays open.
    pub fn reload_if_changed(&self) -> Result<bool, PadronError> {
        if self.inner.store.stamp()? == self.inner.loaded.load().stamp {
            return Ok(false);
        }
        self.inner.loaded.store(Arc::new(load(&self.inner.store, self.inner.limits)?));
        Ok(true)
    }

    /// Asks the active index; once more when its file is gone because somebody activated another one twice.
    fn ask<T>(&self, question: impl Fn(&Entry, &Index) -> Result<T, PadronError>) -> Result<T, PadronError> {
        let once = || {
            let loaded = self.inner.loaded.load();
            let (entry, index) = loaded.active.as_ref().ok_or(PadronError::NotLoaded)?;
            question(entry, index)
        };
        match once() {
            Err(PadronError::Damaged { .. }) if self.reload_if_changed()? => once(),
            answer => answer,
        }
    }
}

fn load(store: &Store, limits: PadronLimits) -> Result<Loaded, PadronError> {
    // Two activations between reading the state and opening its file delete that file: read again.
    let mut attempts = 3;
    loop {
        attempts -= 1;
        let (state, stamp) = store.state()?;
        let Some(entry) = state.active else { return Ok(Loaded { stamp, active: None, previous: state.previous }) };
        match Index::open(store.path(&entry.file), limits) {
            Ok(index) => return Ok(Loaded { stamp, active: Some((entry, index)), previous: state.previous }),
            Err(_) if attempts > 0 && store.stamp()? != stamp => {}
            Err(error) => return Err(error),
        }
    }
}
