//! Backups: taken while calls go on, restored on either database, and everything works there; what is refused has changed nothing.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dunet::clock::Clock;
use dunet::db::entities::{alert_deliveries, logs, odoo_keys};
use dunet::db::{self, schema};
use dunet::domain::audit::{Actor, chains_verify};
use dunet::domain::backup::{self, Manifest};
use dunet::domain::vault::Vault;
use dunet::ids::TenantId;
use migration::{Migrator, MigratorTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, IntoActiveModel, QueryFilter, Statement};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::commands::Shell;
use crate::support::{Backend, TestApp, VAULT_KEY, backends, database};

fn vault() -> Vault {
    Vault::from_keys(&VAULT_KEY, None)
}

async fn restored(url: &SecretString, file: &Path, replace: bool) -> anyhow::Result<backup::Restored> {
    let db = db::connect(url, 2).await?;
    backup::restore(&db, &Clock::system(), &vault(), file, replace, &Actor::shell()).await
}

async fn number(db: &DatabaseConnection, sql: &str) -> i64 {
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql.to_owned())).await.unwrap().unwrap();
    row.try_get::<i64>("", "n").unwrap()
}

/// Table and checksum, without the audit, which tells of the restore.
fn sums(manifest: &Manifest) -> Vec<(String, u64, String)> {
    manifest.tables.iter().filter(|table| table.name != "logs").map(|table| (table.name.clone(), table.rows, table.sha256.clone())).collect()
}

fn rows(manifest: &Manifest, table: &str) -> u64 {
    manifest.tables.iter().find(|found| found.name == table).unwrap().rows
}

/// Its Odoo key is renewed by itself, the one before is not revoked yet, and a letter waits.
async fn renewing(app: &TestApp, tenant: TenantId) {
    let found = app.state.tenants.tenant_find(tenant).await.unwrap();
    app.state.odoo_keys.renew_set(&found, true, &Actor::shell()).await.unwrap();
    let db = &app.state.db;
    db.execute_unprepared("update odoo_keys set old_sealed = 'v1:x'").await.unwrap();
    let row = alert_deliveries::Model {
        id: uuid::Uuid::now_v7(),
        client_id: Some(tenant.uuid()),
        owner: tenant.uuid(),
        channel: "webhook".to_owned(),
        user_id: None,
        kind: "odoo.down".to_owned(),
        facts: None,
        state: "waiting".to_owned(),
        attempts: 1,
        due_at: app.clock.now(),
        status: None,
        cause: None,
        created_at: app.clock.now(),
        ended_at: None,
    };
    alert_deliveries::Entity::insert(row.into_active_model()).exec_without_returning(db).await.unwrap();
}

/// Nothing of that goes on in a copy.
async fn assert_quiet(db: &DatabaseConnection) {
    let key = odoo_keys::Entity::find().one(db).await.unwrap().unwrap();
    assert!(!key.renew && key.old_sealed.is_none() && !key.secret_mark.is_empty(), "{key:?}");
    let letter = alert_deliveries::Entity::find().one(db).await.unwrap().unwrap();
    assert!(letter.state == "given_up" && letter.ended_at.is_some(), "{letter:?}");
}

/// The drill of the runbook.
#[tokio::test]
async fn what_is_backed_up_under_load_works_elsewhere() {
    for backend in backends() {
        let app = Arc::new(TestApp::start(backend, &[]).await);
        let (nova, hotel) = (app.tenant("Ferretería Nova").await, app.tenant("Hotel Costa").await);
        let file = app.folder.path().join("copy.zip");
        let stop = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = [&nova.token, &hotel.token]
            .map(|token| {
                let (client, stop) = (app.client(token), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut calls = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        client.call("buscar_cliente", json!({ "consulta": "Costa" })).await;
                        calls += 1;
                    }
                    calls
                })
            })
            .into();
        app.usage_rows(20).await;
        let manifest = backup::backup(&app.state.db, &app.clock, &file, None).await.unwrap();
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            assert!(caller.await.unwrap() > 0);
        }
        assert!(rows(&manifest, "tool_usage") >= 20 && rows(&manifest, "clients") == 2 && rows(&manifest, "api_tokens") == 2, "{manifest:?}");
        let raw = std::fs::read(&file).unwrap();
        assert_eq!(backup::inspect(&file).unwrap().rows(), manifest.rows());
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let mut zip = ZipArchive::new(std::io::Cursor::new(raw)).unwrap();
        for place in 0..zip.len() {
            let mut text = String::new();
            zip.by_index(place).unwrap().read_to_string(&mut text).unwrap();
            assert!(!text.contains(nova.sandbox.api_key()) && !text.contains(&nova.token), "a secret in the copy");
        }

        for target in backends() {
            let folder = tempfile::tempdir().unwrap();
            let url = database(target, folder.path()).await;
            restored(&url, &file, false).await.unwrap();
            let db = db::connect(&url, 2).await.unwrap();
            // Of one moment: calls and their sums fit, although calls came in while the copy was written.
            let stored = number(&db, "select count(*) as n from tool_usage").await;
            assert_eq!(stored, i64::try_from(rows(&manifest, "tool_usage")).unwrap());
            assert_eq!(stored, number(&db, "select cast(sum(calls) as bigint) as n from usage_months").await);
            let (verified, broken) = chains_verify(&db).await.unwrap();
            assert!(broken.is_empty() && verified.rows as u64 == rows(&manifest, "logs") + 1, "{verified:?} {broken:?}");
            let again = backup::backup(&db, &Clock::system(), &folder.path().join("again.zip"), None).await.unwrap();
            assert_eq!(sums(&again), sums(&manifest), "{backend:?} to {target:?}");
            // And it serves: the token opens the door, the sealed secret the Odoo.
            let mut second = TestApp::start_at(target, folder, url, app.clock.clone(), &[]).await;
            let found = second.client(&nova.token).call("buscar_cliente", json!({ "consulta": "Costa" })).await;
            assert!(found["clientes"].is_array(), "{found}");
            second.stop().await;
        }
    }
}

#[tokio::test]
async fn a_restore_that_is_refused_changes_nothing() {
    for backend in backends() {
        let mut app = TestApp::start(backend, &[]).await;
        let tenant = app.tenant("Ferretería Nova").await;
        renewing(&app, tenant.id).await;
        app.stop().await;
        let folder = app.folder.path().to_path_buf();
        let file = folder.join("copy.zip");
        backup::backup(&app.state.db, &app.clock, &file, None).await.unwrap();
        assert!(backup::backup(&app.state.db, &app.clock, &file, None).await.unwrap_err().to_string().contains("never overwritten"));

        let before = app.dump().await;
        let error = restored(&app.database_url, &file, false).await.unwrap_err().to_string();
        assert!(error.contains("--replace") && error.contains("in use"), "{error}");

        let bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        let mut flipped = bytes.clone();
        flipped[middle] ^= 0x10;
        let mut forged = rewritten(&file, |name, text| if name == "clients.jsonl" { text.replace("Nova", "Vana") } else { text });
        let broken = [("flipped", flipped), ("short", bytes[..middle].to_vec()), ("nothing", Vec::new()), ("forged", std::mem::take(&mut forged))];
        for (name, content) in broken {
            let path = folder.join(name);
            std::fs::write(&path, content).unwrap();
            assert!(restored(&app.database_url, &path, true).await.is_err(), "{name}");
        }
        let newer = write(
            &folder.join("newer"),
            rewritten(&file, |name, text| if name == "manifest.json" { text.replace("\"migrations\": [", "\"migrations\": [\n\"m29990101_000001_future\",") } else { text }),
        );
        let error = restored(&app.database_url, &newer, true).await.unwrap_err().to_string();
        assert!(error.contains("newer Dunet") && error.contains("update first"), "{error}");
        let form = write(&folder.join("form"), rewritten(&file, |name, text| if name == "manifest.json" { text.replace("\"format\": 1", "\"format\": 9") } else { text }));
        assert!(restored(&app.database_url, &form, true).await.unwrap_err().to_string().contains("form 9"));

        // Another key: found out before it counts, and a new database stays new.
        let fresh = tempfile::tempdir().unwrap();
        let url = database(backend, fresh.path()).await;
        let db = db::connect(&url, 2).await.unwrap();
        let error = backup::restore(&db, &app.clock, &Vault::from_keys(&[9; 32], None), &file, false, &Actor::shell()).await.unwrap_err();
        assert!(format!("{error:#}").contains("vault key"), "{error:#}");
        assert_eq!(schema::applied(&db).await.unwrap(), Vec::<String>::new());
        assert_eq!(app.dump().await, before);

        // With the word it happens.
        app.state.db.execute_unprepared("update clients set name = 'Otro nombre'").await.unwrap();
        restored(&app.database_url, &file, true).await.unwrap();
        assert_eq!(number(&app.state.db, "select count(*) as n from clients where name = 'Ferretería Nova'").await, 1);
        assert_eq!(number(&app.state.db, "select count(*) as n from logs where action = 'database.restore'").await, 1);
        assert_quiet(&app.state.db).await;
        let told = logs::Entity::find().filter(logs::Column::Action.eq("database.restore")).one(&app.state.db).await.unwrap().unwrap();
        assert_eq!(told.after.unwrap()["odoo_key_renewals_off"], json!([tenant.id]));
    }
}

/// A file with other content under the same names.
fn rewritten(file: &Path, mut edit: impl FnMut(&str, String) -> String) -> Vec<u8> {
    let mut from = ZipArchive::new(std::fs::File::open(file).unwrap()).unwrap();
    let mut into = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for place in 0..from.len() {
        let mut text = String::new();
        let mut member = from.by_index(place).unwrap();
        let name = member.name().unwrap().into_owned();
        member.read_to_string(&mut text).unwrap();
        into.start_file(name.clone(), SimpleFileOptions::default()).unwrap();
        into.write_all(edit(&name, text).as_bytes()).unwrap();
    }
    into.finish().unwrap().into_inner()
}

fn write(path: &Path, content: Vec<u8>) -> PathBuf {
    std::fs::write(path, content).unwrap();
    path.to_owned()
}

#[tokio::test]
async fn an_older_backup_is_brought_up_to_date() {
    let known = schema::known();
    for backend in backends() {
        let folder = tempfile::tempdir().unwrap();
        let old = db::connect(&database(backend, folder.path()).await, 2).await.unwrap();
        Migrator::up(&old, Some(u32::try_from(known.len() - 1).unwrap())).await.unwrap();
        old.execute_unprepared("update plans set price_usd_cents = 4321 where code = 'pro'").await.unwrap();
        let file = folder.path().join("old.zip");
        backup::backup(&old, &Clock::system(), &file, None).await.unwrap();
        let target = tempfile::tempdir().unwrap();
        let url = database(backend, target.path()).await;
        // A new database, and one that the newest version has been at.
        for replace in [false, true] {
            assert_eq!(restored(&url, &file, replace).await.unwrap().migrated, 1);
            let db = db::connect(&url, 2).await.unwrap();
            assert_eq!(schema::applied(&db).await.unwrap(), known);
            assert_eq!(number(&db, "select count(*) as n from plans where price_usd_cents = 4321").await, 1);
        }
    }
}

#[tokio::test]
async fn a_tenant_moves_to_another_service() {
    for backend in backends() {
        let mut app = TestApp::start(backend, &[]).await;
        let (nova, stays) = (app.tenant("Ferretería Nova").await, app.tenant("Hotel Costa").await);
        for tenant in [&nova, &stays] {
            app.client(&tenant.token).call("buscar_cliente", json!({ "consulta": "Costa" })).await;
        }
        app.usage_rows(2).await;
        renewing(&app, nova.id).await;
        let file = app.folder.path().join("nova.zip");
        let manifest = backup::backup(&app.state.db, &app.clock, &file, Some(nova.id)).await.unwrap();
        assert_eq!((rows(&manifest, "clients"), rows(&manifest, "api_tokens"), rows(&manifest, "tool_usage")), (1, 1, 1));
        let everything = rewritten(&file, |_, text| {
            assert!(!text.contains("Hotel Costa") && !text.contains(&stays.id.to_string()), "somebody else in {text}");
            text
        });
        drop(everything);

        let other = TestApp::start(backend, &[]).await;
        let local = other.tenant("Colmado Mercedes").await;
        other.client(&local.token).call("buscar_cliente", json!({ "consulta": "Costa" })).await;
        other.usage_rows(1).await;
        let db = &other.state.db;
        let everybody = "select cast(sum(calls) as bigint) as n from usage_days where client_id not in (select client_id from usage_months)";
        assert_eq!(number(db, everybody).await, 1);
        let error = backup::tenant_import(db, &other.clock, &Vault::from_keys(&[9; 32], None), &file, &Actor::shell()).await.unwrap_err();
        assert!(format!("{error:#}").contains("vault key"), "{error:#}");
        assert_eq!(number(db, "select count(*) as n from clients").await, 1);
        backup::tenant_import(db, &other.clock, &vault(), &file, &Actor::shell()).await.unwrap();
        assert_eq!(number(db, everybody).await, 2, "everybody's sums have its call");
        assert_quiet(db).await;
        assert!(chains_verify(db).await.unwrap().1.is_empty());
        let found = other.client(&nova.token).call("buscar_cliente", json!({ "consulta": "Costa" })).await;
        assert!(found["clientes"].is_array(), "{found}");
        other.usage_rows(3).await;
        let error = backup::tenant_import(db, &other.clock, &vault(), &file, &Actor::shell()).await.unwrap_err();
        assert!(format!("{error:#}").contains("here already"), "{error:#}");
        assert_eq!(number(db, everybody).await, 3);
        // Neither file is taken for the other.
        assert!(restored(&app.database_url, &file, true).await.unwrap_err().to_string().contains("dunet import"));
        app.stop().await;
    }
}

#[tokio::test]
async fn the_commands() {
    for backend in backends() {
        let mut app = TestApp::start(backend, &[]).await;
        let tenant = app.tenant("Ferretería Nova").await;
        app.client(&tenant.token).call("buscar_cliente", json!({ "consulta": "Costa" })).await;
        app.usage_rows(1).await;
        let shell = Shell::beside(&app);
        let file = app.folder.path().join("copy.zip").display().to_string();
        let said = shell.json(&["backup", &file]).await;
        assert_eq!(said["tables"]["clients"]["rows"], 1, "{said}");
        assert_eq!(shell.json(&["restore", "--check", &file]).await["rows"], said["rows"]);
        assert!(shell.refused(&["restore", "--replace", &file]).await.contains("stop it first"), "a service runs");
        let own = app.folder.path().join("own.zip").display().to_string();
        assert_eq!(shell.json(&["export", "--tenant", &tenant.id.to_string(), &own]).await["tenant"], json!(tenant.id));
        let nobody = app.folder.path().join("nobody.zip").display().to_string();
        assert!(shell.refused(&["export", "--tenant", "00000000-0000-7000-8000-000000000001", &nobody]).await.contains("no such tenant"));
        assert!(!Path::new(&nobody).exists() && !Path::new(&format!("{nobody}.part")).exists());
        app.stop().await;
        assert_eq!(shell.json(&["restore", "--replace", &file]).await["rows"], said["rows"]);
        assert!(shell.refused(&["import", &own]).await.contains("here already"));

        // From each database to each, in one command.
        for target in [Backend::Sqlite, Backend::Postgres].into_iter().filter(|target| backends().contains(target)) {
            let folder = tempfile::tempdir().unwrap();
            let url = database(target, folder.path()).await;
            let address = folder.path().join("address");
            std::fs::write(&address, url.expose_secret()).unwrap();
            let address = address.display().to_string();
            let moved = shell.json(&["move-database", "--to-file", &address]).await;
            assert!(moved["rows"].as_u64() > said["rows"].as_u64(), "the audit tells of the restore: {moved}");
            let db = db::connect(&url, 2).await.unwrap();
            assert_eq!(number(&db, "select count(*) as n from clients").await, 1);
            assert!(shell.refused(&["move-database", "--to-file", &address]).await.contains("in use"));
            let left: Vec<_> =
                std::fs::read_dir(app.folder.path()).unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok()).filter(|name| name.starts_with("moving")).collect();
            assert_eq!(left, Vec::<String>::new());
        }
        let dry: Value = shell.json(&["migrate", "--dry-run"]).await;
        assert_eq!(dry["migrations_pending"], 0);
    }
}
