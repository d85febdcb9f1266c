//! What must hold for every line of a listing, every number and every question for a name. See `src/fuzzing.rs`.

use std::io::{self, BufRead, BufReader};
use std::sync::LazyLock;

use chrono::NaiveDate;

use super::identifier::TaxpayerId;
use super::import::ImportOptions;
use super::lines::{Lines, RECORD_BYTES_MAX};
use super::ncf::{Ncf, NcfSeries};
use super::padron::{Padron, PadronLimits};
use super::report::RejectReason;
use super::sample::{self, SampleOptions};
use super::search::NameQuery;
use super::text::{clean, fold};
use super::txt::{Event, Row};
use super::{PadronError, csv, txt};

/// What a reader said, comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Accepted(Row),
    Rejected(RejectReason),
    Blank,
}

/// Lines of the TXT.
pub(crate) fn padron_txt(data: &[u8]) {
    let record = |row: &Row| {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (trade, activity, status, regime) = (text(&row.trade_name), text(&row.activity), text(&row.status), text(&row.regime));
        format!("{}|{}|{trade}|{activity}|||||{}|{status}|{regime}", row.id, row.name, day(row.start_date))
    };
    listing(data, &|source| seen(source, |lines, each| txt::read(lines, each)), &record);
}

/// Lines of the CSV, header included, with both delimiters it may have.
pub(crate) fn padron_csv(data: &[u8]) {
    if let Ok(Ok(delimiter)) = csv::header(&mut Lines::new(data)) {
        assert!(matches!(delimiter, b',' | b';'));
    }
    for delimiter in [b',', b';'] {
        let record = |row: &Row| {
            let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            let text = |field: &Option<String>| quoted(field.as_deref().unwrap_or_default());
            let columns = [quoted(row.id.digits()), quoted(&row.name), text(&row.activity), quoted(&day(row.start_date)), text(&row.status), text(&row.regime)];
            columns.join(char::from(delimiter).encode_utf8(&mut [0; 4]))
        };
        listing(data, &|source| seen(source, |lines, each| csv::read(lines, delimiter, each)), &record);
    }
}

/// A number as people write it.
pub(crate) fn taxpayer_number(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    assert_eq!(TaxpayerId::from_digits(data).is_some(), matches!(data.len(), 9 | 11) && data.iter().all(u8::is_ascii_digit));
    let Ok(id) = TaxpayerId::parse(&text) else { return };
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(id.digits(), digits, "every digit of {text:?} counts");
    for written in [digits.clone(), id.formatted(), format!("RNC: {digits}"), format!(" cédula {}", id.formatted()), id.to_string()] {
        assert_eq!(TaxpayerId::parse(&written), Ok(id), "{written}");
    }
    assert_eq!((TaxpayerId::from_digits(digits.as_bytes()), TaxpayerId::from_key(id.key())), (Some(id), Some(id)));
    let (base, _) = digits.split_at(digits.len() - 1);
    let right = (0..10).filter(|last| TaxpayerId::parse(&format!("{base}{last}")).is_ok_and(|id| id.check_digit_ok())).count();
    assert_eq!(right, 1, "one check digit of ten is right for {base}");
    assert!(digits.len() == 9 || !format!("{id:?}").contains(base), "a person's number in the log");
}

/// A receipt number as people write it.
pub(crate) fn receipt_number(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(ncf) = Ncf::parse(&text) else { return };
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    assert_eq!(digits(ncf.as_str()), digits(&text), "every digit of {text:?} counts");
    for written in [ncf.as_str().to_owned(), ncf.as_str().to_lowercase(), ncf.as_str().chars().flat_map(|c| [c, '-']).collect()] {
        assert_eq!(Ncf::parse(&written).as_ref(), Ok(&ncf), "{written}");
    }
    let (width, length) = match ncf.series() {
        NcfSeries::B => (8, 11),
        NcfSeries::E => (10, 13),
        NcfSeries::Old => (8, 19),
    };
    assert_eq!(ncf.as_str().len(), length);
    assert!(ncf.as_str().ends_with(&format!("{}{:0width$}", ncf.type_code(), ncf.sequence())), "{ncf}");
    assert_eq!(ncf.is_electronic(), ncf.odoo_type().starts_with("e-"));
    for day in [NaiveDate::MIN, NaiveDate::MAX] {
        let _ = ncf.expiry(day);
    }
}

/// A question for names: an answer, or that it is too short or too long; never an error of the engine.
pub(crate) fn name_search(data: &[u8]) {
    static PADRON: LazyLock<Padron> = LazyLock::new(padron);
    let query = NameQuery { text: String::from_utf8_lossy(data).into_owned(), limit: data.len() % 12, only_active: data.len() % 2 == 1 };
    let folded = fold(&query.text);
    assert!(fold(&folded) == folded && folded.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase() || byte == b' '), "{folded:?}");
    let found = match PADRON.search(&query) {
        Ok(found) => found,
        Err(PadronError::QueryTooShort | PadronError::QueryTooLong { .. }) => return,
        Err(error) => panic!("{query:?}: {error}"),
    };
    assert!(found.hits.len() <= query.limit.clamp(1, PadronLimits::default().hits_max), "more than asked for");
    assert!(found.total >= found.hits.len() as u64, "{query:?}: {} of {}", found.hits.len(), found.total);
    assert!(!query.only_active || found.hits.iter().all(super::read::Taxpayer::is_active), "only active ones were asked for");
    let mut numbers: Vec<&str> = found.hits.iter().map(|hit| hit.id.digits()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), found.hits.len(), "{query:?}: the same taxpayer twice");
    assert_eq!(PADRON.search(&NameQuery { text: folded, ..query }).as_ref().ok(), Some(&found), "case, accents and punctuation do not matter");
}

/// A sample of three hundred taxpayers. Its files are gone as soon as they are open.
fn padron() -> Padron {
    let folder = std::env::temp_dir().join(format!("dunet-fuzzing-{}", uuid::Uuid::new_v4()));
    let cutoff = NaiveDate::from_ymd_opt(2026, 11, 21).expect("a day");
    let files = sample::write_zips(&folder, &SampleOptions { rows: 300, seed: 1, cutoff, defects: false }).expect("a sample");
    let padron = Padron::open(&folder.join("padron"), PadronLimits::default()).expect("a folder");
    let options = ImportOptions { rows_min: 3, ..ImportOptions::at(cutoff.and_hms_opt(12, 0, 0).expect("noon").and_utc()) };
    padron.import(&[files.txt, files.csv], &options, &|_| {}).expect("an import");
    // One thread asks, so one connection is opened, and kept.
    padron.search(&NameQuery { text: "INDEXA".to_owned(), limit: 1, only_active: false }).expect("an answer");
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    padron
}

fn day(day: Option<NaiveDate>) -> String {
    day.map(|day| day.format("%d/%m/%Y").to_string()).unwrap_or_default()
}

fn seen(source: &mut dyn BufRead, read: impl FnOnce(&mut Lines<&mut dyn BufRead>, &mut dyn FnMut(u64, Event) -> io::Result<()>) -> io::Result<()>) -> (Vec<(u64, Seen)>, u64) {
    let mut lines = Lines::new(source);
    let mut all = Vec::new();
    let mut each = |line, event| {
        let event = match event {
            Event::Accepted(row) => Seen::Accepted(row),
            Event::Rejected(reason) => Seen::Rejected(reason),
            Event::BlankLine => Seen::Blank,
        };
        all.push((line, event));
        Ok(())
    };
    read(&mut lines, &mut each).expect("memory can be read");
    (all, lines.count())
}

type Reader<'a> = &'a dyn Fn(&mut dyn BufRead) -> (Vec<(u64, Seen)>, u64);

/// What holds for both layouts; `record` writes a row as a line.
fn listing(data: &[u8], read: Reader<'_>, record: &dyn Fn(&Row) -> String) {
    let (events, lines) = read(&mut &*data);
    assert!(events.len() as u64 <= lines, "a line gives at most one record");
    assert!(events.iter().all(|(line, _)| (1..=lines).contains(line)), "a line that is not there");
    assert_eq!(read(&mut BufReader::with_capacity(3, data)).0, events, "it does not matter how the bytes arrive");

    for (_, event) in &events {
        let Seen::Accepted(row) = event else { continue };
        let fields = [Some(&row.name), row.trade_name.as_ref(), row.activity.as_ref(), row.status.as_ref(), row.regime.as_ref()];
        for text in fields.into_iter().flatten() {
            assert!(!text.is_empty() && text.trim() == text && !text.contains("  ") && !text.chars().any(char::is_control), "{text:?}");
            assert!(text.chars().count() <= 2 * RECORD_BYTES_MAX, "longer than a record");
        }
        let Some(line) = latin1(&record(row)) else { continue };
        assert_eq!(clean(latin1(&row.name).expect("the whole line is Latin-1").as_slice()), row.name, "a cleaned text is clean");
        let (again, _) = read(&mut &line[..]);
        let [(1, Seen::Accepted(read))] = &again[..] else { panic!("{row:?} became {again:?}") };
        assert_eq!(Row { name_cut: row.name_cut, ..read.clone() }, *row, "what is written is read");
    }

    // A broken record costs only itself: the good one behind it is read, and what was read before it stays the same.
    let good = Row {
        id: TaxpayerId::from_digits(b"131793916").expect("a number"),
        name: "INDEXA SRL".to_owned(),
        trade_name: None,
        activity: None,
        start_date: NaiveDate::from_ymd_opt(2018, 7, 20),
        status: Some("ACTIVO".to_owned()),
        regime: Some("NORMAL".to_owned()),
        name_cut: false,
    };
    let mut before = data.to_vec();
    before.push(b'\n');
    let (mut wanted, lines) = read(&mut &before[..]);
    let mut with = before;
    with.extend_from_slice(record(&good).as_bytes());
    wanted.push((lines + 1, Seen::Accepted(good)));
    assert_eq!(read(&mut &with[..]).0, wanted, "a good record behind it");
}

fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}
