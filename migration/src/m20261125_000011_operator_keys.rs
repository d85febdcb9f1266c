//! `operator_keys`: API keys with which programs of the operators use the portal's API.

use sea_orm_migration::prelude::*;

use crate::tables::{id, instant, instant_null, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("operator_keys")
            .col(id("id").primary_key())
            .col(text("name"))
            .col(text("prefix"))
            .col(text("last_four"))
            .col(text("hash").unique_key())
            .col(text("made_by"))
            .col(instant("expires_at"))
            .col(instant_null("revoked_at"))
            .col(instant_null("last_used_at"))
            .col(instant("created_at"))
            .to_owned();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("operator_keys").to_owned()).await
    }
}
