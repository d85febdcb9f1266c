//! What an import found and what an active listing is made of: plain data, written to `active.json` too.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

/// Rejected records whose line numbers are remembered, per file.
const SAMPLES_MAX: usize = 20;

/// Which of the two official files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// `DGII_RNC.zip`: 11 fields, has the trade name, cuts the activity at 30 and the name at 65 characters.
    Txt,
    /// `RNC_CONTRIBUYENTES.zip`: 6 columns, full activity and name, the cut-off date in its member's name.
    Csv,
}

impl SourceKind {
    /// The file's name as the DGII publishes it.
    #[must_use]
    pub fn official_name(self) -> &'static str {
        match self {
            Self::Txt => "DGII_RNC.zip",
            Self::Csv => "RNC_CONTRIBUYENTES.zip",
        }
    }
}

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// R4: the record ends before its last field.
    TooFewFields,
    /// A CSV record with more columns than the layout has.
    TooManyFields,
    /// R5: neither 9 nor 11 digits.
    BadIdentifier,
    /// R5: no name.
    BlankName,
    /// R9: longer than 8,192 bytes.
    TooLong,
}

/// Rejected records by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejections {
    /// See [`RejectReason::TooFewFields`].
    pub too_few_fields: u64,
    /// See [`RejectReason::TooManyFields`].
    pub too_many_fields: u64,
    /// See [`RejectReason::BadIdentifier`].
    pub bad_identifier: u64,
    /// See [`RejectReason::BlankName`].
    pub blank_name: u64,
    /// See [`RejectReason::TooLong`].
    pub too_long: u64,
    /// Where the first twenty ended, by physical line of the file (1 = first), and why. No text of theirs.
    pub first: Vec<(u64, RejectReason)>,
}

impl Rejections {
    pub(super) fn add(&mut self, line: u64, reason: RejectReason) {
        *match reason {
            RejectReason::TooFewFields => &mut self.too_few_fields,
            RejectReason::TooManyFields => &mut self.too_many_fields,
            RejectReason::BadIdentifier => &mut self.bad_identifier,
            RejectReason::BlankName => &mut self.blank_name,
            RejectReason::TooLong => &mut self.too_long,
        } += 1;
        if self.first.len() < SAMPLES_MAX {
            self.first.push((line, reason));
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.too_few_fields + self.too_many_fields + self.bad_identifier + self.blank_name + self.too_long
    }
}

/// One imported file and its counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceInfo {
    /// Which of the two.
    pub kind: SourceKind,
    /// Name of the zip as it was given, without its folder.
    pub file_name: String,
    /// Name of the one member inside.
    pub member: String,
    /// SHA-256 of the zip, lower-case hexadecimal.
    pub sha256: String,
    /// SHA-256 of the unpacked member, lower-case hexadecimal.
    pub content_sha256: String,
    /// Size of the unpacked member in bytes.
    pub content_bytes: u64,
    /// Cut-off date that this file states (CSV: its name; TXT: its member's date, or the option).
    pub cutoff: NaiveDate,
    /// Physical lines; for the CSV the header line is one of them.
    pub physical_lines: u64,
    /// Blank lines that belong to no record.
    pub blank_lines: u64,
    /// Records taken, duplicates included.
    pub accepted: u64,
    /// Distinct numbers among them.
    pub unique: u64,
    /// `accepted − unique`: rows that a later row of the same number replaced.
    pub duplicates: u64,
    /// Records refused, by reason.
    pub rejected: Rejections,
}

/// A listing that is or was active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportInfo {
    /// The day the data are of.
    pub cutoff: NaiveDate,
    /// Taxpayers in it.
    pub rows: u64,
    /// Those among them whose status is ACTIVO.
    pub active_rows: u64,
    /// When it was imported.
    pub imported_at: DateTime<Utc>,
    /// Size of the index file in bytes.
    pub index_bytes: u64,
    /// What it was made of.
    pub sources: Vec<SourceInfo>,
}

impl ImportInfo {
    /// Whole days between the cut-off and `today`; 0 when `today` lies before it.
    #[must_use]
    pub fn age_days(&self, today: NaiveDate) -> u64 {
        u64::try_from((today - self.cutoff).num_days()).unwrap_or(0)
    }
}

/// The end of a successful import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// The files are the ones the active listing was made of: nothing was done.
    pub unchanged: bool,
    /// The listing that is active now.
    pub active: ImportInfo,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}
