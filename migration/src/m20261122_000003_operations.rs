//! Writes (`operations`): their idempotency keys, used confirmations and outcomes.

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
                    .table("operations")
                    .col(id("id").primary_key())
                    .col(id("client_id"))
                    .col(ColumnDef::new("token_id").uuid())
                    .col(text("tool"))
                    // The caller's idempotency key; null when none was given.
                    .col(text_null("key"))
                    // The random part of the confirmation code that was used; null under the policy "direct".
                    .col(text_null("confirmation"))
                    .col(text("arguments_hash"))
                    .col(text("state"))
                    .col(text("reference"))
                    .col(json_null("result"))
                    .col(instant("created_at"))
                    .col(instant("updated_at"))
                    .foreign_key(ForeignKey::create().name("fk_operations_client").from("operations", "client_id").to("clients", "id").on_delete(ForeignKeyAction::Cascade))
                    .to_owned(),
            )
            .await?;
        // Nulls are distinct in a unique index on both databases: only given keys collide.
        manager.create_index(Index::create().name("ux_operations_key").table("operations").col("client_id").col("key").unique().to_owned()).await?;
        manager.create_index(Index::create().name("ux_operations_confirmation").table("operations").col("client_id").col("confirmation").unique().to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("operations").to_owned()).await
    }
}
