//! The folder of listings: which index is active, which one was before, the lock of importers.
//!
//! `active.json` is the only truth. It is replaced by a rename, after the index it names was flushed to disk, so
//! that a crash at any moment leaves either the old or the new listing active, never half of one. Whatever else
//! lies in the folder is a leftover, and the next importer clears it.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::error::{At, PadronError};
use super::report::ImportInfo;

const STATE_FILE: &str = "active.json";
const STATE_TEMP: &str = "active.json.tmp";
const LOCK_FILE: &str = "import.lock";
const INDEX_PREFIX: &str = "padron-";
const BUILDING_PREFIX: &str = "building-";

/// What `active.json` says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) active: Option<Entry>,
    pub(super) previous: Option<Entry>,
}

/// One listing: its index file (a bare name) and what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) file: String,
    pub(super) info: ImportInfo,
}

/// Changes whenever `active.json` is replaced; cheap to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    modified: Option<SystemTime>,
    bytes: u64,
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Store {
    dir: PathBuf,
}

/// A lock on a file, held by one process at a time; released when dropped, or when the process dies.
#[must_use]
pub(super) struct FolderLock(#[expect(dead_code, reason = "the lock lives as long as its file is open")] File);

/// Held by the one importer of a folder.
#[must_use]
pub(super) struct ImportLock(#[expect(dead_code, reason = "as above")] FolderLock);

impl FolderLock {
    /// Takes the lock; `None` if somebody else has it.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(cause)) => Err(cause),
        }
    }
}

impl Store {
    /// Makes the folder where it does not exist.
    pub(super) fn open(dir: &Path) -> Result<Self, PadronError> {
        fs::create_dir_all(dir).at(dir)?;
        Ok(Self { dir: dir.canonicalize().at(dir)? })
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// Takes the importers' lock, or says that somebody else has it.
    pub(super) fn lock(&self) -> Result<ImportLock, PadronError> {
        let path = self.path(LOCK_FILE);
        FolderLock::take(&path).at(&path)?.map(ImportLock).ok_or(PadronError::Busy)
    }

    /// What is active, and the stamp of that knowledge; nothing yet is no error.
    pub(super) fn state(&self) -> Result<(State, Option<Stamp>), PadronError> {
        let path = self.path(STATE_FILE);
        // The stamp first: if the file is replaced in between, the next comparison sees a difference.
        let stamp = self.stamp()?;
        match fs::read(&path) {
            Ok(bytes) => {
                let state: State = serde_json::from_slice(&bytes).map_err(|e| PadronError::Damaged { file: STATE_FILE.to_owned(), cause: e.to_string() })?;
                if let Some(foreign) = [&state.active, &state.previous].into_iter().flatten().find(|e| !is_index_name(&e.file)) {
                    return Err(PadronError::Damaged { file: STATE_FILE.to_owned(), cause: format!("it names {:?}", foreign.file) });
                }
                Ok((state, stamp))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok((State::default(), None)),
            Err(cause) => Err(PadronError::Io { path, cause }),
        }
    }

    /// The stamp alone; `None` when nothing was ever activated.
    pub(super) fn stamp(&self) -> Result<Option<Stamp>, PadronError> {
        let path = self.path(STATE_FILE);
        match fs::metadata(&path) {
            Ok(m) => Ok(Some(Stamp { inode: m.ino(), modified: m.modified().ok(), bytes: m.len() })),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(PadronError::Io { path, cause }),
        }
    }

    /// A path for something that is being built; cleared by the next importer if it is left behind.
    pub(super) fn building(&self, what: &str) -> PathBuf {
        self.path(&format!("{BUILDING_PREFIX}{what}"))
    }

    /// The name of the index of a listing.
    pub(super) fn index_name(info: &ImportInfo) -> String {
        let hash = info.sources.iter().map(|s| s.sha256.get(..8).unwrap_or_default()).collect::<Vec<_>>().join("-");
        format!("{INDEX_PREFIX}{}-{hash}.sqlite", info.cutoff.format("%Y%m%d"))
    }

    /// Moves a finished, flushed file to its final name and makes it the active one; the active one becomes the
    /// previous one, everything older is deleted.
    pub(super) fn activate(&self, _lock: &ImportLock, built: &Path, entry: Entry) -> Result<(), PadronError> {
        fs::rename(built, self.path(&entry.file)).at(built)?;
        self.sync_dir()?;
        let (state, _) = self.state()?;
        self.replace(&State { previous: state.active.filter(|old| old.file != entry.file), active: Some(entry) })
    }

    /// The same with a file of another folder's, whose name must be one that this folder would give.
    pub(super) fn adopt(&self, lock: &ImportLock, built: &Path, entry: Entry) -> Result<(), PadronError> {
        if !is_index_name(&entry.file) {
            return Err(PadronError::Damaged { file: entry.file, cause: "its name is none of an index".to_owned() });
        }
        File::open(built).and_then(|file| file.sync_all()).at(built)?;
        self.activate(lock, built, entry)
    }

    /// Makes the previous listing the active one, and the other way round.
    pub(super) fn swap(&self, _lock: &ImportLock) -> Result<ImportInfo, PadronError> {
        let (state, _) = self.state()?;
        let previous = state.previous.ok_or(PadronError::NoPrevious)?;
        let path = self.path(&previous.file);
        fs::metadata(&path).at(&path)?;
        let info = previous.info.clone();
        self.replace(&State { active: Some(previous), previous: state.active })?;
        Ok(info)
    }

    /// Deletes what no state names: half-built files of a crashed importer, indexes that are neither active nor
    /// previous.
    pub(super) fn clear_leftovers(&self, _lock: &ImportLock) -> Result<(), PadronError> {
        let (state, _) = self.state()?;
        self.clear(&state)
    }

    fn clear(&self, state: &State) -> Result<(), PadronError> {
        let named = |file: &str| [&state.active, &state.previous].into_iter().flatten().any(|e| e.file == file);
        for item in fs::read_dir(&self.dir).at(&self.dir)? {
            let item = item.at(&self.dir)?;
            let Ok(file) = item.file_name().into_string() else { continue };
            if file.starts_with(BUILDING_PREFIX) || file == STATE_TEMP || (is_index_name(&file) && !named(&file)) {
                fs::remove_file(item.path()).at(&item.path())?;
            }
        }
        Ok(())
    }

    fn replace(&self, state: &State) -> Result<(), PadronError> {
        let temp = self.path(STATE_TEMP);
        let mut file = File::create(&temp).at(&temp)?;
        let text = serde_json::to_vec_pretty(state).map_err(|e| PadronError::Damaged { file: STATE_FILE.to_owned(), cause: e.to_string() })?;
        file.write_all(&text).at(&temp)?;
        file.sync_all().at(&temp)?;
        fs::rename(&temp, self.path(STATE_FILE)).at(&temp)?;
        self.sync_dir()?;
        self.clear(state)
    }

    /// A rename survives a power cut only when its folder was flushed.
    fn sync_dir(&self) -> Result<(), PadronError> {
        File::open(&self.dir).and_then(|d| d.sync_all()).at(&self.dir)
    }
}

/// Whether a name is one that [`Store::index_name`] makes: a bare file name of this folder.
fn is_index_name(file: &str) -> bool {
    file.starts_with(INDEX_PREFIX) && file.ends_with(".sqlite") && !file.contains('/')
}
