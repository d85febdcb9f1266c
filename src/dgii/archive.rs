//! One of the two official zips: is it what it must be, and a guarded stream of its one member.
//!
//! Everything here assumes a hostile file: a web page with the name of a zip, a truncated download, a zip bomb, a
//! header that lies about sizes. Nothing is unpacked to disk, and no name from inside the zip is ever used as a path.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use chrono::{Datelike, NaiveDate};
use ring::digest;
use zip::{CompressionMethod, ZipArchive};

use super::error::{At, ImportError};
use super::report::SourceKind;

const CSV_PREFIX: &str = "rnc_contribuyentes_actualizado_";
const MONTHS: [&str; 12] = ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"];
const BUFFER_BYTES: usize = 256 * 1024;

/// What a zip may be at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct ArchiveLimits {
    pub(super) zip_bytes_max: u64,
    pub(super) content_bytes_max: u64,
    pub(super) ratio_max: u64,
}

/// An opened zip that passed the checks on its outside.
pub(super) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    limits: ArchiveLimits,
    zip_bytes: u64,
    pub(super) file_name: String,
    pub(super) kind: SourceKind,
    pub(super) member: String,
    /// Cut-off date that the file states: CSV by its member's name, TXT by its member's time stamp.
    pub(super) cutoff: Option<NaiveDate>,
    /// SHA-256 of the zip, hexadecimal.
    pub(super) sha256: String,
    /// Declared size of the member, in bytes.
    pub(super) content_bytes: u64,
}

/// Digest and size of a member that was read to its end.
pub(super) struct Content {
    pub(super) sha256: String,
    pub(super) bytes: u64,
}

/// An error inside the reading of a member: the stream's own, or what the reader of records found.
pub(super) enum StreamError {
    Io(io::Error),
    Import(ImportError),
}

impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<E: Into<ImportError>> From<E> for StreamError {
    fn from(error: E) -> Self {
        Self::Import(error.into())
    }
}

impl Archive {
    /// Opens and checks the outside of a zip: magic, size, exactly one member of a known name, packing, declared
    /// size and ratio.
    pub(super) fn open(path: &Path, limits: ArchiveLimits) -> Result<Self, ImportError> {
        let file_name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let named = || file_name.clone();
        let file = File::open(path).at(path)?;
        let zip_bytes = file.metadata().at(path)?.len();
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
        let head = reader.fill_buf().at(path)?;
        if !head.starts_with(b"PK\x03\x04") {
            return Err(ImportError::NotAZip { file: named(), html: looks_like_html(head) });
        }
        let too_large = || ImportError::TooLarge { file: named(), bytes_max: limits.content_bytes_max, ratio_max: limits.ratio_max };
        if zip_bytes > limits.zip_bytes_max {
            return Err(too_large());
        }
        let sha256 = hash_all(&mut reader).at(path)?;
        reader.rewind().at(path)?;

        let damaged = |cause: &dyn std::fmt::Display| ImportError::Damaged { file: named(), cause: cause.to_string() };
        let mut zip = ZipArchive::new(reader).map_err(|e| damaged(&e))?;
        if zip.len() != 1 || zip.has_duplicate_names() {
            return Err(ImportError::MemberCount { file: named(), found: zip.len() + usize::from(zip.has_duplicate_names()) });
        }
        let entry = zip.by_index_raw(0).map_err(|e| damaged(&e))?;
        let member = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let Some(kind) = kind_of(&member) else {
            return Err(ImportError::MemberName { file: named(), member: member.chars().take(80).collect() });
        };
        if entry.encrypted() || entry.is_symlink() || !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(ImportError::UnusualPacking { file: named() });
        }
        let content_bytes = entry.size();
        if content_bytes > limits.content_bytes_max || content_bytes > zip_bytes.saturating_mul(limits.ratio_max) {
            return Err(too_large());
        }
        let cutoff = match kind {
            SourceKind::Csv => date_in_name(&member),
            // A zip without a real time stamp says 1980.
            SourceKind::Txt => entry.last_modified().and_then(|t| NaiveDate::from_ymd_opt(t.year().into(), t.month().into(), t.day().into())).filter(|d| d.year() >= 2000),
        };
        drop(entry);
        Ok(Self { zip, limits, zip_bytes, file_name, kind, member, cutoff, sha256, content_bytes })
    }

    /// Streams the member through `read`, with the size limits applied to what really comes out of it, and its
    /// checksum verified when `read` reaches the end. `progress` gets the bytes so far, about once a mebibyte.
    pub(super) fn stream<T>(&mut self, progress: &dyn Fn(u64), read: impl FnOnce(&mut dyn BufRead) -> Result<T, StreamError>) -> Result<(T, Content), ImportError> {
        let file = self.file_name.clone();
        let entry = self.zip.by_index(0).map_err(|e| ImportError::Damaged { file: file.clone(), cause: e.to_string() })?;
        let bytes_max = self.limits.content_bytes_max.min(self.zip_bytes.saturating_mul(self.limits.ratio_max));
        let guarded = Guarded { inner: entry, hash: digest::Context::new(&digest::SHA256), bytes: 0, bytes_max, exceeded: false, progress };
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, guarded);
        let outcome = read(&mut reader);
        let guarded = reader.into_inner();
        match outcome {
            Ok(value) => Ok((value, Content { sha256: hex(guarded.hash.finish().as_ref()), bytes: guarded.bytes })),
            Err(StreamError::Import(error)) => Err(error),
            Err(StreamError::Io(_)) if guarded.exceeded => Err(ImportError::TooLarge { file, bytes_max: self.limits.content_bytes_max, ratio_max: self.limits.ratio_max }),
            Err(StreamError::Io(error)) => Err(ImportError::Damaged { file, cause: error.to_string() }),
        }
    }
}

/// Counts, hashes and limits what a member really unpacks to: the declared size may lie.
struct Guarded<'a, R> {
    inner: R,
    hash: digest::Context,
    bytes: u64,
    bytes_max: u64,
    exceeded: bool,
    progress: &'a dyn Fn(u64),
}

impl<R: Read> Read for Guarded<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        let before = self.bytes;
        self.bytes += u64::try_from(n).expect("a buffer's length fits in 64 bits");
        if self.bytes > self.bytes_max {
            self.exceeded = true;
            return Err(io::Error::other("more bytes than allowed"));
        }
        self.hash.update(&buf[..n]);
        if before >> 20 != self.bytes >> 20 {
            (self.progress)(self.bytes);
        }
        Ok(n)
    }
}

fn kind_of(member: &str) -> Option<SourceKind> {
    let name = member.to_ascii_lowercase();
    match name.as_str() {
        "tmp/dgii_rnc.txt" | "dgii_rnc.txt" => Some(SourceKind::Txt),
        csv if csv.starts_with(CSV_PREFIX) && csv.ends_with(".csv") && !csv.contains(['/', '\\']) && !csv.contains("..") => Some(SourceKind::Csv),
        _ => None,
    }
}

/// `…_19_Sep_2026.csv`: Spanish months, of which the first three letters count; September is also written *Set*.
fn date_in_name(member: &str) -> Option<NaiveDate> {
    let name = member.to_ascii_lowercase();
    let mut parts = name.strip_prefix(CSV_PREFIX)?.strip_suffix(".csv")?.split('_');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = match month.get(..3)? {
        "set" => 9,
        text => u32::try_from(MONTHS.iter().position(|m| *m == text)?).ok()? + 1,
    };
    let digits = |text: &str, width: usize| (text.len() <= width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u32>().ok()).flatten();
    let year = i32::try_from(digits(year, 4).filter(|y| *y >= 2000)?).ok()?;
    parts.next().is_none().then(|| NaiveDate::from_ymd_opt(year, month, digits(day, 2)?)).flatten()
}

/// Whether bytes look like the beginning of a web page.
pub(super) fn looks_like_html(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&head[..head.len().min(1024)]).to_ascii_lowercase();
    head.contains("<html") || head.contains("<!doctype") || head.contains("<head") || head.contains("<body")
}

fn hash_all(reader: &mut impl BufRead) -> io::Result<String> {
    let mut hash = digest::Context::new(&digest::SHA256);
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(hex(hash.finish().as_ref()));
        }
        hash.update(chunk);
        let n = chunk.len();
        reader.consume(n);
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a string cannot fail");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_member_names() {
        let date = |text: &str| date_in_name(&format!("RNC_Contribuyentes_Actualizado_{text}.csv")).map(|d| d.to_string());
        for (text, wanted) in [
            ("19_Sep_2026", "2026-09-19"),
            ("19_Set_2026", "2026-09-19"),
            ("1_Ago_2026", "2026-08-01"),
            ("31_ENE_2027", "2027-01-31"),
            ("06_Dic_2025", "2025-12-06"),
            ("06_Abr_2025", "2025-04-06"),
            ("06_Septiembre_2025", "2025-09-06"),
        ] {
            assert_eq!(date(text).as_deref(), Some(wanted), "{text}");
        }
        for text in ["31_Feb_2026", "19_Aug_2026", "19_Sep", "19_Sep_2026_2", "x_Sep_2026", "19_Sep_1900", "", "19_é_2026"] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_official_member_names() {
        assert_eq!(kind_of("TMP/DGII_RNC.TXT"), Some(SourceKind::Txt));
        assert_eq!(kind_of("RNC_Contribuyentes_Actualizado_19_Sep_2026.csv"), Some(SourceKind::Csv));
        for bad in [
            "../DGII_RNC.TXT",
            "TMP/../DGII_RNC.TXT",
            "/TMP/DGII_RNC.TXT",
            "x/RNC_Contribuyentes_Actualizado_19_Sep_2026.csv",
            "DGII_RNC.TXT.exe",
            "RNC_Contribuyentes_Actualizado_..\\19.csv",
            "",
        ] {
            assert_eq!(kind_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn web_pages_are_recognised() {
        assert!(looks_like_html(b"\r\n<!DOCTYPE html><title>Acceso Denegado"));
        assert!(!looks_like_html(b"131793916|INDEXA"));
    }
}
