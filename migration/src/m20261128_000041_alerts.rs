//! What is told of (`alerts`), to whom (`alert_channels`), what is on its way (`alert_deliveries`), and what is known of the tenants' Odoo API keys
//! (`odoo_keys`).

use sea_orm_migration::prelude::*;

use crate::tables::{flag, id, instant, instant_null, json_null, number, text, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for mut table in [alerts(), channels(), deliveries(), odoo_keys()] {
            manager.create_table(table.take()).await?;
        }
        let index = |name: &'static str, table: &'static str, columns: [&'static str; 2]| {
            let mut index = Index::create().name(name).table(table).take();
            columns.into_iter().for_each(|column| {
                index.col(column);
            });
            index
        };
        for index in [
            index("ix_alerts_owner", "alerts", ["client_id", "since"]),
            index("ix_alerts_kind", "alerts", ["kind", "ended_at"]),
            index("ix_alert_deliveries_due", "alert_deliveries", ["state", "due_at"]),
            index("ix_alert_deliveries_owner", "alert_deliveries", ["owner", "created_at"]),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["odoo_keys", "alert_deliveries", "alert_channels", "alerts"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

/// `client_id` of something that may be the operator's.
fn of_a_client() -> ColumnDef {
    ColumnDef::new("client_id").uuid().take()
}

fn goes_with_it(table: &str) -> ForeignKeyCreateStatement {
    ForeignKey::create().name(format!("fk_{table}_client")).from(table.to_owned(), "client_id").to("clients", "id").on_delete(ForeignKeyAction::Cascade).take()
}

fn alerts() -> TableCreateStatement {
    Table::create()
        .table("alerts")
        .col(id("id").primary_key())
        // None is the operator's.
        .col(of_a_client())
        .col(text("kind"))
        // Tenant, kind and subject while it lasts, which makes it one; its id once it has ended and may come again.
        .col(text("mark").unique_key())
        // Which thing, or which period.
        .col(text("subject"))
        .col(json_null("facts"))
        .col(instant("since"))
        .col(instant("seen_at"))
        // Since when it has been well again.
        .col(instant_null("well_since"))
        .col(instant_null("told_at"))
        // When it stood in a letter to the operators.
        .col(instant_null("operators_told_at"))
        .col(instant_null("ended_at"))
        .foreign_key(&mut goes_with_it("alerts"))
        .take()
}

fn channels() -> TableCreateStatement {
    Table::create()
        .table("alert_channels")
        // The tenant's id; nil is the operator's.
        .col(id("id").primary_key())
        .col(of_a_client())
        .col(flag("mail").default(true).take())
        // Topics that are not told, with commas.
        .col(text("muted").default("").take())
        .col(text_null("webhook_url"))
        .col(text_null("secret_sealed"))
        // Signs too until then, after a rotation.
        .col(text_null("previous_sealed"))
        .col(instant_null("previous_until"))
        // The operator's own; a tenant's is in its row.
        .col(text_null("data_key_sealed"))
        .col(number("version").default(1).take())
        .col(instant("updated_at"))
        .foreign_key(&mut goes_with_it("alert_channels"))
        .take()
}

fn deliveries() -> TableCreateStatement {
    Table::create()
        .table("alert_deliveries")
        .col(id("id").primary_key())
        .col(of_a_client())
        // The tenant's id; nil is the operator's.
        .col(id("owner"))
        // mail or webhook.
        .col(text("channel"))
        // To whom a letter goes.
        .col(ColumnDef::new("user_id").uuid().take())
        .col(text("kind"))
        .col(json_null("facts"))
        // waiting, done or given_up.
        .col(text("state"))
        .col(number("attempts").default(0).take())
        .col(instant("due_at"))
        // The HTTP status of the last attempt.
        .col(ColumnDef::new("status").integer().take())
        .col(text_null("cause"))
        .col(instant("created_at"))
        .col(instant_null("ended_at"))
        .foreign_key(&mut goes_with_it("alert_deliveries"))
        .take()
}

fn odoo_keys() -> TableCreateStatement {
    Table::create()
        .table("odoo_keys")
        .col(id("client_id").primary_key())
        // SHA-256 of the sealed secret that this is about, hex: of another one nothing is known.
        .col(text("secret_mark"))
        // odoo, typed, several, password or unknown.
        .col(text("source"))
        .col(instant_null("expires_at"))
        .col(instant_null("made_at"))
        // Its name in Odoo, where we made it or there is only one.
        .col(text_null("name"))
        // Whether it is renewed before it ends.
        .col(flag("renew").default(false).take())
        .col(instant_null("checked_at"))
        .col(instant_null("tried_at"))
        // renewed, or why not: a word of portal.odoo.renewal.
        .col(text_null("outcome"))
        // Odoo's own words about it.
        .col(text_null("said"))
        // The key before, until it is revoked.
        .col(text_null("old_sealed"))
        // Somebody renews it until then.
        .col(instant_null("claimed_until"))
        .foreign_key(&mut goes_with_it("odoo_keys"))
        .take()
}
