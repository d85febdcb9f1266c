//! The migrations of Dunet's database, the same on SQLite and PostgreSQL. One file per change; a landed file is never edited.

pub use sea_orm_migration::prelude::*;

mod m20261122_000001_tenants;
mod m20261122_000002_usage;
mod m20261122_000003_operations;
mod m20261122_000004_padron;
mod m20261122_000005_pace;
mod m20261125_000006_people;
mod m20261125_000007_reports;
mod m20261125_000008_statements;
mod m20261125_000011_operator_keys;
mod m20261128_000012_oauth;
mod m20261128_000012_statement_invoices;
mod m20261128_000013_rare_rows;
mod m20261128_000021_tool_default;
mod m20261128_000022_approvals;
mod m20261128_000031_personal_odoo;
mod m20261128_000041_alerts;
mod m20261128_000041_nodes;
mod m20261128_000051_usage_by_month;
pub mod parts;
pub mod rollups;
mod tables;

/// Runs the list.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_tenants::Migration),
            Box::new(m20261122_000002_usage::Migration),
            Box::new(m20261122_000003_operations::Migration),
            Box::new(m20261122_000004_padron::Migration),
            Box::new(m20261122_000005_pace::Migration),
            Box::new(m20261125_000006_people::Migration),
            Box::new(m20261125_000007_reports::Migration),
            Box::new(m20261125_000008_statements::Migration),
            Box::new(m20261125_000011_operator_keys::Migration),
            Box::new(m20261128_000012_oauth::Migration),
            Box::new(m20261128_000012_statement_invoices::Migration),
            Box::new(m20261128_000013_rare_rows::Migration),
            Box::new(m20261128_000021_tool_default::Migration),
            Box::new(m20261128_000022_approvals::Migration),
            Box::new(m20261128_000031_personal_odoo::Migration),
            Box::new(m20261128_000041_alerts::Migration),
            Box::new(m20261128_000041_nodes::Migration),
            Box::new(m20261128_000051_usage_by_month::Migration),
        ]
    }
}
