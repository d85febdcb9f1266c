//! One file per table: its shape, nothing else. `tests/it/schema.rs` proves that migrations and entities agree on both databases.

pub mod api_tokens;
pub mod client_tools;
pub mod clients;
pub mod configs;
pub mod logs;
pub mod memberships;
pub mod oauth_clients;
pub mod oauth_codes;
pub mod oauth_grants;
pub mod oauth_requests;
pub mod oauth_tokens;
pub mod operations;
pub mod operator_keys;
pub mod padron_imports;
pub mod plans;
pub mod sessions;
pub mod statements;
pub mod tool_usage;
pub mod usage_days;
pub mod usage_hours;
pub mod usage_months;
pub mod user_links;
pub mod users;
