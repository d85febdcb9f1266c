//! Column types that mean the same on both databases.

use sea_orm_migration::prelude::*;

/// A UUID column, not null.
pub(crate) fn id(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).uuid().not_null().take()
}

/// A short text, not null.
pub(crate) fn text(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).text().not_null().take()
}

/// A text that may be absent.
pub(crate) fn text_null(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).text().take()
}

/// A UTC instant, not null.
pub(crate) fn instant(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).timestamp_with_time_zone().not_null().take()
}

/// A UTC instant that may be absent.
pub(crate) fn instant_null(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).timestamp_with_time_zone().take()
}

/// A whole number, not null.
pub(crate) fn number(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).integer().not_null().take()
}

/// A large whole number, not null.
pub(crate) fn big(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).big_integer().not_null().take()
}

/// Yes or no, not null.
pub(crate) fn flag(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).boolean().not_null().take()
}

/// A JSON document that may be absent.
pub(crate) fn json_null(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).json_binary().take()
}
