//! One row per call (`tool_usage`), written in batches and never updated.

use sea_orm_migration::prelude::*;

use crate::tables::{big, flag, id, instant, number, text, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("tool_usage")
                    // UUIDv7 made when the call begins: a batch that is delivered twice is inserted once.
                    .col(id("id").primary_key())
                    .col(id("client_id"))
                    .col(ColumnDef::new("token_id").uuid())
                    .col(text("tool"))
                    .col(text_null("agent"))
                    .col(text("outcome"))
                    .col(text_null("error_code"))
                    .col(flag("counted"))
                    // YYYYMM in America/Santo_Domingo: the month the call is billed in.
                    .col(number("billing_month"))
                    .col(big("total_us"))
                    .col(big("odoo_us"))
                    .col(number("odoo_requests"))
                    .col(text("request_id"))
                    .col(instant("started_at"))
                    .to_owned(),
            )
            .await?;
        manager.create_index(Index::create().name("ix_tool_usage_month").table("tool_usage").col("client_id").col("billing_month").to_owned()).await?;
        manager.create_index(Index::create().name("ix_tool_usage_started").table("tool_usage").col("client_id").col("started_at").to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("tool_usage").to_owned()).await
    }
}
