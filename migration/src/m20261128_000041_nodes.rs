//! Several nodes on one PostgreSQL: who lives (`nodes`), the listing of taxpayers for those who did not import it (`padron_listings`, `padron_pieces`), and
//! a word to all of them when something is written into the audit.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::tables::{big, id, instant, json_null, number, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let nodes = Table::create().table("nodes").col(id("id").primary_key()).col(text("name")).col(text("version")).col(instant("started_at")).col(instant("seen_at")).to_owned();
        manager.create_table(nodes).await?;
        let listings = Table::create()
            .table("padron_listings")
            .col(text("name").primary_key())
            .col(json_null("info"))
            .col(text("sha256"))
            .col(big("bytes"))
            .col(number("pieces"))
            .col(instant("activated_at"))
            .to_owned();
        manager.create_table(listings).await?;
        let pieces = Table::create()
            .table("padron_pieces")
            .col(text("name"))
            .col(number("piece"))
            .col(ColumnDef::new("content").binary().not_null())
            .primary_key(Index::create().col("name").col("piece"))
            .to_owned();
        manager.create_table(pieces).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            // Told when the transaction is: whoever hears it finds the row.
            let sql = "create function dunet_audit_told() returns trigger language plpgsql as \
                $$ begin perform pg_notify('dunet_changes', ''); return null; end $$; \
                create trigger dunet_audit_told after insert on logs for each statement execute function dunet_audit_told()";
            manager.get_connection().execute_unprepared(sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared("drop trigger dunet_audit_told on logs; drop function dunet_audit_told()").await?;
        }
        for table in ["padron_pieces", "padron_listings", "nodes"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
