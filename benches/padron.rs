//! `cargo bench --bench padron [-- ZIP… | -- ROWS]`: what the DGII listing costs, as a table.
//!
//! With zips it imports those; with a number of rows (default 800,000) or nothing it makes a sample of its own first.
//! `mmap-mib=N` overrides how much of the index is memory-mapped. `DUNET_BENCH_PADRON` gives the same arguments, separated by blanks. Times are of one thread; the peak of memory is
//! the whole process's, taken right after the import.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark prints and measures time")]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{Days, Utc};
use dunet::dgii::sample::{self, SampleOptions};
use dunet::dgii::{ImportOptions, NameQuery, Padron, PadronLimits, Progress, ProgressStage, Taxpayer, TaxpayerId};

const ROWS: usize = 800_000;
const LOOKUPS: usize = 100_000;
const QUERIES_PER_KIND: usize = 150;

fn main() {
    let given = std::env::var("DUNET_BENCH_PADRON").unwrap_or_default();
    let mut args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    args.extend(given.split_whitespace().map(str::to_owned));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut zips: Vec<PathBuf> = args.iter().filter(|a| a.ends_with(".zip")).map(PathBuf::from).collect();
    let now = Utc::now();
    if zips.is_empty() {
        let rows = args.iter().find_map(|a| a.parse().ok()).unwrap_or(ROWS);
        let cutoff = now.date_naive().checked_sub_days(Days::new(2)).expect("a date after year 0");
        let began = Instant::now();
        let files = sample::write_zips(&folder.path().join("files"), &SampleOptions { rows, seed: 7, cutoff, defects: true }).expect("a sample");
        println!("sample of {rows} taxpayers made in {:.1} s", began.elapsed().as_secs_f64());
        zips = vec![files.txt, files.csv];
    }
    let mut limits = PadronLimits::default();
    if let Some(mib) = args.iter().find_map(|a| a.strip_prefix("mmap-mib=")?.parse::<u64>().ok()) {
        limits.mmap_bytes_max = mib << 20;
    }
    let padron = Padron::open(&folder.path().join("padron"), limits).expect("a folder");
    let before = rss_peak_mib();
    let began = Instant::now();
    let indexing_at = std::cell::Cell::new(None);
    let watch = |p: Progress| {
        if p.stage == ProgressStage::Indexing && indexing_at.get().is_none() {
            indexing_at.set(Some(began.elapsed()));
        }
    };
    let report = padron.import(&zips, &ImportOptions { rows_min: 1, ..ImportOptions::at(now) }, &watch).expect("an import");
    let reading = indexing_at.get().unwrap_or_default().as_secs_f64();
    println!("\n| what | value |\n|---|---|");
    println!("| taxpayers | {} from {} file(s) |", report.active.rows, zips.len());
    let took = report.took_ms as f64 / 1000.0;
    println!("| import | {took:.1} s (reading {reading:.1}, index {:.1}) |", took - reading);
    println!("| peak memory of the process, before / after the import | {before} / {} MiB |", rss_peak_mib());
    println!("| index file | {} MiB |", report.active.index_bytes >> 20);

    let taxpayers = some_taxpayers(&padron);
    let mut dice = 1_u64;
    let ids: Vec<TaxpayerId> = (0..LOOKUPS)
        .map(|i| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Every tenth is not in the listing.
            if i % 10 == 0 { TaxpayerId::parse(&format!("2{:08}", dice >> 40)).expect("nine digits") } else { taxpayers[(dice >> 33) as usize % taxpayers.len()].id }
        })
        .collect();
    row("look-up", &ids, |id| padron.lookup(id).expect("an answer").taxpayer.map_or(0, |_| 1));
    for (kind, queries) in queries(&taxpayers) {
        row(&format!("names: {kind}"), &queries, |text| {
            let query = NameQuery { text: text.clone(), limit: 10, only_active: false };
            padron.search(&query).expect("an answer").hits.len()
        });
    }
    println!("| resident after all that | {} MiB |", status_mib("VmRSS:"));
}

/// Names out of the index itself, found by common words, so that any zip will do.
fn some_taxpayers(padron: &Padron) -> Vec<Taxpayer> {
    let mut found = std::collections::BTreeMap::new();
    let mut words: Vec<String> = ["COMERCIAL", "INVERSIONES", "MARIA", "PEREZ", "SERVICIOS", "GRUPO", "CONDOMINIO", "JUAN"].map(String::from).into();
    let mut at = 0;
    while at < words.len() && found.len() < 20_000 {
        for only_active in [true, false] {
            let query = NameQuery { text: words[at].clone(), limit: 10, only_active };
            for t in padron.search(&query).map(|h| h.hits).unwrap_or_default() {
                if words.len() < 50_000 {
                    words.extend(t.name.split_whitespace().filter(|w| w.len() > 3).map(str::to_owned));
                }
                found.insert(t.id, t);
            }
        }
        at += 1;
    }
    found.into_values().collect()
}

fn queries(taxpayers: &[Taxpayer]) -> Vec<(&'static str, Vec<String>)> {
    let common = ["COMERCIAL", "INVERSIONES", "SERVICIOS", "MARIA", "PEREZ", "GRUPO", "JUAN", "CONSTRUCTORA", "DISTRIBUIDORA", "RODRIGUEZ", "SRL", "LA", "DE"];
    let step = (taxpayers.len() / QUERIES_PER_KIND).max(1);
    let some: Vec<Vec<&str>> = taxpayers.iter().step_by(step).map(|t| t.name.split_whitespace().collect()).collect();
    let words = |f: &dyn Fn(&[&str]) -> String| some.iter().map(|w| f(w)).filter(|q| q.len() > 2).collect::<Vec<_>>();
    vec![
        ("one common word", common.iter().cycle().take(QUERIES_PER_KIND).map(ToString::to_string).collect()),
        ("two common words", common.iter().flat_map(|a| common.iter().map(move |b| format!("{a} {b}"))).take(QUERIES_PER_KIND).collect()),
        ("two words of a name", words(&|w| w.iter().take(2).copied().collect::<Vec<_>>().join(" "))),
        ("beginning of a last word", words(&|w| w.join(" ").chars().take(w.join(" ").chars().count() * 2 / 3).collect())),
        ("three letters", words(&|w| w[0].chars().take(3).collect())),
        ("whole name and legal form", words(&|w| w.join(" "))),
        ("rare words", words(&|w| w.iter().max_by_key(|x| x.len()).map(ToString::to_string).unwrap_or_default())),
        (
            "one typo",
            words(&|w| {
                let mut text: Vec<char> = w.join(" ").chars().collect();
                let at = text.len() / 3;
                text.remove(at);
                text.into_iter().collect()
            }),
        ),
        ("sixteen common words", (0..QUERIES_PER_KIND).map(|i| (0..16).map(|j| common[(i * 5 + j * 3) % 10]).collect::<Vec<_>>().join(" ")).collect()),
        ("nothing like it", (0..QUERIES_PER_KIND).map(|i| format!("QWXZK{i} PEREZ")).collect()),
    ]
}

/// Runs everything once to warm up, then measures, and prints one line of the table.
fn row<T>(what: &str, inputs: &[T], mut ask: impl FnMut(&T) -> usize) {
    let hits: usize = inputs.iter().map(&mut ask).sum();
    let mut times: Vec<Duration> = inputs
        .iter()
        .map(|input| {
            let began = Instant::now();
            std::hint::black_box(ask(input));
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "| {what} ({}, {:.1} hits each) | p50 {:.3}, p95 {:.3}, p99 {:.3}, max {:.3} ms |",
        inputs.len(),
        hits as f64 / inputs.len() as f64,
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    );
}

fn rss_peak_mib() -> u64 {
    status_mib("VmHWM:")
}

fn status_mib(what: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with(what)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
}
