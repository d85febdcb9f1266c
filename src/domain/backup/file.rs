//! The file: written beside its place and named when it is whole; read to its end before anything is done with it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ring::digest;
use serde_json::Value;
use zip::read::ZipFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{FORMAT, MANIFEST, Manifest, TableFacts, member};
use crate::domain::audit::hex;

/// The longest line and the largest manifest that are read, bytes.
const LINE_BYTES_MAX: u64 = 16 * 1_048_576;
const MANIFEST_BYTES_MAX: u64 = 4 * 1_048_576;
/// Rows looked at together when a file is only checked.
const BATCH_ROWS: usize = 1_000;

/// A backup that is being written; only its owner can read it.
pub(super) struct Writer {
    /// None once it is finished.
    zip: Option<ZipWriter<BufWriter<File>>>,
    unnamed: PathBuf,
    path: PathBuf,
    sum: digest::Context,
    rows: u64,
}

impl Writer {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(!path.exists(), "{} is there already: a backup is never overwritten", path.display());
        let mut unnamed = path.as_os_str().to_owned();
        unnamed.push(".part");
        let unnamed = PathBuf::from(unnamed);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unnamed).with_context(|| format!("writing {}", unnamed.display()))?;
        let zip = Some(ZipWriter::new(BufWriter::new(file)));
        Ok(Self { zip, unnamed, path: path.to_owned(), sum: digest::Context::new(&digest::SHA256), rows: 0 })
    }

    pub(super) fn table_begin(&mut self, name: &str) -> anyhow::Result<()> {
        self.sum = digest::Context::new(&digest::SHA256);
        self.rows = 0;
        self.begin(&member(name))
    }

    pub(super) fn row(&mut self, mut line: String) -> anyhow::Result<()> {
        line.push('\n');
        self.sum.update(line.as_bytes());
        self.rows += 1;
        Ok(self.zip()?.write_all(line.as_bytes())?)
    }

    /// Rows and checksum of the table that ends here.
    pub(super) fn table_end(&mut self) -> (u64, String) {
        let sum = std::mem::replace(&mut self.sum, digest::Context::new(&digest::SHA256));
        (self.rows, hex(sum.finish().as_ref()))
    }

    /// Gives the file its name, once it is on the disk.
    pub(super) fn finish(mut self, manifest: &Manifest) -> anyhow::Result<()> {
        self.begin(MANIFEST)?;
        serde_json::to_writer_pretty(self.zip()?, manifest)?;
        let mut buffer = self.zip.take().context("a file is finished once")?.finish()?;
        buffer.flush()?;
        buffer.get_ref().sync_all()?;
        std::fs::rename(&self.unnamed, &self.path).with_context(|| format!("naming {}", self.path.display()))
    }

    fn begin(&mut self, member: &str) -> anyhow::Result<()> {
        Ok(self.zip()?.start_file(member, SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).large_file(true))?)
    }

    fn zip(&mut self) -> anyhow::Result<&mut ZipWriter<BufWriter<File>>> {
        self.zip.as_mut().context("a finished file is not written to")
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // What was not finished is nothing; what was has another name.
        drop(std::fs::remove_file(&self.unnamed));
    }
}

/// A backup that was read to its end and found whole.
pub(super) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    pub(super) manifest: Manifest,
}

impl Archive {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let mut zip = ZipArchive::new(BufReader::new(file)).with_context(|| format!("{} is no backup of Dunet, or not whole", path.display()))?;
        let mut text = String::new();
        let member = zip.by_name(MANIFEST).with_context(|| format!("{} is no backup of Dunet: it has no manifest", path.display()))?;
        member.take(MANIFEST_BYTES_MAX).read_to_string(&mut text).context("reading the manifest")?;
        let form: u64 = serde_json::from_str::<Value>(&text).ok().and_then(|manifest| manifest["format"].as_u64()).context("reading the manifest")?;
        anyhow::ensure!(form == u64::from(FORMAT), "the file was written by a newer Dunet (form {form}, this one reads {FORMAT}): update first");
        let manifest: Manifest = serde_json::from_str(&text).context("reading the manifest")?;
        let mut archive = Self { zip, manifest };
        for table in archive.manifest.tables.clone() {
            let mut rows = archive.rows(&table)?;
            while !rows.batch(BATCH_ROWS).with_context(|| format!("{} was damaged or changed", path.display()))?.is_empty() {}
        }
        Ok(archive)
    }

    /// The rows of a table, from the first.
    pub(super) fn rows<'a>(&'a mut self, facts: &'a TableFacts) -> anyhow::Result<Rows<'a>> {
        let member = self.zip.by_name(&facts.member()).with_context(|| format!("the table {} is missing", facts.name))?;
        Ok(Rows { reader: BufReader::new(member), sum: digest::Context::new(&digest::SHA256), rows: 0, facts })
    }
}

/// Rows of a table that come one after another.
pub(super) struct Rows<'a> {
    reader: BufReader<ZipFile<'a, BufReader<File>>>,
    sum: digest::Context,
    rows: u64,
    facts: &'a TableFacts,
}

impl Rows<'_> {
    /// The next rows, at most so many; none at the end. An error there means that they are not the rows that were written.
    pub(super) fn batch(&mut self, rows_max: usize) -> anyhow::Result<Vec<Vec<Value>>> {
        let name = &self.facts.name;
        let (mut batch, mut line) = (Vec::new(), Vec::new());
        while batch.len() < rows_max {
            line.clear();
            let bytes = (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).with_context(|| format!("reading the table {name}"))?;
            if bytes == 0 {
                let sum = hex(self.sum.clone().finish().as_ref());
                anyhow::ensure!(self.rows == self.facts.rows && sum == self.facts.sha256, "the table {name} does not have the rows that were written");
                break;
            }
            self.sum.update(&line);
            self.rows += 1;
            let cells: Vec<Value> = serde_json::from_slice(&line).with_context(|| format!("row {} of the table {name}", self.rows))?;
            anyhow::ensure!(cells.len() == self.facts.columns.len(), "row {} of the table {name} has {} values", self.rows, cells.len());
            batch.push(cells);
        }
        Ok(batch)
    }
}
