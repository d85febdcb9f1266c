//! The integration tests: one binary, one file per behaviour, every story through a door, on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot go on stops there; tests start servers of their own")]

mod support;

mod catalogue;
mod changes;
mod commands;
mod cut_writes;
mod demo;
mod hostile_odoo;
mod hostile_tls;
mod mcp_bad_input;
mod mcp_eras;
mod odoo_real;
mod padron;
mod permits;
mod schema;
mod tidy;
mod tokens;
mod tools_real;
mod tools_sandbox;
mod unhappy_odoo;
mod usage;
mod writes;
