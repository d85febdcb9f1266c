//! A small synthetic listing in the two official layouts, for tests, benchmarks and `dunet demo`.
//!
//! Nothing in it is anybody's: numbers come from ranges that are not in use (14…–19… and 45…–49… for RNC, 990…–998…
//! for cédulas) with right check digits, names are drawn from the word lists below. The three public bodies and
//! companies of [`ANCHORS`], documented by their owners, are always in. The same number of rows and seed give the
//! same listing.

mod words;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use chrono::{Datelike, Days, NaiveDate};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use self::words::{ACTIVITIES, BODIES, GIVEN, LEGAL, PLACES, STATUSES, SURNAMES, SYLLABLES, TRADES};
use super::identifier::{TaxpayerId, luhn_check_digit, rnc_check_digit};
use super::read::Taxpayer;
use super::report::SourceKind;

/// Where the TXT cuts, in characters.
const NAME_CUT: usize = 65;
const ACTIVITY_CUT: usize = 30;
const MONTHS: [&str; 12] = ["Ene", "Feb", "Mar", "Abr", "May", "Jun", "Jul", "Ago", "Sep", "Oct", "Nov", "Dic"];

/// Public rows with their documented contents: number, name, trade name, activity, start; all ACTIVO and NORMAL.
pub const ANCHORS: [(&str, &str, &str, &str, &str); 3] = [
    ("131793916", "INDEXA SRL", "INDEXA", "VENTA AL POR MAYOR DE SOFTWARE", "2018-07-20"),
    ("401506254", "DIRECCION GENERAL DE IMPUESTOS INTERNOS", "DGII", "SERV GRALES DE LA ADM PÚBLICA", ""),
    ("401007551", "BANCO CENTRAL DE LA REPUBLICA DOMINICANA", "", "SERV GRALES DE LA ADM PÚBLICA", "1947-10-23"),
];

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleOptions {
    /// Taxpayers, the three anchors included (at least 3; up to a million).
    pub rows: usize,
    /// Same seed, same listing.
    pub seed: u64,
    /// Cut-off date: in the CSV's name and in the TXT's time stamp.
    pub cutoff: NaiveDate,
    /// Add one of each defect that the true file has or may have (see [`SampleFiles`]); needs at least 20 rows.
    pub defects: bool,
}

/// What was written, and what a correct importer must find in the TXT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleFiles {
    /// `DGII_RNC.zip`.
    pub txt: PathBuf,
    /// `RNC_CONTRIBUYENTES.zip`.
    pub csv: PathBuf,
    /// Physical lines of the TXT.
    pub lines: u64,
    /// Accepted records.
    pub accepted: u64,
    /// Refused records: one with an eight-digit number, one cut short.
    pub rejected: u64,
}

/// The taxpayers of a sample: what a look-up must answer when both files were imported. Distinct numbers, the
/// anchors first.
#[must_use]
pub fn rows(rows: usize, seed: u64) -> Vec<Taxpayer> {
    stream(rows, seed).collect()
}

fn stream(rows: usize, seed: u64) -> impl Iterator<Item = Taxpayer> {
    let mut dice = Dice(seed ^ 0x6475_6e65_7421);
    let fresh = u64::try_from(rows.saturating_sub(ANCHORS.len())).expect("a count fits in 64 bits");
    ANCHORS.iter().map(anchor).chain((0..fresh).map(move |i| match dice.below(1000) {
        0..560 => company(&mut dice, 14_000_000 + i * 5),
        560..634 => body(&mut dice, 45_000_000 + i * 4),
        _ => person(&mut dice, 9_900_000_000 + i * 60),
    }))
}

/// Writes both zips into a folder, which is made if need be.
///
/// # Errors
/// Any I/O failure.
pub fn write_zips(dir: &Path, options: &SampleOptions) -> io::Result<SampleFiles> {
    fs::create_dir_all(dir)?;
    let day = options.cutoff;
    let csv_name = format!("RNC_Contribuyentes_Actualizado_{:02}_{}_{}.csv", day.day(), MONTHS[day.month0() as usize], day.year());
    let mut files = SampleFiles { txt: dir.join(SourceKind::Txt.official_name()), csv: dir.join(SourceKind::Csv.official_name()), lines: 0, accepted: 0, rejected: 0 };
    let mut txt = begin_zip(&files.txt, "TMP/DGII_RNC.TXT", day)?;
    let mut csv = begin_zip(&files.csv, &csv_name, day)?;
    csv.write_all(&latin1("\"RNC\",\"RAZÓN SOCIAL\",\"ACTIVIDAD ECONÓMICA\",\"FECHA DE INICIO OPERACIONES\",\"ESTADO\",\"RÉGIMEN DE PAGO\"\r\n"))?;
    for (i, taxpayer) in stream(options.rows, options.seed).enumerate() {
        let line = txt_line(&taxpayer);
        let (lines, accepted, rejected) = with_defect(if options.defects { i } else { 0 }, &line);
        files.lines += lines.bytes().map(|b| u64::from(b == b'\n')).sum::<u64>();
        files.accepted += accepted;
        files.rejected += rejected;
        txt.write_all(&latin1(&lines))?;
        csv.write_all(&latin1(&csv_line(&taxpayer)))?;
    }
    for zip in [txt, csv] {
        zip.into_inner()?.finish()?.sync_all()?;
    }
    Ok(files)
}

/// One of each defect, spread over the first rows; the listing that comes out is the same as without them. Gives
/// what to write, and how many records of it are to be accepted and refused.
fn with_defect(row: usize, line: &str) -> (String, u64, u64) {
    match row {
        // A line break inside a name, a leftover of DOS, a blank that does not break.
        5 => (line.replacen(' ', " \r\n", 1), 1, 0),
        7 => (line.replacen('Ñ', "¥", 1), 1, 0),
        9 => (line.replacen(' ', "\u{a0}", 1), 1, 0),
        // The same number twice: the later row wins.
        11 => (format!("{}{line}", line.replace("|ACTIVO|", "|ANULADO|").replace("|SUSPENDIDO|", "|ANULADO|")), 2, 0),
        // A number of 8 or 10 digits, a row cut short.
        13 => (format!("{line}{}", &line[1..]), 1, 1),
        15 => (format!("{}\r\n{line}", &line[..14]), 1, 1),
        _ => (line.to_owned(), 1, 0),
    }
}

/// A zip of one member, stamped with a day: the shape of both official files.
fn begin_zip(path: &Path, member: &str, day: NaiveDate) -> io::Result<BufWriter<ZipWriter<File>>> {
    let part = |n: u32| u8::try_from(n).unwrap_or(1);
    let stamp = zip::DateTime::from_date_and_time(u16::try_from(day.year()).unwrap_or(1980), part(day.month()), part(day.day()), 1, 0, 58);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).last_modified_time(stamp.unwrap_or_default());
    let mut zip = ZipWriter::new(File::create(path)?);
    zip.start_file(member, options)?;
    Ok(BufWriter::with_capacity(64 * 1024, zip))
}

/// SplitMix64: a few lines, the same everywhere, good enough for names.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(u64::try_from(from.len()).expect("a short list"))).expect("an index of a short list")]
    }

    /// An invented word: about half of the real companies have one that nobody else has.
    fn brand(&mut self) -> String {
        (0..3).map(|_| self.pick(SYLLABLES)).collect()
    }

    fn status(&mut self) -> &'static str {
        let mut left = self.below(1000);
        STATUSES.iter().find(|(_, share)| left.checked_sub(*share).inspect(|l| left = *l).is_none()).map_or("ACTIVO", |(text, _)| text)
    }

    fn date(&mut self) -> Option<NaiveDate> {
        if self.below(100) < 35 {
            return None;
        }
        NaiveDate::from_ymd_opt(1996, 1, 1)?.checked_add_days(Days::new(self.below(11_000)))
    }
}

fn company(dice: &mut Dice, base: u64) -> Taxpayer {
    let core = match dice.below(10) {
        0..4 => format!("{} {}", dice.pick(TRADES), dice.pick(PLACES)),
        4..6 => format!("{} {} {}", dice.pick(TRADES), dice.pick(SURNAMES), dice.pick(SURNAMES)),
        6..9 => format!("{} {}", dice.brand(), dice.pick(TRADES)),
        _ => format!("{} {} Y {} {} DE {}", dice.pick(TRADES), dice.brand(), dice.pick(TRADES), dice.pick(PLACES), dice.brand()),
    };
    let name = format!("{core}{}", dice.pick(LEGAL));
    let trade = match dice.below(10) {
        0..4 => None,
        4..8 => Some(core),
        _ => Some(format!("{} {}", dice.pick(TRADES), dice.brand())),
    };
    make(dice, rnc(base), name, trade)
}

fn body(dice: &mut Dice, base: u64) -> Taxpayer {
    let name = format!("{} {} {}", dice.pick(BODIES), dice.pick(SURNAMES), dice.pick(PLACES));
    make(dice, rnc(base), name, None)
}

fn person(dice: &mut Dice, base: u64) -> Taxpayer {
    let digits = format!("{base:010}");
    let id = format!("{digits}{}", luhn_check_digit(digits.as_bytes()));
    let second = if dice.below(2) == 0 { format!(" {}", dice.pick(GIVEN)) } else { String::new() };
    let name = format!("{}{second} {} {}", dice.pick(GIVEN), dice.pick(SURNAMES), dice.pick(SURNAMES));
    make(dice, number(&id), name, None)
}

fn make(dice: &mut Dice, id: TaxpayerId, name: String, trade_name: Option<String>) -> Taxpayer {
    let regime = if dice.below(1000) < 35 { "RST" } else { "NORMAL" };
    Taxpayer {
        id,
        name,
        trade_name,
        activity: Some(dice.pick(ACTIVITIES).to_owned()),
        start_date: dice.date(),
        status: Some(dice.status().to_owned()),
        regime: Some(regime.to_owned()),
    }
}

fn anchor(row: &(&str, &str, &str, &str, &str)) -> Taxpayer {
    let (id, name, trade, activity, start) = *row;
    Taxpayer {
        id: number(id),
        name: name.to_owned(),
        trade_name: Some(trade.to_owned()).filter(|t| !t.is_empty()),
        activity: Some(activity.to_owned()),
        start_date: start.parse().ok(),
        status: Some("ACTIVO".to_owned()),
        regime: Some("NORMAL".to_owned()),
    }
}

fn rnc(base: u64) -> TaxpayerId {
    let digits = format!("{base:08}");
    number(&format!("{digits}{}", rnc_check_digit(digits.as_bytes())))
}

fn number(digits: &str) -> TaxpayerId {
    TaxpayerId::from_digits(digits.as_bytes()).expect("the ranges above keep their width for a million rows")
}

fn txt_line(t: &Taxpayer) -> String {
    let cut = |text: Option<&str>, at: usize| text.unwrap_or_default().chars().take(at).collect::<String>();
    let (name, trade, activity) = (cut(Some(&t.name), NAME_CUT), cut(t.trade_name.as_deref(), NAME_CUT), cut(t.activity.as_deref(), ACTIVITY_CUT));
    let (status, regime) = (t.status.as_deref().unwrap_or_default(), t.regime.as_deref().unwrap_or_default());
    format!("{}|{name}|{trade}|{activity}| | | | |{}|{status}|{regime}\r\n", t.id, written(t.start_date))
}

fn csv_line(t: &Taxpayer) -> String {
    let (activity, status, regime) = (t.activity.as_deref(), t.status.as_deref(), t.regime.as_deref());
    format!(
        "\"{}\",\"{}\",\"{}\",\"{}\",\"{}\",\"{}\"\r\n",
        t.id,
        t.name,
        activity.unwrap_or_default(),
        written(t.start_date),
        status.unwrap_or_default(),
        regime.unwrap_or_default()
    )
}

fn written(date: Option<NaiveDate>) -> String {
    date.map(|d| d.format("%d/%m/%Y").to_string()).unwrap_or_default()
}

/// All texts here are Latin-1.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_are_distinct_right_and_fictitious() {
        let all = rows(20_000, 1);
        assert_eq!(all.len(), 20_000);
        assert_eq!(all.iter().map(|t| t.id).collect::<HashSet<_>>().len(), 20_000);
        for t in &all[3..] {
            let prefix: u32 = t.id.digits()[..2].parse().unwrap();
            assert!(t.id.check_digit_ok() && matches!(prefix, 14..=19 | 45..=49 | 99), "{}", t.id);
        }
        assert_eq!(all, rows(20_000, 1));
        assert_ne!(all, rows(20_000, 2));
        assert!(all.iter().filter(|t| t.is_active()).count() > 9_000);
    }

    #[test]
    fn a_million_rows_fit_the_ranges() {
        let all = rows(1_000_000, 3);
        assert_eq!(all.iter().map(|t| t.id).collect::<HashSet<_>>().len(), 1_000_000);
    }
}
