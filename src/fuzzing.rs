//! What strangers send us, and what must hold whatever they send: one function per fuzz target.
//!
//! Not part of the program: compiled for the unit tests, which run every target over its seeds (`fuzz/seeds/`), and with the feature
//! `fuzzing` for the targets in `fuzz/`. The properties stand beside the code they are about, in that module's own `fuzzing.rs`; here is
//! the list, and what has to be set up once. A property that does not hold panics.

use std::sync::LazyLock;

use crate::clock::Clock;
use crate::dgii;
use crate::domain::approvals::Approvals;
use crate::domain::audit::Actor;
use crate::domain::limits::{LimitSettings, Limits};
use crate::domain::nodes::Nodes;
use crate::domain::operations::Operations;
use crate::domain::tenants::{NewTenant, Tenants};
use crate::domain::tokens::{self, Caller, NewToken, TokenMemory, Tokens};
use crate::domain::vault::Vault;
use crate::tools::confirm::{self, Writes};
use crate::{db, mcp, odoo};

macro_rules! targets {
    ($($(#[$doc:meta])* $name:ident: $run:expr;)+) => {
        $($(#[$doc])* pub fn $name(data: &[u8]) { $run(data); })+

        /// All targets by name.
        pub const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name),)+];
    };
}

targets! {
    /// An answer of Odoo over JSON-2: the body.
    json2_answer: odoo::fuzzing::json2_answer;
    /// An answer of Odoo over JSON-RPC: the body.
    jsonrpc_answer: odoo::fuzzing::jsonrpc_answer;
    /// An answer of Odoo over XML-RPC: the body.
    xmlrpc_answer: odoo::fuzzing::xmlrpc_answer;
    /// An Odoo domain, as JSON.
    odoo_domain: odoo::fuzzing::domain;
    /// A request to the MCP door: `MCP-Protocol-Version`, `Accept` (empty: not sent), then the body, each behind a line feed.
    mcp_body: mcp::fuzzing::body;
    /// An API token, and an `Authorization` header.
    token: |data| {
        tokens::fuzzing::token(data);
        mcp::fuzzing::authorization(data);
    };
    /// A confirmation code, edits of a genuine one, and the arguments of a write.
    confirmation_code: |data| confirm::fuzzing::code(&ROOM, data);
    /// Lines of `DGII_RNC.TXT`.
    padron_txt: dgii::fuzzing::padron_txt;
    /// Lines of the CSV listing.
    padron_csv: dgii::fuzzing::padron_csv;
    /// An RNC or cédula as people write it.
    taxpayer_number: dgii::fuzzing::taxpayer_number;
    /// An NCF or e-NCF as people write it.
    receipt_number: dgii::fuzzing::receipt_number;
    /// A question for names.
    name_search: dgii::fuzzing::name_search;
}

/// Two callers of two tenants, and what makes codes for them; made once, on a database in memory.
static ROOM: LazyLock<confirm::fuzzing::Room> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(room()).expect("a database in memory")
});

async fn room() -> anyhow::Result<confirm::fuzzing::Room> {
    let clock = Clock::fixed("2026-11-22T15:00:00Z".parse()?);
    let vault = Vault::from_keys(&[7; 32], Some(&[8; 32]));
    let db = db::connect(&"sqlite::memory:".to_owned().into(), 1).await?;
    db::migrate(&db).await?;
    let tenants = Tenants::new(db.clone(), vault.clone(), clock.clone());
    let tokens = Tokens::new(db.clone(), tenants.clone(), clock.clone(), TokenMemory { fresh_s: 60, stale_s: 60, tokens_max: 10 });
    let nodes = Nodes::new(db.clone(), String::new());
    let limits = Limits::new(db.clone(), clock.clone(), LimitSettings { calls_per_minute: 60, burst_calls: 60, writes_per_hour: 60, repeats_per_minute: 0 }, nodes, None);
    let callers = [caller(&tenants, &tokens, "uno").await?, caller(&tenants, &tokens, "dos").await?];
    let operations = Operations::new(db.clone(), clock.clone());
    let approvals = Approvals::new(db, clock.clone(), vault.clone(), tenants, operations.clone());
    let writes = Writes::new(&vault, operations, approvals, limits, tokio_util::task::TaskTracker::new());
    Ok(confirm::fuzzing::Room::new(writes, callers, clock.now()))
}

async fn caller(tenants: &Tenants, tokens: &Tokens, name: &str) -> anyhow::Result<Caller> {
    let tenant = tenants.tenant_add(NewTenant { name: name.to_owned(), rnc: None, plan: "pro".to_owned(), odoo: None, tools: Vec::new() }, &Actor::service()).await?;
    let new = NewToken { name: name.to_owned(), packs: None, language: None, expires_at: None };
    let issued = tokens.token_issue(tenant, new, &Actor::service()).await?;
    Ok(tokens.verify(secrecy::ExposeSecret::expose_secret(&issued.token)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
    }

    fn names_in(folder: &PathBuf) -> BTreeSet<String> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
    }

    /// Whatever once broke a target is a seed; so are the answers and inputs that the other tests know.
    #[test]
    fn every_seed_of_every_target_keeps_its_properties() {
        let mut broken = Vec::new();
        for (name, run) in TARGETS {
            let mut seeds: Vec<PathBuf> = std::fs::read_dir(folder("seeds").join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
            seeds.sort();
            assert!(seeds.len() >= 5, "{name} has only {} seeds", seeds.len());
            run(b"");
            for seed in seeds {
                let data = std::fs::read(&seed).unwrap();
                if std::panic::catch_unwind(|| run(&data)).is_err() {
                    broken.push(format!("{name}/{}", seed.file_name().unwrap().display()));
                }
            }
        }
        assert!(broken.is_empty(), "properties do not hold for {broken:?}");
    }

    #[test]
    fn the_list_the_programs_and_the_seeds_have_the_same_names() {
        let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names, names_in(&folder("seeds")));
        assert_eq!(names, names_in(&folder("fuzz_targets")));
        let manifest = std::fs::read_to_string(folder("Cargo.toml")).unwrap();
        let programs: BTreeSet<String> = manifest.split("[[bin]]\nname = \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
        assert_eq!(names, programs);
    }

    /// A property that cannot fail proves nothing.
    #[test]
    fn a_broken_property_is_a_panic() {
        let spoilt = std::panic::AssertUnwindSafe(ROOM.spoilt());
        assert!(std::panic::catch_unwind(move || confirm::fuzzing::code(&spoilt, b"")).is_err(), "a code that nobody made is good");
    }
}
