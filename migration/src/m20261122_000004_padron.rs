//! History of the padrón's imports (`padron_imports`). The listing itself lives in index files, not here.

use sea_orm_migration::prelude::*;

use crate::tables::{id, instant, json_null, text, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("padron_imports")
                    .col(id("id").primary_key())
                    .col(text("actor"))
                    .col(text("action"))
                    .col(text("outcome"))
                    .col(text_null("cutoff"))
                    .col(ColumnDef::new("rows").big_integer())
                    .col(text_null("message"))
                    .col(json_null("report"))
                    .col(instant("created_at"))
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("padron_imports").to_owned()).await
    }
}
