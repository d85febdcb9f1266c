//! Rules that hold for every tool: one that breaks a client breaks them all.

use dunet::text::Language;
use dunet::tools::tool::{Effect, Pack, ToolFacts};
use dunet::tools::{TOOLS, TOOLS_BY_DEFAULT, error::Code, find};
use serde_json::Value;

/// Bytes that the voice pack's list may take, twelve tools of them; scaled to the tools there are.
const VOICE_LIST_BYTES_MAX: usize = 8_400;
const VOICE_TOOLS_PLANNED: usize = 12;

fn facts() -> impl Iterator<Item = &'static ToolFacts> {
    TOOLS.iter().map(|tool| tool.facts())
}

fn walk(value: &Value, path: &str, look: &mut impl FnMut(&str, &serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            look(path, map);
            for (key, inner) in map {
                walk(inner, &format!("{path}/{key}"), look);
            }
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(index, inner)| walk(inner, &format!("{path}/{index}"), look)),
        _ => {}
    }
}

#[test]
fn names_and_descriptions_keep_their_form() {
    let mut names: Vec<&str> = facts().map(|facts| facts.name).collect();
    let count = names.len();
    for facts in facts() {
        let name = facts.name;
        assert!(name.len() <= 40 && name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
        assert!((20..=300).contains(&facts.about.chars().count()), "{name}: the description has {} characters", facts.about.chars().count());
        assert!((3..=60).contains(&facts.title.chars().count()), "{name}");
        assert!(!facts.packs.is_empty(), "{name} is in no pack");
        // A tool that asks Odoo says which rights it needs, so that the doctor can look.
        assert_eq!(facts.asks_odoo, !facts.needs.is_empty(), "{name}: NEEDS");
        assert!(find(name).is_some());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name stands twice");
    for name in TOOLS_BY_DEFAULT {
        assert!(find(name).is_some(), "{name}");
    }
}

#[test]
fn schemas_suit_every_client() {
    for facts in facts() {
        for (which, schema) in [("input", &facts.input_schema), ("output", &facts.output_schema)] {
            assert_eq!(schema["type"], "object", "{} {which}", facts.name);
            assert!(jsonschema::draft202012::meta::is_valid(schema), "{} {which}", facts.name);
            walk(schema, "", &mut |path, map| {
                // A property may have any name: only keywords are looked at.
                if path.ends_with("/properties") {
                    return;
                }
                for banned in ["$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "if", "$schema", "x-mcp-header"] {
                    assert!(!map.contains_key(banned), "{} {which}{path}: {banned}", facts.name);
                }
                if let Some(kind) = map.get("type") {
                    assert!(kind.is_string(), "{} {which}{path}: a list of types", facts.name);
                }
            });
        }
        let properties = facts.input_schema["properties"].as_object().expect("properties");
        walk(&facts.input_schema, "", &mut |path, map| {
            let is_property = path.rsplit('/').nth(1) == Some("properties");
            if is_property {
                assert!(map.get("description").is_some_and(|text| text.as_str().is_some_and(|text| text.len() > 5)), "{}{path} is not described", facts.name);
            }
        });
        let writes = facts.effect == Effect::Writes;
        assert_eq!(properties.contains_key("codigo_confirmacion") && properties.contains_key("clave"), writes, "{}", facts.name);
    }
}

#[test]
fn the_voice_pack_stays_small() {
    let voice: Vec<&ToolFacts> = facts().filter(|facts| facts.packs.contains(&Pack::Voice)).collect();
    let bytes: usize = voice.iter().map(|facts| facts.name.len() + facts.title.len() + facts.about.len() + facts.input_schema.to_string().len()).sum();
    let allowed = VOICE_LIST_BYTES_MAX * voice.len() / VOICE_TOOLS_PLANNED;
    assert!(bytes <= allowed.max(VOICE_LIST_BYTES_MAX * 3 / 4), "{} tools take {bytes} bytes", voice.len());
}

#[test]
fn every_error_has_its_sentences_in_both_languages() {
    for code in Code::ALL {
        for part in ["mensaje", "que_hacer"] {
            let key = format!("errores.{}.{part}", code.as_str());
            let (es, en) = (dunet::text::text(Language::Es, &key), dunet::text::text(Language::En, &key));
            assert!(es.len() > 8 && es != key, "es {key}");
            assert!(en.len() > 8 && en != key && en != es, "en {key}");
        }
    }
}

#[test]
fn locales_have_the_same_keys_and_facts() {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("{}/locales/{name}.yml", env!("CARGO_MANIFEST_DIR"))).expect("a locale");
        let mut path: Vec<(usize, String)> = Vec::new();
        let mut keys: Vec<(String, Vec<String>)> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#') && !line.starts_with('_')) {
            let depth = line.len() - line.trim_start().len();
            let Some((key, value)) = line.trim().split_once(':') else { continue };
            path.retain(|(known, _)| *known < depth);
            path.push((depth, key.trim_matches('"').to_owned()));
            if !value.trim().is_empty() {
                let full: Vec<&str> = path.iter().map(|(_, key)| key.as_str()).collect();
                let mut facts: Vec<String> = value.split("%{").skip(1).filter_map(|rest| rest.split_once('}').map(|(fact, _)| fact.to_owned())).collect();
                facts.sort();
                facts.dedup();
                keys.push((full.join("."), facts));
            }
        }
        keys.sort();
        keys
    };
    let (es, en) = (read("es"), read("en"));
    assert!(es.len() > 60, "{} keys", es.len());
    assert_eq!(es, en);
    // The portal's sentences: a pair of files for each page.
    let folder = std::fs::read_dir(format!("{}/locales/portal", env!("CARGO_MANIFEST_DIR"))).expect("a folder");
    let names: Vec<String> = folder.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
    for name in &names {
        let page = name.split('.').next().expect("a name");
        assert_eq!(read(&format!("portal/{page}.es")), read(&format!("portal/{page}.en")), "{page}");
    }
    assert!(names.len() > 10, "{names:?}");
}
