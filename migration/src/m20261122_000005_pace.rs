//! How fast a tenant's Odoo likes to be asked (`clients.odoo_requests_per_second`).

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Null: by the address (Odoo Online wants one per second). 0: as fast as it answers.
        let column = ColumnDef::new("odoo_requests_per_second").integer().take();
        manager.alter_table(Table::alter().table("clients").add_column(column).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("clients").drop_column("odoo_requests_per_second").to_owned()).await
    }
}
