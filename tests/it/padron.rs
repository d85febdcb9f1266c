//! The DGII listing end to end: both official files in, look-ups and names out, and every file that must be refused.
//!
//! The fixtures in `tests/fixtures/padron` were made by the project's Python generator of synthetic listings, which
//! also says in `manifest.json` what a correct importer must find. `DUNET_PADRON_FIXTURES` names a folder with more
//! of them (folders with `manifest.json` and the zips), for long runs.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail loudly, as the test itself does")]

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use chrono::{DateTime, NaiveDate, Utc};
use dunet::dgii::sample::{self, SampleOptions};
use dunet::dgii::{ImportError, ImportOptions, NameQuery, Padron, PadronError, PadronLimits, ProgressStage, SourceKind, Taxpayer, TaxpayerId};
use serde_json::Value;
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

// ------------------------------------------------------------------------------------------------ support

fn now() -> DateTime<Utc> {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// The true rules, but for small listings.
fn small() -> ImportOptions {
    ImportOptions { rows_min: 3, ..ImportOptions::at(now()) }
}

fn open(dir: &Path) -> Padron {
    Padron::open(dir, PadronLimits::default()).unwrap()
}

fn id(text: &str) -> TaxpayerId {
    TaxpayerId::parse(text).unwrap()
}

/// A folder with both zips of a sample in `files` and room for a listing in `padron`.
struct World {
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn listing(&self) -> PathBuf {
        self.dir.path().join("padron")
    }

    fn sample(&self, name: &str, options: &SampleOptions) -> sample::SampleFiles {
        sample::write_zips(&self.dir.path().join(name), options).unwrap()
    }

    /// A zip with these members.
    fn zip(&self, name: &str, members: &[(&str, &[u8])]) -> PathBuf {
        let path = self.dir.path().join(name);
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        for (member, content) in members {
            let stamp = zip::DateTime::from_date_and_time(2026, 11, 21, 1, 0, 0).unwrap();
            zip.start_file(*member, SimpleFileOptions::default().last_modified_time(stamp)).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap();
        path
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// What an import into the listing is refused with.
    fn refusal(&self, files: &[PathBuf]) -> ImportError {
        self.refusal_with(files, &small())
    }

    fn refusal_with(&self, files: &[PathBuf], options: &ImportOptions) -> ImportError {
        let padron = open(&self.listing());
        let before = padron.status();
        let error = padron.import(files, options, &|_| ()).unwrap_err();
        assert_eq!(padron.status(), before, "a refusal changes nothing");
        assert!(!leftovers(&self.listing()), "a refusal leaves nothing behind");
        assert!(!error.to_string().is_empty() && !error.code().is_empty());
        error
    }
}

fn leftovers(listing: &Path) -> bool {
    fs::read_dir(listing).unwrap().any(|f| f.unwrap().file_name().to_string_lossy().starts_with("building-"))
}

fn sample_of(rows: usize, seed: u64, cutoff: &str) -> SampleOptions {
    SampleOptions { rows, seed, cutoff: day(cutoff), defects: false }
}

fn txt_of(rows: &[&str]) -> Vec<u8> {
    rows.join("\r\n").chars().map(|c| c as u8).collect()
}

// ------------------------------------------------------------------------------------------------ the manifest

#[test]
fn the_import_reproduces_the_manifests() {
    for name in ["stress-1", "stress-7", "real-3"] {
        check_manifest(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/padron").join(name));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test alone, not a setting of the product")]
fn the_import_reproduces_the_manifests_of_a_given_folder() {
    let Ok(folder) = std::env::var("DUNET_PADRON_FIXTURES") else { return };
    let mut checked = 0;
    for item in fs::read_dir(folder).unwrap() {
        let dir = item.unwrap().path();
        if dir.join("manifest.json").exists() {
            check_manifest(&dir);
            checked += 1;
        }
    }
    assert!(checked > 0, "no manifest found");
}

/// TXT alone, CSV alone and both together, against the counts and look-ups of the manifest.
fn check_manifest(dir: &Path) {
    let manifest: Value = serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    let (txt_zip, csv_zip) = (dir.join("DGII_RNC.zip"), dir.join("RNC_CONTRIBUYENTES.zip"));
    let cutoff = day(manifest["cutoff"].as_str().unwrap());
    let world = World::new();
    let what = dir.display();
    // Among a few hundred rows, one of each defect is more than the share that the true file may have.
    let tolerant = ImportOptions { rejected_max_per_mille: 100, ..small() };

    let padron = open(&world.listing());
    let report = padron.import(std::slice::from_ref(&txt_zip), &tolerant, &|_| ()).unwrap();
    let (txt, want) = (&report.active.sources[0], &manifest["txt"]);
    assert_eq!(report.active.cutoff, cutoff, "{what}");
    assert_eq!(txt.content_sha256, want["sha256"].as_str().unwrap(), "{what}");
    assert_eq!(txt.content_bytes, want["bytes"], "{what}");
    assert_eq!(txt.member, want["zip_entry"].as_str().unwrap(), "{what}");
    assert_eq!(txt.physical_lines, want["physical_lines"], "{what}");
    assert_eq!(txt.accepted, want["records_accepted"], "{what}");
    assert_eq!(txt.rejected.total(), want["records_rejected"], "{what}");
    assert_eq!(txt.unique, want["unique_ids"], "{what}");
    assert_eq!(txt.duplicates, want["duplicates"], "{what}");
    assert_eq!(report.active.rows, want["unique_ids"], "{what}");
    let anomalies = |kinds: &[&str]| kinds.iter().map(|k| manifest["anomalies"][k]["count"].as_u64().unwrap_or(0)).sum::<u64>();
    let bad_ids = anomalies(&["short_id", "dashed_id", "letter_id", "blank_id"]);
    let refused = &txt.rejected;
    assert_eq!(
        [refused.too_few_fields, refused.bad_identifier, refused.blank_name, refused.too_long, refused.too_many_fields],
        [anomalies(&["truncated"]), bad_ids, anomalies(&["blank_name"]), anomalies(&["overlong"]), 0],
        "{what}"
    );
    let lookups = manifest["lookups"].as_object().unwrap();
    for (number, wanted) in lookups {
        let found = padron.lookup(&id(number)).unwrap();
        assert_eq!(found.cutoff, cutoff);
        assert_eq!(shown(&found.taxpayer.unwrap_or_else(|| panic!("{what}: {number} is missing"))), without_kind(wanted), "{what}");
    }
    for number in manifest["absent_ids"].as_array().unwrap() {
        assert_eq!(padron.lookup(&id(number.as_str().unwrap())).unwrap().taxpayer, None, "{what}");
    }

    let alone = open(&world.dir.path().join("csv"));
    let report = alone.import(std::slice::from_ref(&csv_zip), &tolerant, &|_| ()).unwrap();
    let csv = &report.active.sources[0];
    assert_eq!((csv.kind, csv.cutoff), (SourceKind::Csv, cutoff), "{what}");
    assert_eq!(csv.content_sha256, manifest["csv"]["sha256"].as_str().unwrap(), "{what}");
    assert_eq!(csv.accepted + csv.rejected.total(), manifest["csv"]["rows_without_header"].as_u64().unwrap(), "{what}");
    // A truncated or overlong row exists only in the TXT.
    assert_eq!(csv.rejected.total(), bad_ids + anomalies(&["blank_name"]), "{what}");
    for (number, wanted) in lookups.iter().filter(|(_, w)| !w["kind"].as_str().unwrap().starts_with("stray_pipe")) {
        let found = alone.lookup(&id(number)).unwrap().taxpayer.unwrap_or_else(|| panic!("{what}: {number} is missing in the CSV"));
        assert!(found.name.starts_with(wanted["name"].as_str().unwrap()), "{what}: {found:?} {wanted}");
        assert!(found.activity.as_deref().unwrap_or_default().starts_with(wanted["activity"].as_str().unwrap_or_default()), "{what}: {found:?}");
        assert_eq!(found.trade_name, None);
    }

    let both = open(&world.dir.path().join("both"));
    let report = both.import(&[csv_zip, txt_zip], &tolerant, &|_| ()).unwrap();
    assert_eq!(report.active.rows, want["unique_ids"], "{what}: the CSV brings no number that the TXT does not have");
    for (number, wanted) in lookups {
        let found = both.lookup(&id(number)).unwrap().taxpayer.unwrap();
        let (mut found, mut wanted) = (shown(&found), without_kind(wanted));
        // The CSV may only complete what the TXT cuts.
        for key in ["name", "activity"] {
            let (long, cut) = (found[key].take(), wanted[key].take());
            assert!(long.as_str().unwrap_or_default().starts_with(cut.as_str().unwrap_or_default()), "{what}: {long} {cut}");
        }
        assert_eq!(found, wanted, "{what}");
    }
}

fn shown(t: &Taxpayer) -> Value {
    serde_json::json!({
        "id": t.id.digits(), "name": t.name, "trade_name": t.trade_name, "activity": t.activity, "start_date": t.start_date,
        "status": t.status, "regime": t.regime, "check_digit_ok": t.id.check_digit_ok(),
    })
}

fn without_kind(wanted: &Value) -> Value {
    let mut wanted = wanted.clone();
    wanted.as_object_mut().unwrap().remove("kind");
    wanted
}

// ------------------------------------------------------------------------------------------------ the own sample

#[test]
fn the_sample_comes_out_as_it_went_in() {
    let world = World::new();
    let options = SampleOptions { defects: true, ..sample_of(3000, 5, "2026-11-21") };
    let files = world.sample("files", &options);
    let stages = RefCell::new(Vec::new());
    let padron = open(&world.listing());
    let report = padron
        .import(&[files.txt, files.csv], &small(), &|p| {
            assert!(p.done <= p.total, "{p:?}");
            if stages.borrow().last() != Some(&p.stage) {
                stages.borrow_mut().push(p.stage);
            }
        })
        .unwrap();
    let txt = &report.active.sources[0];
    assert_eq!((txt.physical_lines, txt.accepted, txt.rejected.total(), txt.duplicates), (files.lines, files.accepted, files.rejected, 1));
    assert_eq!((txt.rejected.bad_identifier, txt.rejected.too_few_fields, txt.rejected.first.len()), (1, 1, 2));
    assert_eq!(*stages.borrow(), [ProgressStage::Reading(SourceKind::Txt), ProgressStage::Reading(SourceKind::Csv), ProgressStage::Indexing, ProgressStage::Activating]);
    let rows = sample::rows(3000, 5);
    assert_eq!(report.active.rows, 3000);
    assert_eq!(report.active.active_rows, rows.iter().filter(|t| t.is_active()).count() as u64);
    for taxpayer in rows {
        let found = padron.lookup(&taxpayer.id).unwrap();
        assert_eq!((found.taxpayer.as_ref(), found.cutoff), (Some(&taxpayer), day("2026-11-21")));
    }
    assert_eq!(report.active.age_days(day("2026-11-28")), 7);
}

#[test]
fn a_wrong_check_digit_does_not_hide_a_taxpayer() {
    let world = World::new();
    let zip = world.zip(
        "a.zip",
        &[(
            "TMP/DGII_RNC.TXT",
            &txt_of(&["101000001|WRONG DIGIT SRL||COLMADOS| | | | ||INACTIVO|NORMAL", "131793916|INDEXA SRL||X| | | | ||ACTIVO|NORMAL", "140000001|C||X| | | | ||ACTIVO|NORMAL"]),
        )],
    );
    let padron = open(&world.listing());
    padron.import(&[zip], &small(), &|_| ()).unwrap();
    let found = padron.lookup(&id("101000001")).unwrap().taxpayer.unwrap();
    assert!(!found.id.check_digit_ok());
    assert!(!found.is_active(), "INACTIVO is not ACTIVO");
    assert_eq!(padron.lookup(&id("401506254")).unwrap().taxpayer, None);
}

#[test]
fn an_empty_folder_answers_that_nothing_is_loaded() {
    let world = World::new();
    let padron = open(&world.listing());
    assert!(matches!(padron.lookup(&id("131793916")), Err(PadronError::NotLoaded)));
    assert!(matches!(padron.search(&query("INDEXA")), Err(PadronError::NotLoaded)));
    assert!(matches!(padron.rollback(), Err(PadronError::NoPrevious)));
    assert_eq!((padron.status().active, padron.reload_if_changed().unwrap()), (None, false));
}

// ------------------------------------------------------------------------------------------------ names

fn query(text: &str) -> NameQuery {
    NameQuery { text: text.to_owned(), limit: 10, only_active: false }
}

/// A listing made of (name, trade name, status).
fn named(world: &World, rows: &[(&str, &str, &str)]) -> Padron {
    let lines: Vec<String> = (0..).zip(rows).map(|(i, (name, trade, status))| format!("{}|{name}|{trade}|X| | | | ||{status}|NORMAL", 140_000_000 + i)).collect();
    let zip = world.zip("names.zip", &[("TMP/DGII_RNC.TXT", &txt_of(&lines.iter().map(String::as_str).collect::<Vec<_>>()))]);
    let padron = open(&world.listing());
    padron.import(&[zip], &small(), &|_| ()).unwrap();
    padron
}

fn names(padron: &Padron, text: &str) -> Vec<String> {
    padron.search(&query(text)).unwrap().hits.into_iter().map(|t| t.name).collect()
}

#[test]
fn names_are_found_and_ranked() {
    let world = World::new();
    let padron = named(
        &world,
        &[
            ("COMERCIAL LA VEGA REAL INTERNACIONAL SRL", "", "ACTIVO"),
            ("COMERCIAL LA VEGA SRL", "", "SUSPENDIDO"),
            ("LA VEGA COMERCIAL, EIRL", "", "ACTIVO"),
            ("COMERCIALIZADORA LA VEGANA SRL", "", "ACTIVO"),
            ("INVERSIONES PEÑA & NUÑEZ S A", "EL RINCON", "ACTIVO"),
            ("GRUPO O'REILLY SRL", "", "ACTIVO"),
            ("ZZZ SRL", "COMERCIAL LA VEGA", "ACTIVO"),
        ],
    );
    // Exact first (active before suspended), then all words (shorter first), whatever the legal form.
    assert_eq!(names(&padron, "Comercial La Vega, S.R.L."), ["ZZZ SRL", "COMERCIAL LA VEGA SRL", "LA VEGA COMERCIAL, EIRL", "COMERCIAL LA VEGA REAL INTERNACIONAL SRL"]);
    // The last word as a beginning comes behind whole words.
    assert_eq!(names(&padron, "la vega").last().unwrap(), "COMERCIALIZADORA LA VEGANA SRL");
    assert_eq!(names(&padron, "pena nunez"), ["INVERSIONES PEÑA & NUÑEZ S A"]);
    assert_eq!(names(&padron, "PEÑA y NÚÑEZ sa"), ["INVERSIONES PEÑA & NUÑEZ S A"]);
    assert_eq!(names(&padron, "el rincón"), ["INVERSIONES PEÑA & NUÑEZ S A"]);
    assert_eq!(names(&padron, "oreilly"), ["GRUPO O'REILLY SRL"]);
    assert_eq!(names(&padron, "o'reilly"), ["GRUPO O'REILLY SRL"]);
    assert_eq!(names(&padron, "comercial de la vega real"), ["COMERCIAL LA VEGA REAL INTERNACIONAL SRL"]);
}

#[test]
fn one_typo_is_forgiven_when_nothing_else_fits() {
    let world = World::new();
    let padron = named(&world, &[("FERRETERIA AMERICANA SRL", "", "ACTIVO"), ("FARMACIA CAROL SRL", "", "ACTIVO"), ("CAROLINA PEREZ", "", "ACTIVO")]);
    for text in ["FERETERIA AMERICANA", "FERRETERIA AMERICNAA", "FERRETERRIA AMERICANA", "FERRETERIA AMERIKANA"] {
        let found = padron.search(&query(text)).unwrap();
        assert_eq!((found.hits.len(), found.hits[0].name.as_str(), found.approximate), (1, "FERRETERIA AMERICANA SRL", true), "{text}");
    }
    // Every word exists, but not together: one of them is taken for a typo.
    assert_eq!(names(&padron, "FARMACIA CARROL"), ["FARMACIA CAROL SRL"]);
    assert!(!padron.search(&query("CAROL")).unwrap().approximate);
    let two_typos = padron.search(&query("FERETERIA AMERIKANA")).unwrap();
    assert_eq!((two_typos.hits.len(), two_typos.total, two_typos.approximate), (0, 0, false));
}

#[test]
fn totals_limits_and_odd_queries() {
    let world = World::new();
    let rows: Vec<(String, &str)> = (0..1500).map(|i| (format!("COLMADO {i} SRL"), if i % 3 == 0 { "ACTIVO" } else { "SUSPENDIDO" })).collect();
    let padron = named(&world, &rows.iter().map(|(name, status)| (name.as_str(), "", *status)).collect::<Vec<_>>());
    let found = padron.search(&query("colmado")).unwrap();
    assert_eq!((found.hits.len(), found.total, found.total_is_capped), (10, 1000, true));
    assert!(found.hits.iter().all(Taxpayer::is_active));
    let active = padron.search(&NameQuery { only_active: true, ..query("colmado") }).unwrap();
    assert_eq!((active.total, active.total_is_capped), (500, false));
    assert_eq!(padron.search(&NameQuery { limit: 1000, ..query("colmado") }).unwrap().hits.len(), 10);
    assert_eq!(padron.search(&NameQuery { limit: 0, ..query("colmado") }).unwrap().hits.len(), 1);
    let suspended = padron.search(&NameQuery { only_active: true, ..query("colmado 1") }).unwrap();
    assert!(!suspended.hits.iter().any(|t| t.name == "COLMADO 1 SRL"));
    assert_eq!(names(&padron, "colmado 1")[0], "COLMADO 1 SRL");
    for text in ["", " ", "&", "a", "a b", "¿?"] {
        assert!(matches!(padron.search(&query(text)), Err(PadronError::QueryTooShort)), "{text:?}");
    }
    for text in ["x".repeat(201), "ab ".repeat(17)] {
        assert!(matches!(padron.search(&query(&text)), Err(PadronError::QueryTooLong { .. })), "{text:?}");
    }
    // What means something to the engine means nothing here.
    for text in ["colmado OR srl", "\"colmado", "colmado* NOT", "colmado) (", "name:colmado", "NEAR(colmado 1)", "co^lmado", "{colmado}"] {
        padron.search(&query(text)).unwrap();
    }
    assert!(!padron.search(&query("SRL")).unwrap().hits.is_empty(), "a query that is only a legal form is searched as it stands");
}

// ------------------------------------------------------------------------------------------------ refusals

#[test]
fn files_that_are_no_listing_are_refused() {
    let world = World::new();
    let good = txt_of(&["131793916|INDEXA SRL||X| | | | ||ACTIVO|NORMAL", "140000001|B||X| | | | ||ACTIVO|NORMAL", "140000002|C||X| | | | ||ACTIVO|NORMAL"]);
    let txt = "TMP/DGII_RNC.TXT";
    let csv = "RNC_Contribuyentes_Actualizado_21_Nov_2026.csv";
    let html = b"\r\n<!DOCTYPE html><html><head><title>Acceso Denegado</title></head></html>";
    let code = |files: &[PathBuf]| world.refusal(files).code();

    assert_eq!(code(&[]), "no_files");
    assert_eq!(code(&[world.dir.path().join("nowhere.zip")]), "io");
    assert_eq!(code(&[world.file("page.zip", html)]), "html_instead_of_zip");
    assert_eq!(code(&[world.file("plain.zip", &good)]), "not_a_zip");
    assert_eq!(code(&[world.file("empty.zip", b"")]), "not_a_zip");
    assert_eq!(code(&[world.zip("two.zip", &[(txt, &good), ("TMP/OTHER.TXT", &good)])]), "member_count");
    for name in ["../DGII_RNC.TXT", "TMP/../../DGII_RNC.TXT", "LISTADO.TXT", "TMP/DGII_RNC.TXT.exe", "/DGII_RNC.TXT"] {
        assert_eq!(code(&[world.zip("name.zip", &[(name, &good)])]), "member_name", "{name}");
    }
    assert_eq!(code(&[world.zip("a.zip", &[(txt, &good)]), world.zip("b.zip", &[(txt, &good)])]), "same_kind_twice");
    assert_eq!(code(&[world.zip("nodate.zip", &[("RNC_Contribuyentes_Actualizado_x.csv", &good)])]), "no_cutoff");
    assert_eq!(code(&[world.zip("future.zip", &[("RNC_Contribuyentes_Actualizado_21_Nov_2027.csv", &good)])]), "future_cutoff");
    // The CSV's name on the TXT's content, tabs for pipes, a page of text, an old layout.
    assert_eq!(code(&[world.zip("layout1.zip", &[(csv, &good)])]), "foreign_layout");
    assert_eq!(code(&[world.zip("layout2.zip", &[(txt, &good.iter().map(|b| if *b == b'|' { b'\t' } else { *b }).collect::<Vec<_>>())])]), "foreign_layout");
    assert_eq!(code(&[world.zip("layout3.zip", &[(txt, html)])]), "foreign_layout");
    let four_fields: String = sample::rows(3000, 1).iter().map(|t| format!("{}|{}|ACTIVO|NORMAL\r\n", t.id, t.name.replace('Ñ', "N"))).collect();
    assert_eq!(code(&[world.zip("layout4.zip", &[(txt, four_fields.as_bytes())])]), "foreign_layout");
    assert_eq!(code(&[world.zip("void.zip", &[(txt, b"")])]), "too_few_rows");
    let real_rules = world.refusal_with(&[world.zip("few.zip", &[(txt, &good)])], &ImportOptions::at(now()));
    assert!(matches!(real_rules, ImportError::TooFewRows { found: 3, rows_min: 500_000 }), "{real_rules}");
    let mut spoilt = good.clone();
    spoilt.extend_from_slice(b"\r\n14000|X||X| | | | ||ACTIVO|NORMAL");
    assert_eq!(code(&[world.zip("spoilt.zip", &[(txt, &spoilt)])]), "too_many_rejected");
}

#[test]
fn truncated_and_damaged_zips_are_refused() {
    let world = World::new();
    let files = world.sample("files", &sample_of(2000, 1, "2026-11-21"));
    let whole = fs::read(&files.txt).unwrap();
    for keep in [10, whole.len() / 2, whole.len() - 30, whole.len() - 1] {
        assert_eq!(world.refusal(&[world.file("cut.zip", &whole[..keep])]).code(), "damaged_zip", "{keep} of {}", whole.len());
    }
    // A flipped bit in the middle of the data: the stream or its checksum notices.
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    let error = world.refusal(&[world.file("flipped.zip", &flipped)]);
    assert!(matches!(error, ImportError::Damaged { .. }), "{error}");
}

#[test]
fn bombs_are_refused_before_and_while_unpacking() {
    let world = World::new();
    // Declared honestly: 20 MB of blanks in a few kilobytes.
    let bomb = world.zip("bomb.zip", &[("TMP/DGII_RNC.TXT", &vec![b' '; 20_000_000])]);
    assert_eq!(world.refusal(std::slice::from_ref(&bomb)).code(), "too_large");
    // Declared small: the sizes in both headers are forged.
    let mut bytes = fs::read(&bomb).unwrap();
    let size = 20_000_000_u32.to_le_bytes();
    let places: Vec<usize> = (0..bytes.len() - 4).filter(|at| bytes[*at..*at + 4] == size).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + 4].copy_from_slice(&5000_u32.to_le_bytes());
    }
    let error = world.refusal(&[world.file("forged.zip", &bytes)]);
    assert!(matches!(error.code(), "too_large" | "damaged_zip"), "{error}");
    // Within the ratio, but larger than allowed.
    let files = world.sample("files", &sample_of(2000, 1, "2026-11-21"));
    for options in [ImportOptions { content_bytes_max: 100_000, ..small() }, ImportOptions { zip_bytes_max: 10_000, ..small() }] {
        assert_eq!(world.refusal_with(std::slice::from_ref(&files.txt), &options).code(), "too_large");
    }
}

#[test]
fn files_of_different_weeks_and_older_ones_are_refused() {
    let world = World::new();
    let new = world.sample("new", &sample_of(1000, 1, "2026-11-21"));
    let old = world.sample("old", &sample_of(1000, 2, "2026-11-07"));
    assert_eq!(world.refusal(&[new.txt.clone(), old.csv.clone()]).code(), "different_weeks");
    let padron = open(&world.listing());
    padron.import(&[new.txt.clone(), new.csv], &small(), &|_| ()).unwrap();
    assert_eq!(world.refusal(std::slice::from_ref(&old.txt)).code(), "older");
    let report = padron.import(&[old.txt], &ImportOptions { allow_older: true, ..small() }, &|_| ()).unwrap();
    assert_eq!(report.active.cutoff, day("2026-11-07"));
    // The TXT's time stamp can be overruled; the CSV's name cannot.
    let report = padron.import(&[new.txt], &ImportOptions { cutoff: Some(day("2026-11-14")), ..small() }, &|_| ()).unwrap();
    assert_eq!(report.active.cutoff, day("2026-11-14"));
}

#[test]
fn half_the_usual_size_is_refused_unless_meant() {
    let world = World::new();
    let padron = open(&world.listing());
    padron.import(&[world.sample("a", &sample_of(2000, 1, "2026-11-14")).txt], &small(), &|_| ()).unwrap();
    for rows in [1000, 2700] {
        let files = world.sample("b", &sample_of(rows, 2, "2026-11-21"));
        let error = world.refusal(&[files.txt]);
        assert!(matches!(error, ImportError::SizeChange { active: 2000, change_max_percent: 30, .. }), "{error}");
    }
    let files = world.sample("c", &sample_of(1000, 2, "2026-11-21"));
    let meant = ImportOptions { change_max_percent: None, ..small() };
    assert_eq!(padron.import(&[files.txt], &meant, &|_| ()).unwrap().active.rows, 1000);
}

// ------------------------------------------------------------------------------------------------ activation

#[test]
fn the_same_files_again_change_nothing() {
    let world = World::new();
    let files = world.sample("files", &sample_of(1000, 1, "2026-11-21"));
    let padron = open(&world.listing());
    let first = padron.import(&[files.txt.clone(), files.csv.clone()], &small(), &|_| ()).unwrap();
    let again = padron.import(&[files.csv, files.txt.clone()], &small(), &|_| panic!("nothing is read")).unwrap();
    assert!(!first.unchanged && again.unchanged);
    assert_eq!((again.active, padron.status().previous), (first.active, None));
    assert!(!padron.import(&[files.txt], &small(), &|_| ()).unwrap().unchanged, "one file of the two is another listing");
}

#[test]
fn the_previous_listing_comes_back_and_older_ones_go() {
    let world = World::new();
    let padron = open(&world.listing());
    for (seed, cutoff) in [(1, "2026-11-07"), (2, "2026-11-14"), (3, "2026-11-21")] {
        let files = world.sample(cutoff, &sample_of(1000, seed, cutoff));
        padron.import(&[files.txt], &small(), &|_| ()).unwrap();
    }
    let indexes = || fs::read_dir(world.listing()).unwrap().filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "sqlite")).count();
    assert_eq!(indexes(), 2, "active and previous");
    let dates = |p: &Padron| (p.status().active.unwrap().cutoff, p.status().previous.unwrap().cutoff);
    assert_eq!(dates(&padron), (day("2026-11-21"), day("2026-11-14")));
    let names = |seed| sample::rows(1000, seed)[20].clone();
    assert_eq!(padron.lookup(&names(3).id).unwrap().taxpayer, Some(txt_only(names(3))));
    assert_eq!(padron.rollback().unwrap().cutoff, day("2026-11-14"));
    assert_eq!(dates(&padron), (day("2026-11-14"), day("2026-11-21")));
    assert_eq!(padron.lookup(&names(2).id).unwrap().taxpayer, Some(txt_only(names(2))));
    assert_eq!(padron.rollback().unwrap().cutoff, day("2026-11-21"));
    assert_eq!(dates(&open(&world.listing())), (day("2026-11-21"), day("2026-11-14")), "it survives a restart");
}

/// What the TXT alone tells of a taxpayer.
fn txt_only(t: Taxpayer) -> Taxpayer {
    Taxpayer { name: t.name.chars().take(65).collect(), activity: t.activity.map(|a| a.chars().take(30).collect::<String>().trim_end().to_owned()), ..t }
}

#[test]
fn a_rolled_back_listing_does_not_come_back_by_itself() {
    let world = World::new();
    let padron = open(&world.listing());
    let at = |time: &str| ImportOptions { now: time.parse().unwrap(), ..small() };
    let old = world.sample("old", &sample_of(1000, 1, "2026-11-14"));
    let bad = world.sample("bad", &sample_of(1000, 2, "2026-11-21"));
    padron.import(&[old.txt], &at("2026-11-15T12:00:00Z"), &|_| ()).unwrap();
    padron.import(std::slice::from_ref(&bad.txt), &at("2026-11-22T12:00:00Z"), &|_| ()).unwrap();
    padron.rollback().unwrap();
    let error = padron.import(std::slice::from_ref(&bad.txt), &at("2026-11-23T12:00:00Z"), &|_| ()).unwrap_err();
    assert!(matches!(error, ImportError::RolledBack { .. }), "{error}");
    assert_eq!(padron.status().active.unwrap().cutoff, day("2026-11-14"));
    let meant = ImportOptions { allow_older: true, ..at("2026-11-23T12:00:00Z") };
    assert_eq!(padron.import(&[bad.txt], &meant, &|_| ()).unwrap().active.cutoff, day("2026-11-21"));
}

#[test]
fn another_handle_takes_the_new_listing_over() {
    let world = World::new();
    let (importer, reader) = (open(&world.listing()), open(&world.listing()));
    assert!(!reader.reload_if_changed().unwrap());
    for (seed, cutoff) in [(1, "2026-11-07"), (2, "2026-11-14"), (3, "2026-11-21")] {
        importer.import(&[world.sample(cutoff, &sample_of(1000, seed, cutoff)).txt], &small(), &|_| ()).unwrap();
        assert!(reader.reload_if_changed().unwrap());
        assert!(!reader.reload_if_changed().unwrap());
        assert_eq!(reader.lookup(&id("131793916")).unwrap().cutoff, day(cutoff));
    }
    importer.rollback().unwrap();
    assert!(reader.reload_if_changed().unwrap());
    assert_eq!(reader.status(), importer.status());
}

#[test]
fn a_reader_that_never_reloads_keeps_answering() {
    let world = World::new();
    let limits = PadronLimits { idle_connections_max: 0, ..PadronLimits::default() };
    let importer = open(&world.listing());
    importer.import(&[world.sample("a", &sample_of(1000, 1, "2026-11-07")).txt], &small(), &|_| ()).unwrap();
    let reader = Padron::open(&world.listing(), limits).unwrap();
    for (seed, cutoff) in [(2, "2026-11-14"), (3, "2026-11-21")] {
        importer.import(&[world.sample(cutoff, &sample_of(1000, seed, cutoff)).txt], &small(), &|_| ()).unwrap();
    }
    // Its file is deleted and it has no connection left: it finds the new one by itself.
    assert_eq!(reader.lookup(&id("131793916")).unwrap().cutoff, day("2026-11-21"));
}

#[test]
fn one_importer_at_a_time() {
    let world = World::new();
    let files = world.sample("files", &sample_of(1000, 1, "2026-11-21"));
    let (started, starts) = mpsc::channel();
    let (go_on, waits) = mpsc::channel::<()>();
    let first = open(&world.listing());
    let txt = files.txt.clone();
    let importer = thread::spawn(move || {
        let paused = RefCell::new(Some((started, waits)));
        first.import(&[txt], &small(), &|_| {
            if let Some((started, waits)) = paused.borrow_mut().take() {
                started.send(()).unwrap();
                waits.recv().unwrap();
            }
        })
    });
    starts.recv().unwrap();
    let second = open(&world.listing());
    assert!(matches!(second.import(std::slice::from_ref(&files.csv), &small(), &|_| ()), Err(ImportError::Busy)));
    assert!(matches!(second.rollback(), Err(PadronError::Busy)));
    go_on.send(()).unwrap();
    assert!(!importer.join().unwrap().unwrap().unchanged);
    assert!(!second.import(&[files.csv], &small(), &|_| ()).unwrap().unchanged);
}

#[test]
fn a_crash_leaves_the_old_listing_and_the_next_import_cleans_up() {
    let world = World::new();
    let padron = open(&world.listing());
    padron.import(&[world.sample("a", &sample_of(1000, 1, "2026-11-14")).txt], &small(), &|_| ()).unwrap();
    // What a crash may leave: half-built files, a finished index that no state names, a half-written state.
    for name in ["building-stage.sqlite", "building-index.sqlite", "padron-20261121-deadbeef.sqlite", "active.json.tmp"] {
        fs::write(world.listing().join(name), b"half").unwrap();
    }
    fs::write(world.listing().join("notes.txt"), b"not ours").unwrap();
    assert_eq!(open(&world.listing()).lookup(&id("131793916")).unwrap().cutoff, day("2026-11-14"));
    padron.import(&[world.sample("b", &sample_of(1000, 2, "2026-11-21")).txt], &small(), &|_| ()).unwrap();
    let mut left: Vec<String> = fs::read_dir(world.listing()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left.len(), 5, "{left:?}");
    assert!(left.contains(&"notes.txt".to_owned()) && !left.iter().any(|f| f.contains("deadbeef") || f.starts_with("building-")));
}

#[test]
fn a_damaged_folder_says_so() {
    let world = World::new();
    let padron = open(&world.listing());
    padron.import(&[world.sample("a", &sample_of(1000, 1, "2026-11-14")).txt], &small(), &|_| ()).unwrap();
    let state = world.listing().join("active.json");
    let good = fs::read_to_string(&state).unwrap();
    let damaged = |text: &str| {
        fs::write(&state, text).unwrap();
        matches!(Padron::open(&world.listing(), PadronLimits::default()), Err(PadronError::Damaged { .. }))
    };
    assert!(damaged("{"));
    assert!(damaged(&good.replace("\"padron-", "\"../padron-")));
    assert!(damaged(&good.replace("\"padron-2026", "\"padron-2027")));
    // The handle that was open goes on answering from what it has.
    assert!(padron.reload_if_changed().is_err());
    assert!(padron.lookup(&id("131793916")).unwrap().taxpayer.is_some());
    fs::write(&state, good).unwrap();
    let index = fs::read_dir(world.listing()).unwrap().map(|f| f.unwrap().path()).find(|p| p.extension().is_some_and(|e| e == "sqlite")).unwrap();
    fs::write(index, b"SQLite format 3\0 but not really").unwrap();
    assert!(matches!(Padron::open(&world.listing(), PadronLimits::default()), Err(PadronError::Damaged { .. })));
}

#[test]
fn questions_from_many_threads() {
    let world = World::new();
    let files = world.sample("files", &sample_of(2000, 1, "2026-11-21"));
    let padron = open(&world.listing());
    padron.import(&[files.txt, files.csv], &small(), &|_| ()).unwrap();
    let rows = sample::rows(2000, 1);
    thread::scope(|scope| {
        for part in rows.chunks(250) {
            let padron = padron.clone();
            scope.spawn(move || {
                for taxpayer in part {
                    assert_eq!(padron.lookup(&taxpayer.id).unwrap().taxpayer.as_ref(), Some(taxpayer));
                    let found = padron.search(&query(&taxpayer.name)).unwrap();
                    assert!(found.total >= 1, "{}", taxpayer.name);
                }
            });
        }
    });
}
