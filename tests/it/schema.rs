//! Migrations and entities describe the same tables, on both databases.

use dunet::db;
use dunet::db::entities::{
    api_tokens, client_tools, clients, configs, logs, memberships, nodes, oauth_clients, oauth_codes, oauth_grants, oauth_requests, oauth_tokens, operations, operator_keys,
    padron_imports, padron_listings, padron_pieces, plans, sessions, statement_invoices, statements, tool_usage, usage_days, usage_hours, usage_months, user_links, users,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait, IdenStatic, Iterable, QuerySelect, Statement};

use crate::support::{Backend, backends, database};

/// Tables without an owner, each with the reason.
const SHARED: [(&str, &str); 11] = [
    ("nodes", "processes of the service"),
    ("padron_listings", "public reference data"),
    ("padron_pieces", "public reference data"),
    ("plans", "the price list is one for all"),
    ("configs", "settings of the service"),
    ("padron_imports", "public reference data"),
    ("users", "a person may serve several tenants: memberships say which"),
    ("sessions", "of a person"),
    ("operator_keys", "the operator's"),
    ("oauth_requests", "asked before anybody has chosen a tenant"),
    ("seaql_migrations", "which migrations were run"),
];
/// Tables that are a tenant, or whose owner may be the service itself.
const OWNERS: [&str; 1] = ["clients"];

async fn fresh(backend: Backend) -> (DatabaseConnection, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let db = db::connect(&database(backend, folder.path()).await, 2).await.unwrap();
    db::migrate(&db).await.unwrap();
    (db, folder)
}

async fn tables(db: &DatabaseConnection) -> Vec<String> {
    let sql = match db.get_database_backend() {
        DbBackend::Sqlite => "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by 1",
        _ => "select relname::text as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition order by 1",
    };
    strings(db, sql.to_owned(), "name").await
}

async fn columns(db: &DatabaseConnection, table: &str) -> Vec<String> {
    let sql = match db.get_database_backend() {
        DbBackend::Sqlite => format!("select name from pragma_table_info('{table}')"),
        _ => format!("select column_name as name from information_schema.columns where table_name = '{table}'"),
    };
    strings(db, sql, "name").await
}

async fn strings(db: &DatabaseConnection, sql: String, column: &str) -> Vec<String> {
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get::<String>("", column).unwrap()).collect()
}

async fn same<E: EntityTrait>(db: &DatabaseConnection, seen: &mut Vec<String>)
where
    E::Column: Iterable,
{
    let table = E::default().table_name().to_owned();
    let mut wanted: Vec<String> = E::Column::iter().map(|column| column.as_str().to_owned()).collect();
    let mut found = columns(db, &table).await;
    wanted.sort();
    found.sort();
    assert_eq!(wanted, found, "{table}");
    // Types: a read of every column through the entity fails where they disagree.
    E::find().limit(1).all(db).await.unwrap_or_else(|error| panic!("{table}: {error}"));
    seen.push(table);
}

#[tokio::test]
async fn migrations_and_entities_agree() {
    for backend in backends() {
        let (db, _folder) = fresh(backend).await;
        let mut seen = vec!["seaql_migrations".to_owned()];
        same::<plans::Entity>(&db, &mut seen).await;
        same::<clients::Entity>(&db, &mut seen).await;
        same::<api_tokens::Entity>(&db, &mut seen).await;
        same::<client_tools::Entity>(&db, &mut seen).await;
        same::<logs::Entity>(&db, &mut seen).await;
        same::<nodes::Entity>(&db, &mut seen).await;
        same::<padron_listings::Entity>(&db, &mut seen).await;
        same::<padron_pieces::Entity>(&db, &mut seen).await;
        same::<configs::Entity>(&db, &mut seen).await;
        same::<tool_usage::Entity>(&db, &mut seen).await;
        same::<operations::Entity>(&db, &mut seen).await;
        same::<usage_months::Entity>(&db, &mut seen).await;
        same::<usage_days::Entity>(&db, &mut seen).await;
        same::<usage_hours::Entity>(&db, &mut seen).await;
        same::<statement_invoices::Entity>(&db, &mut seen).await;
        same::<statements::Entity>(&db, &mut seen).await;
        same::<operator_keys::Entity>(&db, &mut seen).await;
        same::<padron_imports::Entity>(&db, &mut seen).await;
        same::<users::Entity>(&db, &mut seen).await;
        same::<memberships::Entity>(&db, &mut seen).await;
        same::<sessions::Entity>(&db, &mut seen).await;
        same::<user_links::Entity>(&db, &mut seen).await;
        same::<oauth_clients::Entity>(&db, &mut seen).await;
        same::<oauth_requests::Entity>(&db, &mut seen).await;
        same::<oauth_grants::Entity>(&db, &mut seen).await;
        same::<oauth_codes::Entity>(&db, &mut seen).await;
        same::<oauth_tokens::Entity>(&db, &mut seen).await;
        seen.sort();
        assert_eq!(seen, tables(&db).await, "a table without an entity, or the other way round");
    }
}

#[tokio::test]
async fn every_table_has_an_owner_or_is_shared() {
    for backend in backends() {
        let (db, _folder) = fresh(backend).await;
        for table in tables(&db).await {
            let owned = OWNERS.contains(&table.as_str()) || columns(&db, &table).await.iter().any(|column| column == "client_id");
            let shared = SHARED.iter().any(|(name, _)| *name == table);
            assert!(owned != shared, "{table} must have client_id, or stand in SHARED with a reason");
        }
    }
}

#[tokio::test]
async fn the_price_list_is_the_owners() {
    for backend in backends() {
        let (db, _folder) = fresh(backend).await;
        let plans = dunet::domain::plans::plan_list(&db).await.unwrap();
        let found: Vec<(&str, Option<u32>, Option<usize>)> = plans.iter().map(|plan| (plan.code.as_str(), plan.calls_per_month, plan.tools_max)).collect();
        assert_eq!(found, [("gratis", Some(100), Some(2)), ("basic", Some(5_000), None), ("pro", None, None)]);
        let prices: Vec<i32> = plans::Entity::find().all(&db).await.unwrap().iter().map(|plan| plan.price_usd_cents).collect();
        assert_eq!(prices.iter().sum::<i32>(), 7_000);
        // Twice is no fault, and two at once neither.
        let (first, second) = tokio::join!(db::migrate(&db), db::migrate(&db));
        first.unwrap();
        second.unwrap();
        assert_eq!(db::pending(&db).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn migrations_can_be_taken_back() {
    use migration::{Migrator, MigratorTrait};
    for backend in backends() {
        let (db, _folder) = fresh(backend).await;
        Migrator::down(&db, None).await.unwrap();
        assert_eq!(tables(&db).await, ["seaql_migrations"]);
        Migrator::up(&db, None).await.unwrap();
    }
}
