//! The journal: usage on disk before the answer leaves, so that neither a killed process nor an absent database loses a call.
//!
//! A process has one segment, a file of lines `CRC-32 in hexadecimal, space, the row as JSON`. It is appended to with one `write` per call (which
//! a killed process has handed to the kernel; only a power cut can take the last moments of it) and read from the same file by the
//! delivery. The owner holds a lock on its segment. A segment nobody holds is an orphan of a process that was killed: whoever finds it
//! delivers it. To deliver a line twice is harmless, since `tool_usage` ignores an id that it has. The latest rows are kept in memory too, so
//! that a database that keeps up is given them without reading and parsing their lines again.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::db::entities::tool_usage;

/// Disk space taken in advance, bytes: so many calls are kept even when the disk is full (some 400 bytes each).
const RESERVE_BYTES: u64 = 1024 * 1024;
/// A segment whose lines are all delivered is emptied once it is larger than this, bytes.
const RECYCLE_BYTES: u64 = 256 * 1024;
/// Rows kept in memory beside their lines.
const RECENT_ROWS_MAX: usize = 2_048;
/// Read in one go, bytes.
const READ_BYTES_MAX: usize = 512 * 1024;
/// What a line takes, about, bytes.
const LINE_BYTES: usize = 512;
/// A longer line cannot be ours.
const LINE_BYTES_MAX: usize = 16 * 1024;
const EXTENSION: &str = "jsonl";
const CRC_CHARS: usize = 8;

/// A process's journal.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    active: Mutex<Option<Segment>>,
}

/// Whether a process that runs has a segment in that folder.
///
/// # Errors
/// The folder cannot be read.
pub fn in_use(folder: &Path) -> io::Result<bool> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION)
            && let Ok(file) = OpenOptions::new().read(true).open(&path)
            && file.try_lock().is_err()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A file of lines that we hold the lock of.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    /// Whole lines end here.
    bytes: u64,
    /// The last write ended in the middle of a line.
    torn: bool,
    /// The latest rows, in the order of their lines.
    recent: VecDeque<Recent>,
}

/// A row that was written from `start` up to `end`.
#[derive(Debug)]
struct Recent {
    start: u64,
    end: u64,
    row: tool_usage::Model,
}

/// Lines read.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The rows in them.
    pub(super) rows: Vec<tool_usage::Model>,
    /// Where the next ones begin.
    pub(super) next: u64,
    /// Lines that were cut or spoilt: a call that was being written when its process was killed, so that it was not answered.
    pub(super) spoilt: u64,
}

impl Journal {
    /// In that folder, which is made with the first line.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, active: Mutex::new(None) }
    }

    /// Appends a line.
    ///
    /// # Errors
    /// The disk is full or broken; nothing of the line counts, and the row is given back.
    pub(super) fn append(&self, row: tool_usage::Model) -> Result<(), Box<(io::Error, tool_usage::Model)>> {
        let line = match line(&row) {
            Ok(line) => line,
            Err(error) => return Err(Box::new((error, row))),
        };
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let segment = match active.as_mut() {
            Some(segment) => segment,
            None => match Segment::begin(&self.folder) {
                Ok(segment) => active.insert(segment),
                Err(error) => return Err(Box::new((error, row))),
            },
        };
        match segment.append(&line) {
            Ok(start) => segment.remember(start, row),
            Err(error) => return Err(Box::new((error, row))),
        }
        Ok(())
    }

    /// Reads whole lines from there on; none of them when there is nothing new.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(&self, from: u64, rows_max: usize) -> io::Result<Lines> {
        let (file, end) = {
            let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
            match active.as_mut() {
                Some(segment) => match segment.recall(from, rows_max) {
                    Some(lines) => return Ok(lines),
                    None => (segment.file.try_clone()?, segment.bytes),
                },
                None => return Ok(Lines { next: from, ..Lines::default() }),
            }
        };
        read(&file, from, end, rows_max)
    }

    /// Empties the segment if everything up to its end is delivered and it has grown; true when reading begins anew at 0.
    ///
    /// # Errors
    /// The file cannot be emptied.
    pub(super) fn recycle(&self, delivered: u64) -> io::Result<bool> {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        match active.as_mut() {
            Some(segment) if segment.bytes == delivered && segment.bytes > RECYCLE_BYTES => {
                segment.file.set_len(0)?;
                segment.bytes = 0;
                segment.torn = false;
                segment.recent.clear();
                segment.reserve();
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Makes what was written survive a power cut as well. Called while the database is away.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        let file = {
            let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
            active.as_ref().map(|segment| segment.file.try_clone()).transpose()?
        };
        file.map_or(Ok(()), |file| file.sync_data())
    }

    /// Removes the segment if everything in it is delivered; else it stays for the next process.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(super) fn close(&self, delivered: u64) -> io::Result<()> {
        let segment = self.active.lock().unwrap_or_else(PoisonError::into_inner).take();
        match segment {
            Some(segment) if segment.bytes == delivered => segment.remove(),
            _ => Ok(()),
        }
    }

    /// Bytes from there to the end: what waits for delivery.
    pub(super) fn bytes_after(&self, from: u64) -> u64 {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.as_ref().map_or(0, |segment| segment.bytes.saturating_sub(from))
    }

    /// Takes over the segments of processes that are gone.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(super) fn orphans(&self) -> io::Result<Vec<Segment>> {
        let own = self.active.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|segment| segment.path.clone());
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != EXTENSION) || Some(&path) == own.as_ref() {
                continue;
            }
            let file = match OpenOptions::new().read(true).append(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue, // its owner ended well just now
                file => file?,
            };
            if file.try_lock().is_ok() && path.exists() {
                let bytes = file.metadata()?.len();
                found.push(Segment { file, path, bytes, torn: false, recent: VecDeque::new() });
            }
        }
        Ok(found)
    }

    /// Puts a row aside that the database refuses for good, so that a person can look; gives the file.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn set_aside(&self, row: &tool_usage::Model) -> io::Result<PathBuf> {
        let path = self.folder.join("refused.txt");
        crate::db::private_folder(&self.folder).map_err(io::Error::other)?;
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        file.write_all(&line(row)?)?;
        file.sync_data()?;
        Ok(path)
    }
}

impl Segment {
    fn begin(folder: &Path) -> io::Result<Self> {
        crate::db::private_folder(folder).map_err(io::Error::other)?;
        let name = uuid::Uuid::now_v7().simple().to_string();
        // Named only once it is locked: before that another process could take it for an orphan.
        let unnamed = folder.join(format!("{name}.new"));
        let path = folder.join(format!("{name}.{EXTENSION}"));
        let file = OpenOptions::new().create_new(true).read(true).append(true).mode(0o600).open(&unnamed)?;
        file.lock()?;
        std::fs::rename(&unnamed, &path)?;
        let segment = Self { file, path, bytes: 0, torn: false, recent: VecDeque::new() };
        segment.reserve();
        Ok(segment)
    }

    /// Takes disk space in advance. A file system that cannot do so is no reason to stop.
    fn reserve(&self) {
        if let Err(error) = rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, RESERVE_BYTES) {
            tracing::debug!(%error, "no disk space could be reserved for the usage journal");
        }
    }

    /// Writes a line; where it begins.
    fn append(&mut self, line: &[u8]) -> io::Result<u64> {
        // What was half written must not swallow the line after it.
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
            self.bytes = self.file.metadata()?.len();
        }
        if let Err(error) = self.file.write_all(line) {
            self.torn = true;
            return Err(error);
        }
        // Nobody else appends to a segment.
        let start = self.bytes;
        self.bytes += line.len() as u64;
        Ok(start)
    }

    fn remember(&mut self, start: u64, row: tool_usage::Model) {
        if self.recent.len() >= RECENT_ROWS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent { start, end: self.bytes, row });
    }

    /// The rows from there on, if they are in memory still; what is before them is forgotten.
    fn recall(&mut self, from: u64, rows_max: usize) -> Option<Lines> {
        let at = self.recent.binary_search_by_key(&from, |recent| recent.start).ok()?;
        self.recent.drain(..at);
        let mut lines = Lines { next: from, ..Lines::default() };
        for recent in self.recent.iter().take(rows_max) {
            // After a gap (a line that could not be written whole) the file is read.
            if recent.start != lines.next {
                break;
            }
            lines.next = recent.end;
            lines.rows.push(recent.row.clone());
        }
        Some(lines)
    }

    /// Reads whole lines from there on.
    pub(super) fn read(&self, from: u64, rows_max: usize) -> io::Result<Lines> {
        read(&self.file, from, self.bytes, rows_max)
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file; only what is delivered may be removed.
    pub(super) fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

fn line(row: &tool_usage::Model) -> io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(LINE_BYTES);
    line.resize(CRC_CHARS, b'0');
    line.push(b' ');
    serde_json::to_writer(&mut line, row)?;
    let crc = format!("{:08x}", crc32fast::hash(&line[CRC_CHARS + 1..]));
    line[..CRC_CHARS].copy_from_slice(crc.as_bytes());
    line.push(b'\n');
    Ok(line)
}

fn parse(line: &[u8]) -> Option<tool_usage::Model> {
    let (crc, json) = line.split_at_checked(CRC_CHARS + 1)?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?.trim_end(), 16).ok()?;
    (crc32fast::hash(json) == crc).then(|| serde_json::from_slice(json).ok())?
}

fn read(file: &File, from: u64, end: u64, rows_max: usize) -> io::Result<Lines> {
    let mut lines = Lines { next: from, ..Lines::default() };
    let wanted = usize::try_from(end.saturating_sub(from)).unwrap_or(READ_BYTES_MAX).min(READ_BYTES_MAX);
    let mut bytes = vec![0; wanted];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], from + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut rest = &bytes[..filled];
    while lines.rows.len() < rows_max {
        let (line, length) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => (&rest[..at], at + 1),
            // The end of an orphan, or no line at all: what has no end is spoilt, and must not be looked at for ever.
            None if !rest.is_empty() && (from + filled as u64 == end || rest.len() > LINE_BYTES_MAX) => (rest, rest.len()),
            None => break,
        };
        rest = &rest[length..];
        lines.next += length as u64;
        match parse(line) {
            Some(row) => lines.rows.push(row),
            None if line.is_empty() => {}
            None => lines.spoilt += 1,
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn row(number: i64) -> tool_usage::Model {
        tool_usage::Model {
            id: uuid::Uuid::now_v7(),
            client_id: uuid::Uuid::nil(),
            token_id: None,
            tool: "consultar_rnc_dgii".to_owned(),
            agent: Some("línea\n\"dos\"".to_owned()),
            outcome: "ok".to_owned(),
            error_code: None,
            counted: true,
            billing_month: 202_611,
            total_us: number,
            odoo_us: 0,
            odoo_requests: 0,
            request_id: "r".to_owned(),
            started_at: Clock::system().now(),
        }
    }

    fn rows(journal: &Journal) -> Vec<tool_usage::Model> {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let lines = journal.read(from, 7).unwrap();
            if lines.next == from {
                return all;
            }
            from = lines.next;
            all.extend(lines.rows);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("journal"));
        assert_eq!(journal.read(0, 10).unwrap().next, 0);
        let written: Vec<_> = (0..50).map(row).collect();
        for row in &written {
            journal.append(row.clone()).unwrap();
        }
        assert_eq!(rows(&journal), written, "out of memory");
        assert_eq!(rows(&journal), written, "out of the file: memory keeps what was not read yet");
        let more: Vec<_> = (50..100).map(row).collect();
        for row in &more {
            journal.append(row.clone()).unwrap();
        }
        let all: Vec<_> = written.into_iter().chain(more).collect();
        assert_eq!(rows(&journal), all, "out of the file, then out of memory");
        assert!(!journal.recycle(journal.read(0, 100).unwrap().next).unwrap(), "too small to be worth it");
    }

    #[test]
    fn an_orphan_is_taken_over_with_its_torn_end() {
        let folder = tempfile::tempdir().unwrap();
        let first = Journal::new(folder.path().to_owned());
        let written = [row(1), row(2), row(3)];
        for row in &written {
            first.append(row.clone()).unwrap();
        }
        let second = Journal::new(folder.path().to_owned());
        second.append(row(9)).unwrap();
        assert!(second.orphans().unwrap().is_empty(), "its owner lives");
        // Killed in the middle of a line.
        let path = first.active.lock().unwrap().as_ref().unwrap().path.clone();
        drop(first);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&line(&row(4)).unwrap()[..40]).unwrap();
        let orphans = second.orphans().unwrap();
        assert_eq!(orphans.len(), 1);
        assert!(second.orphans().unwrap().is_empty(), "it has an owner again");
        let lines = orphans[0].read(0, 10).unwrap();
        assert_eq!((lines.rows, lines.spoilt), (written.to_vec(), 1));
        assert_eq!(orphans[0].read(lines.next, 10).unwrap().next, lines.next, "the end");
    }

    #[test]
    fn a_delivered_segment_is_emptied_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let mut from = 0;
        let mut seen = 0;
        let mut emptied = 0;
        for number in 0..3_000 {
            journal.append(row(number)).unwrap();
            if number % 100 == 99 {
                loop {
                    let lines = journal.read(from, 64).unwrap();
                    if lines.next == from {
                        break;
                    }
                    seen += lines.rows.len();
                    from = lines.next;
                }
                if journal.recycle(from).unwrap() {
                    (from, emptied) = (0, emptied + 1);
                }
            }
        }
        assert_eq!(seen, 3_000);
        assert!(emptied >= 2, "{emptied}");
        journal.close(from).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_spoilt_line_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let (one, two) = (row(1), row(2));
        journal.append(one.clone()).unwrap();
        {
            let mut active = journal.active.lock().unwrap();
            let segment = active.as_mut().unwrap();
            segment.file.write_all(b"deadbeef {\"id\":").unwrap();
            segment.torn = true;
        }
        journal.append(two.clone()).unwrap();
        let before = journal.read(0, 10).unwrap();
        assert_eq!((before.rows, before.spoilt), (vec![one], 0));
        let after = journal.read(before.next, 10).unwrap();
        assert_eq!((after.rows, after.spoilt), (vec![two], 1));
        assert_eq!(journal.read(after.next, 10).unwrap().next, after.next, "the end");
    }
}
