//! Monthly statements (`statements`), and a version on `plans` that two editors cannot both have seen.

use sea_orm_migration::prelude::*;

use crate::tables::{big, id, instant, json_null, number, text, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let version = number("version").default(1).take();
        manager.alter_table(Table::alter().table("plans").add_column(version).to_owned()).await?;
        manager
            .create_table(
                Table::create()
                    .table("statements")
                    .col(id("id").primary_key())
                    // A statement outlives its tenant: no foreign key.
                    .col(id("client_id"))
                    // YYYYMM in America/Santo_Domingo.
                    .col(number("month"))
                    // 0: the statement of the month; 1, 2, …: its corrections.
                    .col(number("part"))
                    // Counted up without gaps, over all tenants.
                    .col(number("number").unique_key())
                    .col(text("client_name"))
                    .col(text_null("client_rnc"))
                    .col(text("plan_code"))
                    .col(text("plan_name"))
                    .col(big("calls"))
                    .col(big("counted"))
                    .col(big("amount_usd_cents"))
                    .col(big("itbis_usd_cents"))
                    // RD$ per US$, ten-thousandths; and per cent, hundredths: as stated on that day.
                    .col(big("usd_rate_e4"))
                    .col(number("itbis_percent_e2"))
                    .col(json_null("lines"))
                    .col(text("note"))
                    .col(text("actor"))
                    .col(instant("created_at"))
                    .to_owned(),
            )
            .await?;
        // A month is closed once, whoever presses the button twice.
        manager.create_index(Index::create().name("ux_statements_month").table("statements").col("client_id").col("month").col("part").unique().to_owned()).await?;
        manager.create_index(Index::create().name("ix_statements_month").table("statements").col("month").to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("statements").to_owned()).await?;
        manager.alter_table(Table::alter().table("plans").drop_column("version").to_owned()).await
    }
}
