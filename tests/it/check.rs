//! `dunet check`: every wrong setting is named, with what to do; nothing is changed. And migrations, which happen whole or not at all.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use dunet::clock::Clock;
use dunet::db::{self, schema};
use sea_orm::ConnectionTrait;
use serde_json::Value;

use crate::commands::Shell;
use crate::support::{TestApp, backends, database};

const HTTPS: &str = "https://mcp.example.do";

/// State and sentence of what was found about a thing.
async fn found(shell: &Shell, what: &str, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut line = vec!["--json", "check"];
    line.extend(arguments);
    let key = shell.path("key");
    let mut all = vec![("DUNET_VAULT_KEY_FILE", key.as_str()), ("DUNET_PUBLIC_URL", HTTPS), ("DUNET_PORT", "0")];
    all.extend(environment);
    let ran = shell.run_with(&line, &all, "").await;
    let rows: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let rows = rows.as_array().unwrap();
    let fault = rows.iter().any(|row| row["state"] == "fault");
    assert_eq!(ran.code == Some(1), fault, "{ran:?}");
    // A fault goes before what was well.
    let row = rows.iter().filter(|row| row["what"] == what).max_by_key(|row| row["state"] == "fault").unwrap_or_else(|| panic!("nothing about {what}: {ran:?}"));
    (ran.code.unwrap(), row["state"].as_str().unwrap().to_owned(), row["said"].as_str().unwrap().to_owned())
}

async fn wrong(shell: &Shell, what: &str, arguments: &[&str], environment: &[(&str, &str)], words: &[&str]) {
    let (code, state, said) = found(shell, what, arguments, environment).await;
    assert_eq!((code, state.as_str()), (1, "fault"), "{what}: {said}");
    for word in words {
        assert!(said.contains(word), "{what} should say {word}: {said}");
    }
}

fn private(shell: &Shell) {
    std::fs::set_permissions(shell.path("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn each_wrong_setting_has_a_name_and_a_remedy() {
    for backend in backends() {
        let shell = Shell::new(backend).await;
        private(&shell);
        let (code, state, said) = found(&shell, "vault key", &[], &[]).await;
        assert_eq!((code, state.as_str()), (0, "ok"), "{said}");
        // It looked and made nothing.
        assert!(!Path::new(&shell.path("test.db")).exists());

        wrong(&shell, "vault key", &[], &[("DUNET_VAULT_KEY_FILE", "/nowhere/key")], &["/nowhere/key", "cannot be read"]).await;
        std::fs::write(shell.path("short"), "c2hvcnQ=").unwrap();
        wrong(&shell, "vault key", &[], &[("DUNET_VAULT_KEY_FILE", &shell.path("short"))], &["32 bytes", "keygen"]).await;
        std::fs::set_permissions(shell.path("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
        wrong(&shell, "vault key", &[], &[], &["everybody", "chmod o="]).await;
        private(&shell);

        wrong(&shell, "public address", &[], &[("DUNET_PUBLIC_URL", "http://mcp.example.do")], &["not https", "nginx"]).await;
        assert_eq!(found(&shell, "public address", &[], &[("DUNET_PUBLIC_URL", "http://127.0.0.1:8080")]).await.1, "ok");
        wrong(&shell, "trusted proxies", &[], &[("DUNET_TRUSTED_PROXIES", "0.0.0.0/0")], &["DUNET_TRUSTED_PROXIES"]).await;

        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        wrong(&shell, "port", &[], &[("DUNET_PORT", &port)], &[&port, "DUNET_PORT", "--running"]).await;
        let ran = shell.run_with(&["check", "--running"], &[("DUNET_VAULT_KEY_FILE", &shell.path("key")), ("DUNET_PUBLIC_URL", HTTPS), ("DUNET_PORT", &port)], "").await;
        assert!(ran.code == Some(0) && !ran.stdout.contains(" port "), "{ran:?}");

        wrong(&shell, "data folder", &[], &[("DUNET_DATA_DIR", "/proc/nowhere")], &["/proc/nowhere", "DUNET_DATA_DIR"]).await;
        wrong(&shell, "database", &[], &[("DATABASE_URL", "postgres://dunet:hunter2@127.0.0.1:1/nada")], &["postgres", "DATABASE_URL"]).await;
        assert!(!found(&shell, "database", &[], &[("DATABASE_URL", "postgres://dunet:hunter2@127.0.0.1:1/nada")]).await.2.contains("hunter2"));
        wrong(&shell, "letters", &[], &[("DUNET_SMTP_URL", "smtp://127.0.0.1:1")], &["DUNET_MAIL_FROM"]).await;
        let redis = ("REDIS_URL", "redis://:hunter2@127.0.0.1:1/");
        wrong(&shell, "Redis", &[], &[redis], &["REDIS_URL", "server up"]).await;
        wrong(&shell, "Redis", &[], &[("REDIS_URL", "hunter2")], &["REDIS_URL must be an address"]).await;
        assert!(!found(&shell, "Redis", &[], &[redis]).await.2.contains("hunter2"));
        wrong(&shell, "replica", &[], &[("DATABASE_READ_URL", "postgres://dunet:hunter2@127.0.0.1:1/nada")], &["DATABASE_READ_URL"]).await;
        assert_eq!(found(&shell, "padrón", &[], &[]).await.1, "warning");
    }
}

#[tokio::test]
async fn a_database_of_another_time_is_named() {
    for backend in backends() {
        let mut app = TestApp::start(backend, &[]).await;
        let _tenant = app.tenant("Ferretería Nova").await;
        app.stop().await;
        let shell = Shell::beside(&app);
        private(&shell);
        assert_eq!(found(&shell, "database", &[], &[]).await.1, "ok");
        shell.write_key("other", &[9; 32]);
        std::fs::set_permissions(shell.path("other"), std::fs::Permissions::from_mode(0o600)).unwrap();
        wrong(&shell, "vault key", &[], &[("DUNET_VAULT_KEY_FILE", &shell.path("other"))], &["does not fit the database", "DUNET_VAULT_PREVIOUS_KEY_FILE"]).await;

        let db = &app.state.db;
        let last = schema::known().pop().unwrap();
        db.execute_unprepared(&format!("delete from seaql_migrations where version = '{last}'")).await.unwrap();
        let (_, state, said) = found(&shell, "database", &[], &[]).await;
        assert!(state == "ok" && said.contains("lacks 1 migrations") && said.contains("--dry-run"), "{said}");
        wrong(&shell, "database", &[], &[("DUNET_NO_MIGRATE", "1")], &["too old", "dunet migrate"]).await;
        db.execute_unprepared(&format!("insert into seaql_migrations (version, applied_at) values ('{last}', 1), ('m29990101_000001_future', 1)")).await.unwrap();
        wrong(&shell, "database", &[], &[], &["newer", "m29990101_000001_future"]).await;
        // The service, the command and the try say the same and do nothing.
        for command in [["serve", "--port", "0"].as_slice(), &["migrate"], &["migrate", "--dry-run"]] {
            assert!(shell.refused(command).await.contains("newer than this program"), "{command:?}");
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_behind_is_named() {
    for backend in backends() {
        let folder = tempfile::tempdir().unwrap();
        let url = database(backend, folder.path()).await;
        let later = Clock::fixed("2090-01-01T00:00:00Z".parse().unwrap());
        let mut app = TestApp::start_at(backend, folder, url, later, &[]).await;
        let _tenant = app.tenant("Ferretería Nova").await;
        app.stop().await;
        let shell = Shell::beside(&app);
        private(&shell);
        wrong(&shell, "clock", &[], &[], &["behind", "timedatectl"]).await;
    }
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_database_as_it_was() {
    for backend in backends() {
        let folder = tempfile::tempdir().unwrap();
        let db = db::connect(&database(backend, folder.path()).await, 2).await.unwrap();
        assert_eq!(db::migrate_dry(&db).await.unwrap(), schema::known().len());
        assert_eq!(schema::applied(&db).await.unwrap(), Vec::<String>::new());
        assert_eq!(schema::tables(&db).await.unwrap(), []);
        // Somebody's table stands in the way of a late one.
        db.execute_unprepared("create table operator_keys (x integer)").await.unwrap();
        assert!(db::migrate_dry(&db).await.is_err());
        assert!(db::migrate(&db).await.is_err());
        let names: Vec<String> = schema::tables(&db).await.unwrap().into_iter().map(|table| table.name).collect();
        assert_eq!((names, schema::applied(&db).await.unwrap()), (vec!["operator_keys".to_owned()], Vec::new()));
        db.execute_unprepared("drop table operator_keys").await.unwrap();
        db::migrate(&db).await.unwrap();
    }
}
