//! `tool_usage` in parts by month on PostgreSQL: each call in its month and there once, months that go, nodes that make parts at the same time, and
//! the table that was whole before. On SQLite the same stories are told of one table.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use dunet::clock::Clock;
use dunet::db::entities::{tool_usage, usage_days, usage_months};
use dunet::db::parts::{self, Covered};
use dunet::db::{self, schema};
use dunet::domain::audit::Actor;
use dunet::domain::backup;
use dunet::domain::reports::LogFilter;
use dunet::domain::usage::{UsageRecord, prune};
use dunet::domain::vault::Vault;
use dunet::ids::{TenantId, UsageId};
use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseConnection, EntityTrait, IntoActiveModel, QueryOrder, Statement, TransactionTrait};

use crate::support::calls::call;
use crate::support::{Backend, TestApp, VAULT_KEY, backends, database, until};

/// The migration that parts the table.
const BY_MONTH: &str = "m20261128_000051_usage_by_month";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

async fn rows(db: &DatabaseConnection) -> Vec<tool_usage::Model> {
    tool_usage::Entity::find().order_by_asc(tool_usage::Column::StartedAt).order_by_asc(tool_usage::Column::Id).all(db).await.unwrap()
}

/// Calls by the table they are in.
async fn by_part(db: &DatabaseConnection) -> BTreeMap<String, i64> {
    let sql = "select tableoid::regclass::text as name, count(*) as calls from tool_usage group by 1";
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| (row.try_get("", "name").unwrap(), row.try_get("", "calls").unwrap())).collect()
}

async fn names(db: &DatabaseConnection) -> Vec<String> {
    parts::parts(db).await.unwrap().into_iter().map(|part| part.name).collect()
}

/// All calls, and those of everybody, as the sums have them.
async fn summed(db: &DatabaseConnection) -> (i64, i64) {
    let months = usage_months::Entity::find().all(db).await.unwrap();
    let days = usage_days::Entity::find().all(db).await.unwrap();
    (months.iter().map(|row| row.calls).sum(), days.iter().filter(|row| row.client_id.is_nil()).map(|row| row.calls).sum())
}

/// Calls at the turns of months, one that was away for long, and one from a clock that is wrong.
fn at_the_turns(tenant: TenantId) -> Vec<UsageRecord> {
    // Nanoseconds, which a machine's clock has and PostgreSQL does not keep.
    let times = [
        "2025-02-10T12:00:00Z",
        "2026-11-01T03:59:59.999999999Z",
        "2026-11-01T04:00:00Z",
        "2026-12-01T03:59:59.123456789Z",
        "2026-12-01T04:00:00.000000001Z",
        "2031-07-04T00:00:00Z",
    ];
    times.map(|time| call(tenant, time)).to_vec()
}

#[tokio::test]
async fn calls_at_the_turns_of_months_are_there_once() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let calls = at_the_turns(tenant.id);
        app.made(&calls).await;
        // Again: together, one by one, and beside a new one.
        app.made(&calls).await;
        for call in &calls {
            app.made(std::slice::from_ref(call)).await;
        }
        let fresh = UsageRecord { id: UsageId::new(), ..calls[1].clone() };
        app.made(&[calls[1].clone(), fresh, calls[4].clone()]).await;
        let db = &app.state.db;
        assert_eq!((rows(db).await.len(), summed(db).await), (7, (7, 7)));
        assert_eq!(rows(db).await.iter().map(|row| row.billing_month).collect::<Vec<_>>(), [202_502, 202_610, 202_610, 202_611, 202_611, 202_612, 203_107]);
        if app.backend == Backend::Postgres {
            let expected = [("202502", 1), ("202610", 2), ("202611", 2), ("202612", 1), ("203107", 1)].map(|(month, calls)| (format!("tool_usage_{month}"), calls));
            assert_eq!(by_part(db).await, BTreeMap::from(expected));
            // These and the two ahead, and none for the months between.
            assert_eq!(names(db).await.len(), 6);
        }
        // The log goes through all of them by its keys.
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = app.state.reports.log_page(&LogFilter { tenant: Some(tenant.id), ..LogFilter::default() }, after.as_deref(), 2).await.unwrap();
            seen.extend(page.rows.iter().map(|row| row.id.uuid()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        seen.reverse();
        assert_eq!(seen, rows(db).await.iter().map(|row| row.id).collect::<Vec<_>>());
        assert_eq!(dunet::domain::usage::totals(db, tenant.id, 202_611).await.unwrap().iter().map(|row| row.calls).sum::<i64>(), 2);
    })
    .await;
}

/// A month whose part was dropped: a straggler is stored, although the worker knew the part to be there.
#[tokio::test]
async fn a_straggler_of_a_month_that_is_over_is_stored() {
    TestApp::everywhere(|app| async move {
        let tenant = app.tenant("Uno").await;
        let old = call(tenant.id, "2026-02-03T12:00:00Z");
        app.made(&[old.clone(), call(tenant.id, "2026-11-03T12:00:00Z")]).await;
        // It gives up where somebody reads the part at that moment, as the database's own upkeep may.
        let pruned = std::cell::Cell::new(0);
        until("the old month is gone", || async {
            pruned.set(prune(&app.state.db, app.clock.now(), 90).await.unwrap_or_default());
            pruned.get() > 0
        })
        .await;
        assert_eq!(pruned.get(), 1);
        app.made(&[UsageRecord { id: UsageId::new(), ..old.clone() }, UsageRecord { id: UsageId::new(), ..call(tenant.id, "2026-11-03T13:00:00Z") }]).await;
        assert_eq!((rows(&app.state.db).await.len(), summed(&app.state.db).await), (3, (4, 4)));
        assert!(!app.folder.path().join("journal").join("refused.txt").exists());
        if app.backend == Backend::Postgres {
            // Somebody keeps the month as a table of its own: it is left alone, and the next straggler is stored all the same.
            app.state.db.execute_unprepared("alter table tool_usage detach partition tool_usage_202602").await.unwrap();
            app.made(&[UsageRecord { id: UsageId::new(), ..old }]).await;
            assert_eq!(by_part(&app.state.db).await.into_keys().collect::<Vec<_>>(), ["tool_usage_202602a", "tool_usage_202611"]);
        }
        assert_eq!(prune(&app.state.db, app.clock.now(), 90).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn nodes_make_and_drop_the_same_parts_at_the_same_time() {
    if !backends().contains(&Backend::Postgres) {
        return;
    }
    let app = TestApp::start(Backend::Postgres, &[]).await;
    let tenant = app.tenant("Uno").await;
    let mut nodes = Vec::new();
    for _ in 0..6 {
        nodes.push(db::connect(&app.database_url, 2).await.unwrap());
    }
    let now = at("2028-01-15T00:00:00Z");
    let mut tasks = tokio::task::JoinSet::new();
    for node in nodes.clone() {
        tasks.spawn(async move {
            parts::make_ahead(&node, now).await.unwrap();
            Covered::default().cover(&node, [at("2027-06-01T12:00:00Z"), at("2027-07-01T12:00:00Z"), now]).await.unwrap();
        });
    }
    tasks.join_all().await;
    let expected = ["202611", "202612", "202701", "202706", "202707", "202801", "202802", "202803"].map(|month| format!("tool_usage_{month}"));
    assert_eq!(names(&app.state.db).await, expected);

    // Both let old months go: each call goes once, and nobody fails.
    app.made(&[call(tenant.id, "2027-06-02T00:00:00Z"), call(tenant.id, "2027-07-02T00:00:00Z"), call(tenant.id, "2028-01-02T00:00:00Z")]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for node in nodes {
        tasks.spawn(async move { prune(&node, now, 40).await.unwrap() });
    }
    let mut gone: u64 = tasks.join_all().await.iter().sum();
    gone += prune(&app.state.db, now, 40).await.unwrap();
    assert_eq!((gone, rows(&app.state.db).await.len()), (2, 1));
    assert_eq!(names(&app.state.db).await, expected[5..]);
}

/// A backup reads for minutes: parts are made meanwhile, and dropped when it is over.
#[tokio::test]
async fn a_long_reader_delays_nothing_but_the_dropping() {
    if !backends().contains(&Backend::Postgres) {
        return;
    }
    let app = TestApp::start(Backend::Postgres, &[]).await;
    let tenant = app.tenant("Uno").await;
    app.made(&[call(tenant.id, "2026-01-02T00:00:00Z")]).await;
    let db = &app.state.db;
    let reader = db::connect(&app.database_url, 1).await.unwrap();
    let reading = reader.begin_with_config(Some(sea_orm::IsolationLevel::RepeatableRead), Some(sea_orm::AccessMode::ReadOnly)).await.unwrap();
    assert_eq!(tool_usage::Entity::find().all(&reading).await.unwrap().len(), 1);
    app.made(&[call(tenant.id, "2026-05-02T00:00:00Z")]).await;
    let error = prune(db, app.clock.now(), 200).await.unwrap_err().to_string();
    assert!(error.contains("lock timeout"), "{error}");
    assert_eq!(tool_usage::Entity::find().all(&reading).await.unwrap().len(), 1, "as it was when it began");
    reading.commit().await.unwrap();
    assert_eq!(prune(db, app.clock.now(), 200).await.unwrap(), 1);
    assert_eq!(by_part(db).await.into_keys().collect::<Vec<_>>(), ["tool_usage_202605"]);
}

#[tokio::test]
async fn the_whole_table_becomes_parts_with_every_row() {
    let place = u32::try_from(schema::known().iter().position(|name| name == BY_MONTH).unwrap()).unwrap();
    for backend in backends() {
        let folder = tempfile::tempdir().unwrap();
        let url = database(backend, folder.path()).await;
        let db = db::connect(&url, 4).await.unwrap();
        Migrator::up(&db, Some(place)).await.unwrap();
        // Calls of three years up to now, and of a clock that was wrong.
        let now = Clock::system().now();
        let tenant = TenantId::new();
        let mut times: Vec<DateTime<Utc>> = (0..36).map(|month| now - TimeDelta::days(30 * month)).collect();
        times.extend([at("2098-12-31T23:00:00Z"), at("2099-01-01T12:00:00Z")]);
        for (number, time) in times.iter().enumerate() {
            let row = tool_usage::Model {
                id: uuid::Uuid::now_v7(),
                client_id: tenant.uuid(),
                token_id: None,
                tool: "odoo_contexto".to_owned(),
                agent: None,
                outcome: if number % 5 == 0 { "error" } else { "ok" }.to_owned(),
                error_code: None,
                counted: true,
                billing_month: dunet::clock::billing_month(*time),
                total_us: i64::try_from(number).unwrap(),
                odoo_us: 0,
                odoo_requests: 0,
                request_id: format!("r{number}"),
                started_at: DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap(),
            };
            tool_usage::Entity::insert(row.into_active_model()).exec_without_returning(&db).await.unwrap();
        }
        let before = rows(&db).await;

        // Tried, and taken back.
        let pending = db::migrate_dry(&db).await.unwrap();
        assert!(pending >= 1 && parts::parts(&db).await.unwrap().is_empty());
        assert_eq!(rows(&db).await, before);
        db::migrate(&db).await.unwrap();
        assert_eq!(rows(&db).await, before);
        let all = ["tool_usage_earlier", "tool_usage_209812", "tool_usage_209901"];
        if backend == Backend::Postgres {
            assert_eq!(by_part(&db).await, BTreeMap::from([(all[0].to_owned(), 36), (all[1].to_owned(), 1), (all[2].to_owned(), 1)]));
            let listed: Vec<String> = schema::tables(&db).await.unwrap().into_iter().map(|table| table.name).filter(|name| name.starts_with("tool_usage")).collect();
            assert_eq!(listed, ["tool_usage"], "a backup holds it once");
        }

        // The service goes on with it: what is there is not stored again, and this month's calls need no part.
        let app = TestApp::start_at(backend, folder, url, Clock::fixed(now), &[]).await;
        let first = before.iter().rfind(|row| row.started_at <= now).unwrap();
        let again = UsageRecord { id: UsageId::from(first.id), started_at: first.started_at, ..call(tenant, "2026-11-22T00:00:00Z") };
        let fresh = UsageRecord { started_at: now, ..call(tenant, "2026-11-22T00:00:00Z") };
        app.made(&[again, fresh]).await;
        assert_eq!((rows(&db).await.len(), summed(&db).await), (before.len() + 1, (1, 1)));
        if backend == Backend::Postgres {
            assert_eq!(by_part(&db).await[all[0]], 37);
            assert_eq!(names(&db).await.len(), 5, "the next two months");
        }

        // Old calls go from the first part one by one, then the part itself.
        let oldest = now - TimeDelta::days(400);
        let old = before.iter().filter(|row| row.started_at < oldest).count();
        assert_eq!(prune(&db, now, 400).await.unwrap(), old as u64);
        let left = rows(&db).await;
        assert!(left.iter().all(|row| row.started_at >= oldest) && left.len() == before.len() + 1 - old);

        // Back and forth.
        let steps = u32::try_from(schema::known().len()).unwrap() - place;
        Migrator::down(&db, Some(steps)).await.unwrap();
        assert!(parts::parts(&db).await.unwrap().is_empty());
        assert_eq!(rows(&db).await, left);
        Migrator::up(&db, None).await.unwrap();
        assert_eq!(rows(&db).await, left);
        prune(&db, now + TimeDelta::days(200), 40).await.unwrap();
        assert_eq!(rows(&db).await.len(), 2);
        if backend == Backend::Postgres {
            assert_eq!(names(&db).await, all[1..]);
        }
    }
}

#[tokio::test]
async fn a_backup_holds_every_month_once() {
    for backend in backends() {
        let mut app = TestApp::start(backend, &[]).await;
        let tenant = app.tenant("Uno").await;
        app.made(&at_the_turns(tenant.id)).await;
        app.stop().await;
        let (file, own) = (app.folder.path().join("copy.zip"), app.folder.path().join("own.zip"));
        let manifest = backup::backup(&app.state.db, &app.clock, &file, None).await.unwrap();
        backup::backup(&app.state.db, &app.clock, &own, Some(tenant.id)).await.unwrap();
        let calls = manifest.tables.iter().find(|table| table.name == "tool_usage").unwrap();
        assert_eq!((calls.rows, manifest.tables.iter().filter(|table| table.name.starts_with("tool_usage")).count()), (6, 1));
        for target in backends() {
            let vault = Vault::from_keys(&VAULT_KEY, None);
            let folder = tempfile::tempdir().unwrap();
            let db = db::connect(&database(target, folder.path()).await, 2).await.unwrap();
            // Into a new database, and into one with parts of its own.
            for replace in [false, true] {
                backup::restore(&db, &app.clock, &vault, &file, replace, &Actor::shell()).await.unwrap();
                let again = backup::backup(&db, &app.clock, &folder.path().join(format!("again-{replace}.zip")), None).await.unwrap();
                assert_eq!(again.tables.iter().find(|table| table.name == "tool_usage"), Some(calls), "{backend:?} to {target:?}");
                assert_eq!(parts::parts(&db).await.unwrap().len(), if target == Backend::Postgres { 5 } else { 0 });
            }
        }
        // A tenant's export, by the way of another service of the same kind.
        let folder = tempfile::tempdir().unwrap();
        let db = db::connect(&database(backend, folder.path()).await, 2).await.unwrap();
        db::migrate(&db).await.unwrap();
        backup::tenant_import(&db, &app.clock, &Vault::from_keys(&VAULT_KEY, None), &own, &Actor::shell()).await.unwrap();
        assert_eq!((rows(&db).await.len(), summed(&db).await), (6, (6, 6)));
    }
}
