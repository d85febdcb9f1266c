//! The hourly limit of a client's tools that have none of their own (`clients.tool_calls_per_hour`): what the settings said when it was added.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Clients that are there keep what they had.
        let column = ColumnDef::new("tool_calls_per_hour").integer().not_null().default(1_000).take();
        manager.alter_table(Table::alter().table("clients").add_column(column).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("clients").drop_column("tool_calls_per_hour").to_owned()).await
    }
}
