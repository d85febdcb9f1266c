//! What may be a dependency, asked of `Cargo.lock` without a network: sources, bans, versions below which there is a known hole, licences.
//! `deny.toml` asks the first and the last of cargo-deny too; `docs/dependencies.md` says what the advisories said, and when.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// (crate, the first version without the hole, advisory). A crate that is not in the lock file is fine.
const AT_LEAST: [(&str, [u64; 3], &str); 5] = [
    ("quick-xml", [0, 41, 0], "RUSTSEC-2026-0194, -0195: quadratic attributes, unbounded namespaces"),
    ("rmcp", [1, 4, 0], "RUSTSEC-2026-0189: DNS rebinding"),
    ("h2", [0, 4, 16], "RUSTSEC-2026-0258"),
    ("time", [0, 3, 47], "RUSTSEC-2026-0009"),
    ("rustls-webpki", [0, 103, 13], "RUSTSEC-2026-0104"),
];
/// Exactly these, in `Cargo.toml` too: their minor versions break.
const PINNED: [(&str, &str); 2] = [("rmcp", "3.9.0"), ("rmcp-macros", "3.9.0")];
const LOCKS: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: bool,
}

/// The packages of a lock file. One line a key: no parser is needed.
fn locked(path: &str) -> Vec<Locked> {
    let text = text(path);
    let packages: Vec<Locked> = text
        .split("[[package]]\n")
        .skip(1)
        .map(|package| {
            let key = |name: &str| package.lines().find_map(|line| line.strip_prefix(&format!("{name} = \""))?.strip_suffix('"')).map(str::to_owned);
            Locked { name: key("name").unwrap(), version: key("version").unwrap(), source: key("source"), checksum: key("checksum").is_some() }
        })
        .collect();
    assert!(packages.len() > 300, "{path} has only {} packages", packages.len());
    packages
}

fn numbers(version: &str) -> [u64; 3] {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

/// The quoted words after `start` in `deny.toml`, up to the end of that list, without comments.
fn listed(start: &str) -> BTreeSet<String> {
    let rules = text("deny.toml");
    let list = rules.split(start).nth(1).unwrap().split("\n]").next().unwrap();
    let words: BTreeSet<String> = list.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect();
    assert!(!words.is_empty());
    words
}

#[test]
fn no_crate_has_a_hole_that_we_know_of() {
    for lock in LOCKS {
        let packages = locked(lock);
        for (name, least, advisory) in AT_LEAST {
            for package in packages.iter().filter(|package| package.name == name) {
                assert!(numbers(&package.version) >= least, "{lock}: {name} {} has {advisory}", package.version);
            }
        }
        for (name, version) in PINNED {
            let found: Vec<&str> = packages.iter().filter(|package| package.name == name).map(|package| package.version.as_str()).collect();
            assert_eq!(found, [version], "{lock}: {name}");
        }
    }
    let manifest = text("Cargo.toml");
    assert!(manifest.contains("rmcp = { version = \"=3.9.0\"") && manifest.contains("rmcp-macros = \"=3.9.0\""), "pinned exactly");
    assert!(numbers("0.40.9") < [0, 41, 0] && numbers("0.103.13") >= [0, 103, 13] && numbers("1.10.0-rc.1") > [1, 9, 0]);
}

#[test]
fn every_crate_comes_whole_from_the_registry() {
    let ours = ["dunet", "dunet-fuzz", "migration"];
    for lock in LOCKS {
        for package in locked(lock) {
            match &package.source {
                Some(source) => assert!(source.starts_with("registry+") && package.checksum, "{lock}: {} comes from {source}", package.name),
                None => assert!(ours.contains(&package.name.as_str()), "{lock}: {} comes from a folder", package.name),
            }
        }
    }
}

#[test]
fn no_banned_crate_is_drawn_in() {
    let banned = listed("\ndeny = [");
    assert!(banned.contains("openssl") && banned.contains("native-tls"));
    for lock in LOCKS {
        for package in locked(lock) {
            assert!(!banned.contains(&package.name), "{lock}: {} is banned in deny.toml", package.name);
        }
    }
}

/// The fuzzing workspace builds what the program is built of: otherwise it would test something else.
#[test]
fn both_lock_files_agree() {
    let versions = |lock: &str| locked(lock).into_iter().map(|package| (package.name, package.version)).collect::<BTreeSet<_>>();
    let only_for_fuzzing: BTreeSet<String> = versions(LOCKS[1]).difference(&versions(LOCKS[0])).map(|(name, _)| name.clone()).collect();
    let known = ["arbitrary", "dunet-fuzz", "jobserver", "libfuzzer-sys"].map(str::to_owned);
    assert_eq!(only_for_fuzzing, BTreeSet::from(known), "run `cargo update --manifest-path fuzz/Cargo.toml -p CRATE --precise VERSION`, or copy Cargo.lock there anew");
}

#[test]
fn every_licence_is_one_we_may_use() {
    let allowed = listed("\nallow = [");
    // What is compiled for this platform only: crates of other systems may not even be downloaded.
    let host = Command::new(env!("CARGO")).arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap().lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned();
    let output = Command::new(env!("CARGO")).args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &host]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 300, "only {} packages", packages.len());
    for package in packages {
        let (name, licence) = (package["name"].as_str().unwrap(), package["license"].as_str().unwrap_or_default());
        let ours = package["source"].is_null() && licence == "LicenseRef-Proprietary";
        assert!(ours || enough(licence, &allowed), "{name} has the licence {licence:?}");
    }
    for (licence, fine) in
        [("GPL-3.0 OR MIT", true), ("MIT/Apache-2.0", true), ("(MIT OR GPL-2.0) AND ISC", true), ("MIT AND GPL-3.0", false), ("GPL-3.0 AND (MIT OR ISC)", false), ("", false)]
    {
        assert_eq!(enough(licence, &allowed), fine, "{licence}");
    }
}

/// Whether an SPDX expression can be met with these licences: every part between AND needs one alternative of its own.
fn enough(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // No expression in use nests deeper than alternatives in brackets, so AND is split first.
    expression.replace('/', " OR ").split(" AND ").all(|part| part.split(" OR ").any(|licence| allowed.contains(licence.trim().trim_matches(['(', ')']).trim())))
}
