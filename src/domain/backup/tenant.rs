//! A tenant's export, taken into another service.
//!
//! Its data key came wrapped by the other service's master key: that key must be known here, as the current or the previous one (`dunet rotate-keys`
//! then wraps it anew). Its people come as members, whatever they were; one whose address has an account here is that account. Sums of usage are
//! its own and everybody's: what it brings is added to the latter.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use chrono::SecondsFormat;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, Statement};
use serde_json::{Value, json};

use super::Manifest;
use super::file::Archive;
use super::restore::{columns, cover, insert, keys_check, rows_of_one};
use crate::clock::Clock;
use crate::db::parts::Covered;
use crate::db::schema::{self, Column, Kind, Table};
use crate::db::{self, push_place};
use crate::domain::audit::{self, Actor, Change};
use crate::domain::usage::rollup::EVERYBODY;
use crate::domain::vault::Vault;
use crate::ids::TenantId;

/// Tables whose rows are summed for everybody too.
const SUMMED: [&str; 2] = ["usage_days", "usage_hours"];

/// Takes a tenant in, with its tokens, permissions, people, audit and usage. Both databases must have seen the same migrations.
///
/// # Errors
/// The file is not whole, is not a tenant's, or is of another version; the tenant is here already, or something of it (a statement's number); the
/// vault does not know its key. Nothing was changed then.
pub async fn tenant_import(db: &DatabaseConnection, clock: &Clock, vault: &Vault, path: &Path, actor: &Actor) -> anyhow::Result<Manifest> {
    let mut archive = Archive::open(path)?;
    let manifest = archive.manifest.clone();
    let id = manifest.tenant.context("the file is a backup of everything: `dunet restore` takes it")?;
    let transaction = db::begin_write(db).await?;
    let applied = schema::applied(&transaction).await?;
    anyhow::ensure!(applied == manifest.migrations, "the export was made by another version ({}): bring both services to the same one", manifest.dunet);
    let tables = schema::tables(&transaction).await?;
    let (mut people, covered) = (HashMap::new(), Covered::default());
    for facts in &manifest.tables {
        let table = tables.iter().find(|table| table.name == facts.name).with_context(|| format!("there is no table {}", facts.name))?;
        let columns = columns(table, facts)?;
        let mut rows = archive.rows(facts)?;
        loop {
            let mut batch = rows.batch(rows_of_one(&columns))?;
            if batch.is_empty() {
                break;
            }
            ensure_own(&table.name, &columns, &batch, id)?;
            match table.name.as_str() {
                "users" => batch = newcomers(&transaction, &columns, batch, &mut people).await?,
                "memberships" | "oauth_grants" => rename(&columns, &mut batch, &people),
                // What waits is sent by the service that it comes from.
                "alert_deliveries" => batch.iter_mut().for_each(|row| give_up(&columns, row, clock)),
                // Two services that renew one key revoke it under each other: its owner says which one does.
                "odoo_keys" => batch.iter_mut().for_each(|row| {
                    set(&columns, row, "renew", Value::Bool(false));
                    ["old_sealed", "claimed_until"].into_iter().for_each(|name| set(&columns, row, name, Value::Null));
                }),
                _ => {}
            }
            if batch.is_empty() {
                continue;
            }
            cover(&transaction, &covered, &table.name, &columns, &batch).await?;
            // The plan is the one that is sold here, if it has the same code.
            let conflict = if table.name == "plans" { " on conflict do nothing" } else { "" };
            insert(&transaction, &table.name, &columns, &batch, conflict)
                .await
                .with_context(|| format!("taking in {}: is this client, or a part of it, here already?", table.name))?;
            if SUMMED.contains(&table.name.as_str()) {
                for row in &mut batch {
                    set(&columns, row, "client_id", Value::from(EVERYBODY.to_string()));
                }
                insert(&transaction, &table.name, &columns, &batch, &add(table)).await.context("adding to everybody's sums")?;
            }
        }
    }
    keys_check(&transaction, vault).await?;
    let after = json!({ "made_at": manifest.made_at, "rows": manifest.rows(), "dunet": manifest.dunet });
    let change = Change { tenant: Some(TenantId::from(id)), action: "tenant.import", subject: id.to_string(), before: None, after: Some(after) };
    audit::record(&transaction, clock, actor, change).await?;
    transaction.commit().await?;
    Ok(manifest)
}

/// The file was written by somebody: no row of it may be another tenant's.
fn ensure_own(table: &str, columns: &[Column], rows: &[Vec<Value>], id: uuid::Uuid) -> anyhow::Result<()> {
    let key = if table == "clients" { "id" } else { "client_id" };
    let place = columns.iter().position(|column| column.name == key);
    anyhow::ensure!(place.is_some() || matches!(table, "plans" | "users"), "the table {table} does not belong in a tenant's export");
    let own = Value::from(id.to_string());
    anyhow::ensure!(place.is_none_or(|place| rows.iter().all(|row| row.get(place) == Some(&own))), "the table {table} has rows of somebody else");
    Ok(())
}

/// People without an account here, as members; the others are noted under the id they have.
async fn newcomers(transaction: &DatabaseTransaction, columns: &[Column], batch: Vec<Vec<Value>>, people: &mut HashMap<Value, Value>) -> anyhow::Result<Vec<Vec<Value>>> {
    let backend = transaction.get_database_backend();
    let mut new = Vec::new();
    for mut row in batch {
        let email = get(columns, &row, "email").and_then(Value::as_str).context("somebody without an address")?.to_owned();
        let mut sql = "select id from users where email = ".to_owned();
        push_place(&mut sql, backend, 1);
        match transaction.query_one_raw(Statement::from_sql_and_values(backend, sql, [email.into()])).await? {
            Some(here) => {
                let id: uuid::Uuid = here.try_get("", "id")?;
                people.insert(get(columns, &row, "id").cloned().unwrap_or_default(), Value::from(id.to_string()));
            }
            None => {
                set(columns, &mut row, "role", Value::from("member"));
                new.push(row);
            }
        }
    }
    Ok(new)
}

fn give_up(columns: &[Column], row: &mut [Value], clock: &Clock) {
    if get(columns, row, "state").and_then(Value::as_str) == Some("waiting") {
        set(columns, row, "state", Value::from("given_up"));
        set(columns, row, "ended_at", Value::from(clock.now().to_rfc3339_opts(SecondsFormat::Micros, true)));
    }
}

fn rename(columns: &[Column], rows: &mut [Vec<Value>], people: &HashMap<Value, Value>) {
    for row in rows {
        if let Some(here) = get(columns, row, "user_id").and_then(|id| people.get(id)).cloned() {
            // Sealed for who they were there: as who they are here it would not open.
            if get(columns, row, "user_id") != Some(&here) {
                ["odoo_login", "odoo_secret_sealed", "odoo_saved_at"].into_iter().for_each(|name| set(columns, row, name, Value::Null));
            }
            set(columns, row, "user_id", here);
        }
    }
}

/// What follows an insert into sums: those that are there grow.
fn add(table: &Table) -> String {
    let sums = table.columns.iter().filter(|column| column.kind == Kind::Number && !table.key.contains(&column.name));
    let sums: Vec<String> = sums.map(|column| format!("\"{0}\" = \"{1}\".\"{0}\" + excluded.\"{0}\"", column.name, table.name)).collect();
    format!(" on conflict ({}) do update set {}", table.key.join(", "), sums.join(", "))
}

fn get<'a>(columns: &[Column], row: &'a [Value], name: &str) -> Option<&'a Value> {
    columns.iter().position(|column| column.name == name).and_then(|place| row.get(place))
}

fn set(columns: &[Column], row: &mut [Value], name: &str, value: Value) {
    if let Some(cell) = columns.iter().position(|column| column.name == name).and_then(|place| row.get_mut(place)) {
        *cell = value;
    }
}
