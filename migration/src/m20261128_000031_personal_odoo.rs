//! A member's own access to their company's Odoo (`memberships`), and whether the company lets them have one (`clients.odoo_personal`).

use sea_orm_migration::prelude::*;

use crate::tables::{instant_null, text, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("clients").add_column(text("odoo_personal").default("off").take()).to_owned()).await?;
        // With the row goes the secret: who is taken out leaves none behind. SQLite adds one column at a time.
        for mut column in [text_null("odoo_login"), text_null("odoo_secret_sealed"), instant_null("odoo_saved_at")] {
            manager.alter_table(Table::alter().table("memberships").add_column(column.take()).to_owned()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["odoo_login", "odoo_secret_sealed", "odoo_saved_at"] {
            manager.alter_table(Table::alter().table("memberships").drop_column(name).to_owned()).await?;
        }
        manager.alter_table(Table::alter().table("clients").drop_column("odoo_personal").to_owned()).await
    }
}
