//! The integration tests: one binary, one file per behaviour, every story through a door, on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot go on stops there; tests start servers of their own")]

mod support;

mod attacks;
mod attacks_door;
mod attacks_limits;
mod attacks_log;
mod attacks_odoo;
mod attacks_tenants;
mod catalogue;
mod changes;
mod commands;
mod cut_writes;
mod demo;
mod dependencies;
mod hostile_odoo;
mod hostile_tls;
mod isolation;
mod journal;
mod lanes;
mod limits;
mod mcp_bad_input;
mod mcp_direct;
mod mcp_eras;
mod mcp_offers;
mod observability;
mod odoo_real;
mod padron;
mod permits;
mod portal_api;
mod portal_clients;
mod portal_door;
mod portal_logs;
mod portal_metrics;
mod portal_onboarding;
mod portal_operator;
mod portal_padron;
mod portal_panel;
mod portal_reset;
mod portal_second_factor;
mod portal_signin;
mod portal_signup;
mod portal_tokens;
mod portal_tools;
mod reports;
mod schema;
mod settings;
mod statements;
mod tidy;
mod tokens;
mod tools_real;
mod tools_sandbox;
mod unhappy_odoo;
mod usage;
mod writes;
