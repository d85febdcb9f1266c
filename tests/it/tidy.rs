//! The house, kept by a machine: who may import whom, who may speak to which library, and that ARCHITECTURE.md names what exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What each module may use of ours. `commands`, `boot`, `fuzzing`, `lib`, `main` may use everything.
const MAY_USE: [(&str, &[&str]); 16] = [
    ("admin", &["http", "metrics", "state", "tools", "domain", "text", "ids", "clock"]),
    ("mcp", &["http", "metrics", "state", "tools", "domain", "text", "ids", "clock"]),
    ("oauth", &["http", "state", "domain"]),
    ("http", &["config", "metrics", "state", "telemetry", "ids", "clock"]),
    ("tools", &["domain", "odoo", "dgii", "text", "ids", "clock"]),
    ("domain", &["db", "odoo", "dgii", "text", "ids", "clock"]),
    ("demo", &["odoo", "dgii", "clock"]),
    ("odoo", &[]),
    ("dgii", &[]),
    ("db", &["ids"]),
    ("state", &["config", "db", "dgii", "odoo", "domain", "metrics", "tools", "clock", "ids"]),
    ("config", &[]),
    ("telemetry", &[]),
    ("metrics", &[]),
    ("text", &[]),
    ("clock", &[]),
];
/// Modules that may use everything, each with the reason.
const FREE: [&str; 6] = ["commands", "boot", "fuzzing", "lib", "main", "ids"];
/// Libraries that only some places may name.
const LIBRARIES: [(&str, &[&str]); 8] = [
    ("rmcp", &["src/mcp/server.rs", "src/mcp/conformance.rs"]),
    ("axum", &["src/lib.rs", "src/boot.rs", "src/http", "src/mcp", "src/oauth", "src/admin", "src/demo", "src/commands/demo.rs"]),
    ("sea_orm", &["src/db", "src/domain", "src/state.rs", "src/commands/padron.rs"]),
    ("minijinja", &["src/admin"]),
    ("argon2", &["src/domain/users"]),
    ("rusqlite", &["src/dgii"]),
    ("quick_xml", &["src/odoo"]),
    ("metrics_exporter_prometheus", &["src/metrics.rs"]),
];
/// A file longer than this, tests at its foot not counted, is two ideas.
const LINES_MAX: usize = 450;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            into.push(path);
        }
    }
}

fn files() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    sources(&root().join("src"), &mut paths);
    paths.sort();
    paths.into_iter().map(|path| (path.strip_prefix(root()).expect("inside").display().to_string(), std::fs::read_to_string(&path).expect("a text"))).collect()
}

/// The text without comments and without the tests at its foot.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn module_of(file: &str) -> String {
    let inside = file.trim_start_matches("src/");
    inside.split(['/', '.']).next().unwrap_or_default().to_owned()
}

/// The modules of ours that a text names after `crate::`, also inside braces.
fn named(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => word.clear(),
                    _ if depth == 0 && (c.is_alphanumeric() || c == '_') => word.push(c),
                    ':' if depth == 0 && !word.is_empty() => {
                        found.insert(std::mem::take(&mut word));
                    }
                    _ => {}
                }
            }
        } else {
            found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}

#[test]
fn one_walks_inward() {
    let modules: BTreeSet<String> = files().iter().map(|(file, _)| module_of(file)).collect();
    for module in &modules {
        let listed = FREE.contains(&module.as_str()) || MAY_USE.iter().any(|(name, _)| name == module);
        assert!(listed, "{module} is not in the import table of tests/it/tidy.rs and ARCHITECTURE.md");
    }
    for (file, text) in files() {
        let module = module_of(&file);
        if FREE.contains(&module.as_str()) || file.ends_with("_tests.rs") {
            continue;
        }
        let (_, allowed) = MAY_USE.iter().find(|(name, _)| *name == module).expect("listed");
        for used in named(&code(&text)) {
            let ours = modules.contains(&used);
            assert!(!ours || used == module || allowed.contains(&used.as_str()), "{file} uses crate::{used}, and {module} may use only {allowed:?}");
        }
    }
}

#[test]
fn libraries_stay_in_their_rooms() {
    for (file, text) in files() {
        let text = code(&text);
        for (library, places) in LIBRARIES {
            let names = text.contains(&format!("{library}::")) || text.contains(&format!("use {library};"));
            assert!(!names || places.iter().any(|place| file.starts_with(place)), "{file} speaks {library}, which only {places:?} may");
        }
    }
}

#[test]
fn files_are_short() {
    for (file, text) in files() {
        let lines = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().lines().count();
        assert!(lines <= LINES_MAX || file.ends_with("_tests.rs"), "{file} has {lines} lines: it is two ideas");
    }
}

#[test]
fn nothing_is_silenced_without_a_reason() {
    for (file, text) in files() {
        assert!(!text.contains("#[allow("), "{file}: mend the cause, or #[expect(…, reason = \"…\")]");
        assert!(!text.contains("todo!(") && !text.contains("unimplemented!("), "{file}");
    }
}

#[test]
fn the_map_names_what_exists() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the map");
    let mut seen = 0;
    for word in map.split('`').skip(1).step_by(2) {
        let is_path = !word.contains([' ', '<', '*', '{', '(', ':']) && (word.contains('/') || word.ends_with(".rs") || word.ends_with(".md") || word.ends_with(".toml"));
        if !is_path || word.starts_with('/') {
            continue;
        }
        let in_root = root().join(word);
        let in_src = root().join("src").join(word);
        assert!(in_root.exists() || in_src.exists(), "ARCHITECTURE.md names {word}, which does not exist");
        seen += 1;
    }
    assert!(seen >= 20, "only {seen} paths in ARCHITECTURE.md");
    for module in files().iter().map(|(file, _)| module_of(file)).collect::<BTreeSet<_>>() {
        assert!(map.contains(&format!("`{module}")) || map.contains(&format!("src/{module}")), "ARCHITECTURE.md does not mention {module}");
    }
}

#[test]
fn every_setting_is_documented_once() {
    let example = std::fs::read_to_string(root().join(".env.example")).expect(".env.example");
    let config = std::fs::read_to_string(root().join("src/config.rs")).expect("config");
    let mut settings: BTreeSet<&str> = BTreeSet::new();
    for rest in config.split("env = \"").skip(1) {
        settings.insert(rest.split('"').next().expect("a name"));
    }
    assert!(settings.len() > 20);
    for name in &settings {
        let count = example.lines().filter(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{name}="))).count();
        assert_eq!(count, 1, "{name} stands {count} times in .env.example");
    }
    for line in example.lines().filter(|line| line.trim_start_matches(['#', ' ']).contains('=')) {
        let name = line.trim_start_matches(['#', ' ']).split('=').next().unwrap_or_default();
        if name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
            assert!(settings.contains(name), ".env.example documents {name}, which no longer exists");
        }
    }
}
