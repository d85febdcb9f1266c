//! `users`: people who sign in to the portal. A person may serve several tenants.

use sea_orm::entity::prelude::*;

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// In lower case.
    #[sea_orm(unique, column_type = "Text")]
    pub email: String,
    /// As they call themselves.
    #[sea_orm(column_type = "Text")]
    pub name: String,
    /// argon2id, PHC text; none until chosen.
    #[sea_orm(column_type = "Text", nullable)]
    pub password_hash: Option<String>,
    /// `operator` or `member`.
    #[sea_orm(column_type = "Text")]
    pub role: String,
    /// `es` or `en`.
    #[sea_orm(column_type = "Text")]
    pub language: String,
    /// `pending`, `active` or `disabled`.
    #[sea_orm(column_type = "Text")]
    pub status: String,
    /// UTC.
    pub email_confirmed_at: Option<DateTimeUtc>,
    /// Refused sign-ins since the last good one.
    pub failed_signins: i32,
    /// UTC; no sign-in before.
    pub locked_until: Option<DateTimeUtc>,
    /// The data key, wrapped by the master key; none until there is something to seal.
    #[sea_orm(column_type = "Text", nullable)]
    pub data_key_sealed: Option<String>,
    /// Second factor, sealed with the data key.
    #[sea_orm(column_type = "Text", nullable)]
    pub totp_secret_sealed: Option<String>,
    /// UTC; a second factor that was never confirmed is none.
    pub totp_confirmed_at: Option<DateTimeUtc>,
    /// The last time step accepted: no code works twice.
    pub totp_last_step: Option<i64>,
    /// SHA-256 of the recovery codes left, hex.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub recovery_hashes: Option<Json>,
    /// Counts edits, so that a stale page is noticed.
    pub version: i32,
    /// UTC.
    pub created_at: DateTimeUtc,
    /// UTC.
    pub updated_at: DateTimeUtc,
}

/// No relations are loaded through entities.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
