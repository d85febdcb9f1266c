//! Everything that can go wrong, typed; each import refusal says what to do.
//!
//! The sentences are for the operator who runs an import. What an agent reads is made by the doors, from the
//! variants.

use std::io;
use std::path::PathBuf;

use chrono::NaiveDate;

use super::report::SourceKind;

/// Why a question to the listing has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PadronError {
    /// No listing was ever imported into this folder.
    #[error("no DGII listing is loaded yet: download DGII_RNC.zip or RNC_CONTRIBUYENTES.zip from dgii.gov.do and import it")]
    NotLoaded,
    /// There is no previous listing to go back to.
    #[error("there is no previous listing to go back to")]
    NoPrevious,
    /// A name query with no word of two letters in it.
    #[error("give at least one word of two letters or more")]
    QueryTooShort,
    /// A name query beyond the limits.
    #[error("the name is too long: at most {chars_max} characters and {words_max} words")]
    QueryTooLong {
        /// Characters allowed.
        chars_max: usize,
        /// Words allowed.
        words_max: usize,
    },
    /// Another import or roll-back is at work.
    #[error("another import is running in this folder: wait until it ends and try again")]
    Busy,
    /// The index is missing, damaged, or of another version of Dunet.
    #[error("the index {file} cannot be used ({cause}): import the listing again")]
    Damaged {
        /// The file, without its folder.
        file: String,
        /// What is wrong.
        cause: String,
    },
    /// The engine failed.
    #[error("the index could not be read")]
    Engine(#[from] rusqlite::Error),
    /// The folder could not be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
}

/// Why an import was refused or failed. The active listing is untouched in every case.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No file was given.
    #[error("give at least one file: DGII_RNC.zip, RNC_CONTRIBUYENTES.zip or both")]
    NoFiles,
    /// Two files of the same kind.
    #[error("two files of the same kind were given: give one {} at most", .0.official_name())]
    SameKindTwice(SourceKind),
    /// The lock is taken.
    #[error("another import is running in this folder: wait until it ends and try again")]
    Busy,
    /// The file does not begin like a zip.
    #[error(
        "{file} is not a zip{}",
        if *.html { ": it is a web page, which the DGII sends instead of the file when it refuses a download; download the zip with a browser and give that one" } else { ": give the file as the DGII publishes it, without unpacking it" }
    )]
    NotAZip {
        /// The file, without its folder.
        file: String,
        /// It looks like a web page.
        html: bool,
    },
    /// A zip that ends early or does not add up.
    #[error("{file} is damaged or was not downloaded to its end ({cause}): download it again")]
    Damaged {
        /// The file, without its folder.
        file: String,
        /// What does not fit.
        cause: String,
    },
    /// More or fewer members than one.
    #[error("{file} holds {found} files where the DGII's zip holds exactly one: give the zip as it was published")]
    MemberCount {
        /// The file, without its folder.
        file: String,
        /// Members found.
        found: usize,
    },
    /// The one member has a name that neither official file uses.
    #[error("{file} holds {member:?}, but TMP/DGII_RNC.TXT or RNC_Contribuyentes_Actualizado_DD_Mon_AAAA.csv was expected: give the zip as it was published")]
    MemberName {
        /// The file, without its folder.
        file: String,
        /// The member's name, shortened.
        member: String,
    },
    /// A member that is encrypted or packed in a way the DGII does not use.
    #[error("{file} is encrypted or packed in an unusual way: give the zip as it was published")]
    UnusualPacking {
        /// The file, without its folder.
        file: String,
    },
    /// Too large, or a zip bomb.
    #[error(
        "{file} unpacks to more than {bytes_max} bytes or more than {ratio_max} times its size, which the true file never does: do not trust it, download it again from dgii.gov.do"
    )]
    TooLarge {
        /// The file, without its folder.
        file: String,
        /// Allowed unpacked size.
        bytes_max: u64,
        /// Allowed ratio.
        ratio_max: u64,
    },
    /// No date in the member's name or time stamp, and none given.
    #[error("{file} does not say its cut-off date: give it as an option (--cutoff AAAA-MM-DD)")]
    NoCutoff {
        /// The file, without its folder.
        file: String,
    },
    /// A cut-off date after today.
    #[error("the cut-off date {cutoff} lies in the future: check this machine's clock, or give the right date as an option")]
    FutureCutoff {
        /// The date found.
        cutoff: NaiveDate,
    },
    /// The two files are of different weeks.
    #[error("the two files are of different weeks ({txt} and {csv}): download both again, or import only the newer one")]
    DifferentWeeks {
        /// Date of the TXT.
        txt: NaiveDate,
        /// Date of the CSV.
        csv: NaiveDate,
    },
    /// Older than what is active.
    #[error("the listing is of {cutoff}, older than the active one of {active}: allow it explicitly if that is meant, or use the roll-back")]
    Older {
        /// Date of the new one.
        cutoff: NaiveDate,
        /// Date of the active one.
        active: NaiveDate,
    },
    /// The listing that a roll-back took out of use.
    #[error("this listing of {cutoff} was rolled back: wait for the next one, roll back once more to return to it, or allow it explicitly")]
    RolledBack {
        /// Its date.
        cutoff: NaiveDate,
    },
    /// Not the layout that is known.
    #[error("{file} has another layout than the known one ({cause}): the DGII may have changed its file; the active listing stays, and Dunet needs an update")]
    ForeignLayout {
        /// The file, without its folder.
        file: String,
        /// What differs.
        cause: String,
    },
    /// Too few taxpayers.
    #[error("only {found} valid taxpayers, and at least {rows_min} are expected: the file is incomplete, download it again")]
    TooFewRows {
        /// Distinct numbers found.
        found: u64,
        /// The limit.
        rows_min: u64,
    },
    /// Too many records were refused.
    #[error("{rejected} of {records} records of {file} cannot be read, more than {rejected_max_per_mille} per mille: the file is damaged or has another layout; download it again")]
    TooManyRejected {
        /// The file, without its folder.
        file: String,
        /// Refused.
        rejected: u64,
        /// All records.
        records: u64,
        /// The limit in thousandths.
        rejected_max_per_mille: u64,
    },
    /// Far larger or smaller than the active listing.
    #[error("{found} taxpayers where the active listing has {active}, a change of more than {change_max_percent} %: check the file; if it is right, allow the change explicitly")]
    SizeChange {
        /// Distinct numbers found.
        found: u64,
        /// Rows of the active listing.
        active: u64,
        /// The limit.
        change_max_percent: u64,
    },
    /// What was built does not answer as it should.
    #[error("the new index does not hold what was read ({0}): the active listing stays; check the disk and import again")]
    Unsound(String),
    /// The engine failed while building.
    #[error("the index could not be built (is the disk full?)")]
    Engine(#[from] rusqlite::Error),
    /// The folder or a file could not be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// The folder's own record of what is active cannot be used.
    #[error(transparent)]
    Padron(PadronError),
}

impl From<PadronError> for ImportError {
    fn from(error: PadronError) -> Self {
        match error {
            PadronError::Busy => Self::Busy,
            PadronError::Engine(cause) => Self::Engine(cause),
            PadronError::Io { path, cause } => Self::Io { path, cause },
            other => Self::Padron(other),
        }
    }
}

impl ImportError {
    /// A stable short name for logs, metrics and scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoFiles => "no_files",
            Self::SameKindTwice(_) => "same_kind_twice",
            Self::Busy => "busy",
            Self::NotAZip { html: true, .. } => "html_instead_of_zip",
            Self::NotAZip { .. } => "not_a_zip",
            Self::Damaged { .. } => "damaged_zip",
            Self::MemberCount { .. } => "member_count",
            Self::MemberName { .. } => "member_name",
            Self::UnusualPacking { .. } => "unusual_packing",
            Self::TooLarge { .. } => "too_large",
            Self::NoCutoff { .. } => "no_cutoff",
            Self::FutureCutoff { .. } => "future_cutoff",
            Self::DifferentWeeks { .. } => "different_weeks",
            Self::Older { .. } => "older",
            Self::RolledBack { .. } => "rolled_back",
            Self::ForeignLayout { .. } => "foreign_layout",
            Self::TooFewRows { .. } => "too_few_rows",
            Self::TooManyRejected { .. } => "too_many_rejected",
            Self::SizeChange { .. } => "size_change",
            Self::Unsound(_) => "unsound_index",
            Self::Engine(_) => "engine",
            Self::Io { .. } => "io",
            Self::Padron(_) => "padron",
        }
    }
}

impl ImportError {
    /// What its sentence needs besides [`Self::code`], by name; for sentences in other languages than this file's.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::NoFiles | Self::Busy | Self::Unsound(_) | Self::Engine(_) | Self::Io { .. } | Self::Padron(_) => Vec::new(),
            Self::SameKindTwice(kind) => vec![("file", kind.official_name().to_owned())],
            Self::NotAZip { file, .. } | Self::Damaged { file, .. } | Self::UnusualPacking { file } | Self::NoCutoff { file } | Self::ForeignLayout { file, .. } => {
                vec![("file", file.clone())]
            }
            Self::MemberCount { file, found } => vec![("file", file.clone()), ("found", found.to_string())],
            Self::MemberName { file, member } => vec![("file", file.clone()), ("member", member.clone())],
            Self::TooLarge { file, bytes_max, ratio_max } => vec![("file", file.clone()), ("megabytes", (bytes_max / 1_000_000).to_string()), ("ratio", ratio_max.to_string())],
            Self::FutureCutoff { cutoff } | Self::RolledBack { cutoff } => vec![("cutoff", cutoff.to_string())],
            Self::DifferentWeeks { txt, csv } => vec![("txt", txt.to_string()), ("csv", csv.to_string())],
            Self::Older { cutoff, active } => vec![("cutoff", cutoff.to_string()), ("active", active.to_string())],
            Self::TooFewRows { found, rows_min } => vec![("found", found.to_string()), ("min", rows_min.to_string())],
            Self::TooManyRejected { file, rejected, records, .. } => vec![("file", file.clone()), ("rejected", rejected.to_string()), ("records", records.to_string())],
            Self::SizeChange { found, active, change_max_percent } => {
                vec![("found", found.to_string()), ("active", active.to_string()), ("percent", change_max_percent.to_string())]
            }
        }
    }

    /// Whether the machine failed, rather than the files.
    #[must_use]
    pub fn is_machine(&self) -> bool {
        matches!(self, Self::Unsound(_) | Self::Engine(_) | Self::Io { .. } | Self::Padron(_))
    }
}

/// Attaches a path to an I/O error.
pub(super) trait At<T> {
    fn at(self, path: &std::path::Path) -> Result<T, PadronError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &std::path::Path) -> Result<T, PadronError> {
        self.map_err(|cause| PadronError::Io { path: path.to_path_buf(), cause })
    }
}
