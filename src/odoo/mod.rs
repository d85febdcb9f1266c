//! A client library for Odoo's external API: one [`OdooClient`] over JSON-2, JSON-RPC and XML-RPC, Odoo 14 to 20.
//!
//! It has never heard of tenants, tools or this program: only of one server, one database and one user.
//! It keeps nothing between calls but connections and the login, and decides nothing about *when* a call is
//! made: concurrency, pace and circuit breaking are those of the [`RequestGate`] that its caller may put before it.
//! Identical reads that are under way at the same time are one request (`flights.rs`).
//!
//! Where things are: `address.rs` which servers may be reached · `http.rs` one POST, its time and size ·
//! `wire/` the formats · `classify.rs` from answers to error kinds · `connect.rs` detection and login ·
//! `client.rs` one call · `records.rs` reading and writing records · `domain.rs`, `fields.rs` what to ask for · `version.rs` what differs between versions ·
//! `probe.rs` the doctor's steps · `outside.rs` the guard lent to others who fetch what strangers name ·
//! `asking.rs` the same for one question to an address · `keys.rs` API keys of the user who is signed in.

pub mod address;
pub mod asking;
mod classify;
mod clean;
mod client;
mod config;
mod connect;
pub mod domain;
mod domain_parse;
mod error;
mod fields;
mod flights;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod gate;
mod http;
mod http_error;
pub mod keys;
mod meter;
pub mod outside;
pub mod probe;
mod records;
mod related;
mod version;
pub mod wire;

#[cfg(test)]
mod capture_tests;
#[cfg(test)]
mod network_tests;

pub use client::OdooClient;
pub use config::{AddressPolicy, OdooConfig, OdooLimits, Protocol, ProtocolChoice, UnknownProtocol};
pub use domain::{Domain, DomainError, Operator, Term};
pub use error::{CAUSE_CHARS_MAX, MESSAGE_CHARS_MAX, OdooError, OdooErrorKind};
pub use fields::{Fields, Page, Rows};
pub use gate::{Health, Pass, RequestGate, Urgency};
pub use meter::{CallMeter, OdooTraffic};
pub use probe::{Found, ProbeStep, probe};
pub use version::{MAJOR_MIN, OdooVersion};
