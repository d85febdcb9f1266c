//! What the reports read: calls rolled up by month, day and hour (`usage_months`, `usage_days`, `usage_hours`), filled from the calls that
//! are there, and the indices of the log.

use sea_orm_migration::prelude::*;

use crate::rollups::{self, PARTS, TIME_BOUNDS_US};
use crate::tables::{big, id, instant, number, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// Half filled roll-ups would be wrong for ever.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The log of everybody, newest first, and the pruning of old calls.
        manager.create_index(Index::create().name("ix_tool_usage_time").table("tool_usage").col("started_at").col("id").to_owned()).await?;
        let connection = manager.get_connection();
        // Errors are few among many calls: the latest of them are found without reading the others.
        connection.execute_unprepared("create index ix_tool_usage_errors on tool_usage (started_at, id) where outcome = 'error'").await?;

        manager
            .create_table(
                Table::create()
                    .table("usage_months")
                    .col(id("client_id"))
                    // YYYYMM in America/Santo_Domingo.
                    .col(number("month"))
                    .col(big("calls"))
                    .col(big("counted"))
                    .col(big("failed"))
                    .col(instant("last_at"))
                    .primary_key(Index::create().col("client_id").col("month"))
                    .to_owned(),
            )
            .await?;
        manager.create_index(Index::create().name("ix_usage_months_month").table("usage_months").col("month").to_owned()).await?;

        let mut days = Table::create()
            .table("usage_days")
            // The nil UUID stands for all tenants together.
            .col(id("client_id"))
            // YYYYMMDD in America/Santo_Domingo.
            .col(number("day"))
            .col(text("tool"))
            .col(text("outcome"))
            // Empty when there is none: null would not be equal to itself.
            .col(text("error_code"))
            .col(big("calls"))
            .col(big("counted"))
            .col(big("total_us"))
            .col(big("odoo_us"))
            .primary_key(Index::create().col("client_id").col("day").col("tool").col("outcome").col("error_code"))
            .to_owned();
        for part in PARTS {
            for bucket in 0..=TIME_BOUNDS_US.len() {
                days.col(number(rollups::column(part, bucket)).default(0));
            }
        }
        manager.create_table(days).await?;

        manager
            .create_table(
                Table::create()
                    .table("usage_hours")
                    .col(id("client_id"))
                    // Whole hours since 1970, UTC.
                    .col(number("hour"))
                    .col(big("calls"))
                    .col(big("failed"))
                    .primary_key(Index::create().col("client_id").col("hour"))
                    .to_owned(),
            )
            .await?;
        rollups::fill(connection).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["usage_hours", "usage_days", "usage_months"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        for index in ["ix_tool_usage_errors", "ix_tool_usage_time"] {
            manager.drop_index(Index::drop().name(index).table("tool_usage").to_owned()).await?;
        }
        Ok(())
    }
}
