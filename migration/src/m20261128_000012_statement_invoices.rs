//! `statement_invoices`: closed statements raised as draft invoices in the operator's own Odoo, each once.

use sea_orm_migration::prelude::*;

use crate::tables::{flag, id, instant, number, text, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("statement_invoices")
                    .col(id("id").primary_key())
                    // Like the statement it outlives its tenant: no foreign key.
                    .col(id("client_id"))
                    // YYYYMM in America/Santo_Domingo.
                    .col(number("month"))
                    // Corrections of the month that it holds.
                    .col(number("corrections"))
                    // The tenant in whose Odoo it is.
                    .col(id("biller_id"))
                    // How it is found again in that Odoo.
                    .col(text("reference").unique_key())
                    // running, done or unknown.
                    .col(text("state"))
                    .col(ColumnDef::new("odoo_id").big_integer().take())
                    .col(text_null("odoo_name"))
                    .col(text_null("url"))
                    .col(text_null("currency"))
                    .col(flag("taxed").default(false).take())
                    .col(text("actor"))
                    .col(instant("created_at"))
                    .col(instant("updated_at"))
                    .to_owned(),
            )
            .await?;
        // Whoever presses the button twice makes one.
        manager.create_index(Index::create().name("ux_statement_invoices_month").table("statement_invoices").col("client_id").col("month").unique().to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("statement_invoices").to_owned()).await
    }
}
