//! Indices for what is rare among much: a client's errors, the audit by action and by actor. Found by `cargo bench --bench portal`.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared("create index ix_tool_usage_client_errors on tool_usage (client_id, started_at, id) where outcome = 'error'").await?;
        // The beginning of an action is asked for (`tenant.`): PostgreSQL finds it in an index only by its bytes.
        let action = if manager.get_database_backend() == DbBackend::Postgres { "action text_pattern_ops" } else { "action" };
        connection.execute_unprepared(&format!("create index ix_logs_action on logs ({action}, id)")).await?;
        manager.create_index(Index::create().name("ix_logs_actor").table("logs").col("actor").col("id").to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (index, table) in [("ix_logs_actor", "logs"), ("ix_logs_action", "logs"), ("ix_tool_usage_client_errors", "tool_usage")] {
            manager.drop_index(Index::drop().name(index).table(table).to_owned()).await?;
        }
        Ok(())
    }
}
