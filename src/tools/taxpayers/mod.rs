//! Taxpayers of the DGII's listing: public reference data, held here, without asking Odoo.
//!
//! Not here: the listing itself (`dgii`), and customers in Odoo (`sales`).

pub mod buscar_contribuyente;
pub mod consultar_rnc_dgii;

pub(crate) mod suggestion;

use chrono::NaiveDate;

use super::cx::ToolCx;
use super::error::{Code, ToolError};
use crate::dgii::PadronError;

/// Where every answer comes from.
pub(crate) const SOURCE: &str = "DGII, listado de RNC";
/// Days after which a listing, which appears every week, is called old.
const OLD_DAYS: i64 = 14;

/// The listing's failures as a tool's.
pub(crate) fn padron_error(error: &PadronError) -> ToolError {
    match error {
        PadronError::NotLoaded => ToolError::new(Code::PadronSinDatos),
        other => ToolError::internal(other),
    }
}

/// Whole days from the cut-off to today, never negative (a listing of tomorrow is one of today).
pub(crate) fn age_days(cutoff: NaiveDate, today: NaiveDate) -> i64 {
    today.signed_duration_since(cutoff).num_days().max(0)
}

/// The warning about an old listing, when it is one.
pub(crate) fn age_warning(cx: &ToolCx, days: i64) -> Option<String> {
    (days > OLD_DAYS).then(|| cx.say("avisos.antiguo", &[("dias", &days.to_string())]))
}
