//! The DGII window: identifiers, the weekly listing of taxpayers (the *padrón*), look-up and name search.
//!
//! It is a library that has never heard of tenants, tokens or tools: public reference data, one index for
//! everybody. It never asks the DGII's web about one taxpayer; it only imports the two bulk files the DGII
//! publishes, and every answer carries the cut-off date of the listing it came from.
//!
//! What it is not: a judge. A wrong check digit never prevents a look-up (hundreds of issued numbers fail the
//! algorithm), and "not found" means "not in the listing of that date", never "does not exist".
//!
//! Main road of an import: `archive` (is this zip what it must be?) → `txt` / `csv` (records out of lines,
//! rules R1–R9) → `stage` (one row per number, later wins) → `build` (the index beside the active one) →
//! `store` (activate atomically, keep the previous). Main road of a question: [`Padron`] → `read` / `search`.

mod archive;
mod build;
mod csv;
mod error;
pub mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod identifier;
mod import;
mod lines;
pub mod ncf;
mod padron;
mod read;
mod report;
pub mod sample;
mod search;
mod stage;
mod store;
pub mod text;
mod txt;

pub use error::{ImportError, PadronError};
pub use identifier::{IdKind, IdentifierError, TaxpayerId};
pub use import::{Checked, ImportOptions, Progress, ProgressStage};
pub use ncf::{Ncf, NcfError};
pub use padron::{Padron, PadronLimits, PadronStatus};
pub use read::{Listed, Taxpayer};
pub use report::{ImportInfo, ImportReport, RejectReason, Rejections, SourceInfo, SourceKind};
pub use search::{NameHits, NameQuery};
