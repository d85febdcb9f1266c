//! The hall: the rules. Knows nothing of HTTP, HTML or MCP (no axum, no rmcp, no minijinja).

pub mod alerts;
pub mod approvals;
pub mod audit;
pub mod backup;
pub mod changes;
pub mod connections;
pub mod epochs;
mod hours;
pub mod lanes;
pub mod limits;
pub mod mail;
pub mod oauth;
pub mod odoo_keys;
pub mod operations;
pub mod operator_keys;
pub mod padron_history;
pub mod padron_imports;
pub mod plans;
pub mod reports;
pub mod settings;
pub mod statements;
pub mod tenant;
pub mod tenants;
pub mod tokens;
pub mod usage;
pub mod users;
pub mod vault;
