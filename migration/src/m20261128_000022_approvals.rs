//! Writes that an owner of the company approves first: what was asked for waits in `operations`.

use sea_orm_migration::prelude::*;

use crate::tables::{instant_null, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Each is null in a write that nobody has to approve.
fn columns() -> [ColumnDef; 7] {
    [
        // Arguments and preview, sealed for this row.
        text_null("request_sealed"),
        // SHA-256 of the plan that was shown, hex.
        text_null("plan_digest"),
        // What the agent calls itself.
        text_null("agent"),
        instant_null("expires_at"),
        text_null("decided_by"),
        instant_null("decided_at"),
        // Why it was refused.
        text_null("reason"),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite adds one column at a time.
        for mut column in columns() {
            manager.alter_table(Table::alter().table("operations").add_column(column.take()).to_owned()).await?;
        }
        manager.create_index(Index::create().name("ix_operations_client_state").table("operations").col("client_id").col("state").to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name("ix_operations_client_state").table("operations").to_owned()).await?;
        for name in ["request_sealed", "plan_digest", "agent", "expires_at", "decided_by", "decided_at", "reason"] {
            manager.alter_table(Table::alter().table("operations").drop_column(name).to_owned()).await?;
        }
        Ok(())
    }
}
