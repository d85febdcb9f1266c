//! People: `users`, which tenants they serve (`memberships`), where they are signed in (`sessions`), one-time links (`user_links`); and the
//! version of a tenant, by which a stale page is noticed (`clients.version`).

use sea_orm_migration::prelude::*;

use crate::tables::{flag, id, instant, instant_null, json_null, number, text, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("clients").add_column(number("version").default(1)).to_owned()).await?;
        // Lists page by name; the id tells equal names apart.
        manager.create_index(Index::create().name("ix_clients_name").table("clients").col("name").col("id").to_owned()).await?;

        manager
            .create_table(
                Table::create()
                    .table("users")
                    .col(id("id").primary_key())
                    .col(text("email").unique_key())
                    .col(text("name"))
                    .col(text_null("password_hash"))
                    .col(text("role"))
                    .col(text("language"))
                    .col(text("status"))
                    .col(instant_null("email_confirmed_at"))
                    .col(number("failed_signins").default(0))
                    .col(instant_null("locked_until"))
                    .col(text_null("data_key_sealed"))
                    .col(text_null("totp_secret_sealed"))
                    .col(instant_null("totp_confirmed_at"))
                    .col(ColumnDef::new("totp_last_step").big_integer())
                    .col(json_null("recovery_hashes"))
                    .col(number("version").default(1))
                    .col(instant("created_at"))
                    .col(instant("updated_at"))
                    .to_owned(),
            )
            .await?;

        manager
            .create_table(
                Table::create()
                    .table("memberships")
                    .col(id("id").primary_key())
                    .col(id("client_id"))
                    .col(id("user_id"))
                    .col(text("role"))
                    .col(instant("created_at"))
                    .foreign_key(ForeignKey::create().name("fk_memberships_client").from("memberships", "client_id").to("clients", "id").on_delete(ForeignKeyAction::Cascade))
                    .foreign_key(ForeignKey::create().name("fk_memberships_user").from("memberships", "user_id").to("users", "id").on_delete(ForeignKeyAction::Cascade))
                    .to_owned(),
            )
            .await?;
        manager.create_index(Index::create().name("ux_memberships").table("memberships").col("client_id").col("user_id").unique().to_owned()).await?;
        manager.create_index(Index::create().name("ix_memberships_user").table("memberships").col("user_id").to_owned()).await?;

        manager
            .create_table(
                Table::create()
                    .table("sessions")
                    .col(text("hash").primary_key())
                    .col(id("user_id"))
                    .col(flag("second_factor_done"))
                    .col(text_null("address"))
                    .col(text_null("agent"))
                    .col(instant("created_at"))
                    .col(instant("last_seen_at"))
                    .col(instant("expires_at"))
                    .foreign_key(ForeignKey::create().name("fk_sessions_user").from("sessions", "user_id").to("users", "id").on_delete(ForeignKeyAction::Cascade))
                    .to_owned(),
            )
            .await?;
        manager.create_index(Index::create().name("ix_sessions_user").table("sessions").col("user_id").to_owned()).await?;
        manager.create_index(Index::create().name("ix_sessions_expires").table("sessions").col("expires_at").to_owned()).await?;

        manager
            .create_table(
                Table::create()
                    .table("user_links")
                    .col(text("hash").primary_key())
                    .col(text("purpose"))
                    .col(ColumnDef::new("user_id").uuid())
                    .col(ColumnDef::new("client_id").uuid())
                    .col(text_null("email"))
                    .col(text_null("role"))
                    .col(text("made_by"))
                    .col(instant("expires_at"))
                    .col(instant_null("used_at"))
                    .col(instant("created_at"))
                    .foreign_key(ForeignKey::create().name("fk_user_links_user").from("user_links", "user_id").to("users", "id").on_delete(ForeignKeyAction::Cascade))
                    .foreign_key(ForeignKey::create().name("fk_user_links_client").from("user_links", "client_id").to("clients", "id").on_delete(ForeignKeyAction::Cascade))
                    .to_owned(),
            )
            .await?;
        manager.create_index(Index::create().name("ix_user_links_expires").table("user_links").col("expires_at").to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["user_links", "sessions", "memberships", "users"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        manager.drop_index(Index::drop().name("ix_clients_name").table("clients").to_owned()).await?;
        manager.alter_table(Table::alter().table("clients").drop_column("version").to_owned()).await
    }
}
