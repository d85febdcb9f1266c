//! The authorization server: programs that sign in (`oauth_clients`), what they ask for until a person answers (`oauth_requests`), what a person
//! allowed (`oauth_grants`), and the codes and tokens that came of it. Of codes, tokens and secrets only hashes are here. What OAuth calls a
//! client's id is `identifier`: `client_id` is the tenant everywhere.

use sea_orm_migration::prelude::*;

use crate::tables::{flag, id, instant, instant_null, number, text, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let owner = |name: &str, table: &'static str| ForeignKey::create().name(name).from(table, "client_id").to("clients", "id").on_delete(ForeignKeyAction::Cascade).to_owned();
        let grant =
            |name: &str, table: &'static str| ForeignKey::create().name(name).from(table, "grant_id").to("oauth_grants", "id").on_delete(ForeignKeyAction::Cascade).to_owned();
        let person = |name: &str, table: &'static str| ForeignKey::create().name(name).from(table, "user_id").to("users", "id").on_delete(ForeignKeyAction::Cascade).to_owned();

        manager
            .create_table(
                Table::create()
                    .table("oauth_clients")
                    .col(id("id").primary_key())
                    .col(ColumnDef::new("client_id").uuid())
                    .col(text("identifier").unique_key())
                    .col(text("kind"))
                    .col(text("name"))
                    .col(text("redirect_uris"))
                    .col(text("auth_method"))
                    .col(text_null("secret_hash"))
                    .col(flag("refreshes"))
                    .col(flag("machine"))
                    .col(text_null("made_by"))
                    .col(instant("created_at"))
                    .col(instant_null("last_used_at"))
                    .foreign_key(&mut owner("fk_oauth_clients_client", "oauth_clients"))
                    .to_owned(),
            )
            .await?;
        manager.create_index(Index::create().name("ix_oauth_clients_kind").table("oauth_clients").col("kind").col("created_at").to_owned()).await?;

        manager
            .create_table(
                Table::create()
                    .table("oauth_requests")
                    .col(id("id").primary_key())
                    .col(text("browser_hash"))
                    .col(ColumnDef::new("user_id").uuid())
                    .col(text("identifier"))
                    .col(text("redirect_uri"))
                    .col(text_null("state"))
                    .col(text("challenge"))
                    .col(text("packs"))
                    .col(flag("refreshes"))
                    .col(text("resource"))
                    .col(instant("expires_at"))
                    .col(instant("created_at"))
                    .foreign_key(&mut person("fk_oauth_requests_user", "oauth_requests"))
                    .to_owned(),
            )
            .await?;
        manager.create_index(Index::create().name("ix_oauth_requests_expires").table("oauth_requests").col("expires_at").to_owned()).await?;

        manager
            .create_table(
                Table::create()
                    .table("oauth_grants")
                    .col(id("id").primary_key())
                    .col(id("client_id"))
                    .col(ColumnDef::new("user_id").uuid())
                    .col(text("identifier"))
                    .col(text("application"))
                    .col(text_null("redirect_host"))
                    .col(text("packs"))
                    .col(text("tools_off"))
                    .col(text("resource"))
                    .col(flag("refreshes"))
                    .col(instant("expires_at"))
                    .col(instant_null("activated_at"))
                    .col(instant_null("revoked_at"))
                    .col(instant_null("last_used_at"))
                    .col(instant("created_at"))
                    .foreign_key(&mut owner("fk_oauth_grants_client", "oauth_grants"))
                    .foreign_key(&mut person("fk_oauth_grants_user", "oauth_grants"))
                    .to_owned(),
            )
            .await?;
        manager.create_index(Index::create().name("ix_oauth_grants_client").table("oauth_grants").col("client_id").to_owned()).await?;
        manager.create_index(Index::create().name("ix_oauth_grants_user").table("oauth_grants").col("user_id").to_owned()).await?;
        manager.create_index(Index::create().name("ix_oauth_grants_identifier").table("oauth_grants").col("identifier").to_owned()).await?;

        manager
            .create_table(
                Table::create()
                    .table("oauth_codes")
                    .col(text("hash").primary_key())
                    .col(id("client_id"))
                    .col(id("grant_id"))
                    .col(text("redirect_uri"))
                    .col(text("challenge"))
                    .col(instant("expires_at"))
                    .col(instant_null("used_at"))
                    .foreign_key(&mut owner("fk_oauth_codes_client", "oauth_codes"))
                    .foreign_key(&mut grant("fk_oauth_codes_grant", "oauth_codes"))
                    .to_owned(),
            )
            .await?;
        manager.create_index(Index::create().name("ix_oauth_codes_expires").table("oauth_codes").col("expires_at").to_owned()).await?;
        manager.create_index(Index::create().name("ix_oauth_codes_grant").table("oauth_codes").col("grant_id").to_owned()).await?;

        manager
            .create_table(
                Table::create()
                    .table("oauth_tokens")
                    .col(text("hash").primary_key())
                    .col(id("client_id"))
                    .col(id("grant_id"))
                    .col(text("kind"))
                    .col(text("packs"))
                    .col(instant("expires_at"))
                    .col(instant_null("used_at"))
                    .col(number("successors").default(0))
                    .col(instant("created_at"))
                    .foreign_key(&mut owner("fk_oauth_tokens_client", "oauth_tokens"))
                    .foreign_key(&mut grant("fk_oauth_tokens_grant", "oauth_tokens"))
                    .to_owned(),
            )
            .await?;
        manager.create_index(Index::create().name("ix_oauth_tokens_expires").table("oauth_tokens").col("expires_at").to_owned()).await?;
        manager.create_index(Index::create().name("ix_oauth_tokens_grant").table("oauth_tokens").col("grant_id").to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["oauth_tokens", "oauth_codes", "oauth_grants", "oauth_requests", "oauth_clients"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
