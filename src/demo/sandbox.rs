//! A sandbox Odoo inside the process: enough of Odoo 19 for every tool shipped, with a made-up Dominican company in it.
//!
//! It speaks XML-RPC, JSON-RPC and JSON-2 over HTTP and answers with the shapes and the error texts that a real Odoo 19
//! was seen to give. It is what `dunet demo` connects its tenants to and what a client without API access tries first. It
//! is not Odoo, keeps nothing on disk, and never stands in for the real one in the tests of the client.
//!
//! The map, from the wire inwards: `http` (addresses) → `json2`, `rpc`, `portal` → `call` (one method call: rights, arguments,
//! undo) → `read`, `write`, `sale` (rules) → `compute`, `domain` → `store` (records) and `schema` (models). `sample` fills it.

mod call;
mod compute;
mod domain;
mod fault;
mod http;
mod json2;
mod portal;
mod read;
mod rpc;
mod sale;
mod sample;
mod schema;
mod store;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use crate::clock::Clock;
use call::Env;
use store::{Row, Store};

/// What the made-up company does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// A hardware and office shop: 25 customers, 40 products in stock.
    HardwareStore,
    /// A private clinic: patients and insurers, services without ITBIS.
    Clinic,
}

/// What a user of a sandbox may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxRights {
    /// What the sandbox's first user may.
    Seller,
    /// An internal user outside of the sales groups: orders are closed to it.
    NoSales,
}

/// A user: who one is with a key or a password.
#[derive(Debug, Clone)]
struct Account {
    uid: i64,
    login: String,
    api_key: SecretString,
    password: SecretString,
    rights: SandboxRights,
}

/// One Odoo server with one database, one company and one user, to which others can be added. All state is in memory.
#[derive(Debug)]
pub struct SandboxOdoo {
    store: Mutex<Store>,
    clock: Clock,
    database: String,
    first: Account,
    others: Mutex<Vec<Account>>,
}

impl SandboxOdoo {
    /// The first user's login.
    const LOGIN: &'static str = "agente@demo";

    /// A company called `company` with the records of `sample`. Every call makes a new API key and a new password; dates
    /// follow `clock`.
    #[must_use]
    pub fn new(sample: Sample, company: &str, clock: Clock) -> SandboxOdoo {
        let store = Mutex::new(sample::fill(sample, company, clock.now()));
        let first = Account::new(sample::USER, Self::LOGIN, SandboxRights::Seller);
        SandboxOdoo { store, clock, database: slug(company), first, others: Mutex::default() }
    }

    /// Adds an internal user of that login: its id and its API key.
    pub fn user_add(&self, login: &str, rights: SandboxRights) -> (i64, SecretString) {
        let uid = sample::user_add(&mut self.store.lock().unwrap_or_else(PoisonError::into_inner), login, self.clock.now());
        let account = Account::new(uid, login, rights);
        let key = account.api_key.clone();
        self.others.lock().unwrap_or_else(PoisonError::into_inner).push(account);
        (uid, key)
    }

    /// Takes a user's API key and password away, as its owner does who renews them: they open nothing any more.
    pub fn user_close(&self, uid: i64) {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).retain(|account| account.uid != uid);
    }

    /// A hardware and office shop, on the machine's clock.
    #[must_use]
    pub fn dominican_sample(company: &str) -> SandboxOdoo {
        SandboxOdoo::new(Sample::HardwareStore, company, Clock::system())
    }

    /// A clinic, on the machine's clock.
    #[must_use]
    pub fn dominican_sample_clinic(company: &str) -> SandboxOdoo {
        SandboxOdoo::new(Sample::Clinic, company, Clock::system())
    }

    /// The HTTP service. Serve it on a port of its own: paths are absolute, as in Odoo.
    pub fn router(self: Arc<Self>) -> axum::Router {
        http::router(self)
    }

    /// The user's login.
    #[must_use]
    pub fn login(&self) -> &str {
        Self::LOGIN
    }

    /// The user's API key: a bearer for JSON-2, a password for the RPC wires.
    #[must_use]
    pub fn api_key(&self) -> &str {
        self.first.api_key.expose_secret()
    }

    /// The user's password; only the RPC wires take it.
    #[must_use]
    pub fn password(&self) -> &str {
        self.first.password.expose_secret()
    }

    /// The name of the database, made from the company's.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The user's id.
    #[must_use]
    pub fn uid(&self) -> i64 {
        sample::USER
    }

    /// Whose API key that is.
    fn key_holder(&self, given: &str) -> Option<Account> {
        self.account(|account| given == account.api_key.expose_secret())
    }

    /// The user of whom that holds.
    fn account(&self, holds: impl Fn(&Account) -> bool) -> Option<Account> {
        if holds(&self.first) {
            return Some(self.first.clone());
        }
        self.others.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|account| holds(account)).cloned()
    }

    /// Works on the records under the lock, as that user. Never held across an `.await`: this is no async code.
    fn with_env<T>(&self, account: &Account, context: Row, work: impl FnOnce(&mut Env<'_>) -> T) -> T {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let mut env = Env { store: &mut store, context, uid: account.uid, rights: account.rights, now: self.clock.now() };
        work(&mut env)
    }

    fn with_store<T>(&self, work: impl FnOnce(&Store) -> T) -> T {
        work(&self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Account {
    /// With a new key and a new password.
    fn new(uid: i64, login: &str, rights: SandboxRights) -> Self {
        let random = || Uuid::new_v4().simple().to_string();
        // Odoo's own keys are 40 hexadecimal digits.
        let api_key = format!("{}{}", random(), &random()[..8]);
        Self { uid, login: login.to_owned(), api_key: api_key.into(), password: random().into(), rights }
    }

    /// Password or key: the RPC wires take both.
    fn is_secret(&self, given: &str) -> bool {
        given == self.password.expose_secret() || given == self.api_key.expose_secret()
    }
}

/// A name for a database: lower case, no accents, words joined by hyphens.
fn slug(name: &str) -> String {
    let plain: String = name.nfd().filter(char::is_ascii).collect::<String>().to_lowercase();
    let words: Vec<&str> = plain.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "demo".to_owned() } else { words.join("-") }
}

#[cfg(test)]
mod tests;
