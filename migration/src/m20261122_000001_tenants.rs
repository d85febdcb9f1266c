//! Plans, tenants (`clients`), their tokens and tool settings, the audit (`logs`) and the settings (`configs`).

use sea_orm_migration::prelude::*;

use crate::tables::{flag, id, instant, instant_null, json_null, number, text, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("plans")
                    .col(ColumnDef::new("code").text().not_null().primary_key())
                    .col(text("name"))
                    .col(number("price_usd_cents"))
                    .col(ColumnDef::new("calls_per_month").integer())
                    .col(ColumnDef::new("tools_max").integer())
                    .col(flag("priority_support"))
                    .col(number("position"))
                    .to_owned(),
            )
            .await?;
        // The owner's price list.
        manager
            .exec_stmt(
                Query::insert()
                    .into_table("plans")
                    .columns(["code", "name", "price_usd_cents", "calls_per_month", "tools_max", "priority_support", "position"])
                    .values_panic(["gratis".into(), "Gratis".into(), 0.into(), Some(100).into(), Some(2).into(), false.into(), 1.into()])
                    .values_panic(["basic".into(), "Basic".into(), 2_000.into(), Some(5_000).into(), None::<i32>.into(), false.into(), 2.into()])
                    .values_panic(["pro".into(), "Pro".into(), 5_000.into(), None::<i32>.into(), None::<i32>.into(), true.into(), 3.into()])
                    .to_owned(),
            )
            .await?;

        manager
            .create_table(
                Table::create()
                    .table("clients")
                    .col(id("id").primary_key())
                    .col(text("name"))
                    .col(text_null("rnc"))
                    .col(text("status"))
                    .col(text("plan_code"))
                    .col(text("language"))
                    .col(text("timezone"))
                    .col(text("write_policy"))
                    .col(text_null("odoo_url"))
                    .col(text_null("odoo_database"))
                    .col(text_null("odoo_login"))
                    .col(text_null("odoo_secret_sealed"))
                    .col(text("odoo_protocol"))
                    .col(text("data_key_sealed"))
                    .col(instant("created_at"))
                    .col(instant("updated_at"))
                    .foreign_key(ForeignKey::create().name("fk_clients_plan").from("clients", "plan_code").to("plans", "code"))
                    .to_owned(),
            )
            .await?;

        manager
            .create_table(
                Table::create()
                    .table("api_tokens")
                    .col(id("id").primary_key())
                    .col(id("client_id"))
                    .col(text("name"))
                    .col(text("prefix").unique_key())
                    .col(text("last_four"))
                    .col(text("hash").unique_key())
                    .col(json_null("packs"))
                    .col(text("language"))
                    .col(instant_null("expires_at"))
                    .col(instant_null("revoked_at"))
                    .col(instant_null("last_used_at"))
                    .col(ColumnDef::new("rotated_from").uuid())
                    .col(instant("created_at"))
                    .foreign_key(ForeignKey::create().name("fk_api_tokens_client").from("api_tokens", "client_id").to("clients", "id").on_delete(ForeignKeyAction::Cascade))
                    .to_owned(),
            )
            .await?;
        manager.create_index(Index::create().name("ix_api_tokens_client").table("api_tokens").col("client_id").to_owned()).await?;

        manager
            .create_table(
                Table::create()
                    .table("client_tools")
                    .col(id("client_id"))
                    .col(text("tool"))
                    .col(flag("enabled"))
                    .col(text_null("write_policy"))
                    .col(number("rate_limit_per_hour").default(1000))
                    .primary_key(Index::create().col("client_id").col("tool"))
                    .foreign_key(ForeignKey::create().name("fk_client_tools_client").from("client_tools", "client_id").to("clients", "id").on_delete(ForeignKeyAction::Cascade))
                    .to_owned(),
            )
            .await?;

        manager
            .create_table(
                Table::create()
                    .table("logs")
                    .col(id("id").primary_key())
                    // The audit outlives its tenant: no foreign key.
                    .col(ColumnDef::new("client_id").uuid())
                    .col(text("actor"))
                    .col(text("action"))
                    .col(text("subject"))
                    .col(json_null("before"))
                    .col(json_null("after"))
                    .col(text("previous_hash"))
                    .col(text("hash"))
                    .col(instant("created_at"))
                    .to_owned(),
            )
            .await?;
        manager.create_index(Index::create().name("ix_logs_client").table("logs").col("client_id").col("id").to_owned()).await?;
        manager.create_index(Index::create().name("ix_logs_created").table("logs").col("created_at").to_owned()).await?;

        manager
            .create_table(Table::create().table("configs").col(ColumnDef::new("key").text().not_null().primary_key()).col(text("value")).col(instant("updated_at")).to_owned())
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["configs", "logs", "client_tools", "api_tokens", "clients", "plans"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
