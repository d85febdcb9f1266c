//! Records of `DGII_RNC.TXT`: rules R1–R7 and R9 (R8 is `text::clean`).
//!
//! R1 a record starts at `^ *\d{9}(\d{2})? *\|`. R2 other lines continue it while it has fewer than 11 fields,
//! joined by one blank; otherwise they stand alone and are judged as a record. R3 of more than 11 fields the last
//! seven are fixed, the one before them is the activity, the first two are number and name, the rest is the trade
//! name. R4 fewer than 11: refused. R5 a number of 9 or 11 digits and a name: refused otherwise. R6 unknown or
//! blank status and regime and impossible dates do not matter. R7 (later row wins) is the stage's. R9 more than
//! 8,192 bytes: refused, and the reader takes up again at R1.

use std::io::{self, BufRead};

use chrono::NaiveDate;

use super::identifier::TaxpayerId;
use super::lines::{Line, Lines, RECORD_BYTES_MAX, starts_record};
use super::report::RejectReason;
use super::text::{clean, is_blank, strip};

const FIELDS: usize = 11;
/// The DGII cuts names here, in characters of the raw field.
const NAME_CUT_CHARS: usize = 65;

/// One accepted record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: TaxpayerId,
    pub(super) name: String,
    pub(super) trade_name: Option<String>,
    pub(super) activity: Option<String>,
    pub(super) start_date: Option<NaiveDate>,
    pub(super) status: Option<String>,
    pub(super) regime: Option<String>,
    /// The name fills its field, so its end is probably missing.
    pub(super) name_cut: bool,
}

/// What a reader says about its lines.
pub(super) enum Event {
    Accepted(Row),
    Rejected(RejectReason),
    BlankLine,
}

/// Reads all records and hands each to `each` with the number of its last line.
pub(super) fn read<R: BufRead, E: From<io::Error>>(lines: &mut Lines<R>, mut each: impl FnMut(u64, Event) -> Result<(), E>) -> Result<(), E> {
    let mut pending = Pending::default();
    loop {
        let number = lines.count() + 1;
        let Some(line) = lines.next()? else { break };
        if starts_record(&line.bytes, b'|', false) {
            pending.close(&mut each)?;
            pending.open(number, line);
        } else if pending.open && pending.fields < FIELDS {
            pending.append(number, line);
        } else if line.is_blank() {
            each(number, Event::BlankLine)?;
        } else {
            pending.close(&mut each)?;
            pending.open(number, line);
            pending.close(&mut each)?;
        }
    }
    pending.close(&mut each)
}

/// The record that is being put together.
#[derive(Default)]
struct Pending {
    text: Vec<u8>,
    fields: usize,
    last_line: u64,
    open: bool,
    too_long: bool,
}

impl Pending {
    fn open(&mut self, number: u64, line: &Line) {
        self.text.clear();
        (self.open, self.too_long, self.fields) = (true, false, 1);
        self.push(number, line);
    }

    fn append(&mut self, number: u64, line: &Line) {
        self.text.push(b' ');
        self.push(number, line);
    }

    fn push(&mut self, number: u64, line: &Line) {
        self.last_line = number;
        self.fields += line.pipes();
        self.text.extend_from_slice(&line.bytes);
        self.too_long |= line.cut || self.text.len() > RECORD_BYTES_MAX;
        // A record that is too long stays so: what it holds no longer matters, only how many fields it has.
        self.text.truncate(RECORD_BYTES_MAX + 1);
    }

    fn close<E>(&mut self, each: &mut impl FnMut(u64, Event) -> Result<(), E>) -> Result<(), E> {
        if !std::mem::take(&mut self.open) {
            return Ok(());
        }
        let judged = if self.too_long { Err(RejectReason::TooLong) } else { interpret(&self.text) };
        each(self.last_line, judged.map_or_else(Event::Rejected, Event::Accepted))
    }
}

/// Rules R3 to R6 on one record.
fn interpret(text: &[u8]) -> Result<Row, RejectReason> {
    let mut f: Vec<&[u8]> = text.split(|b| *b == b'|').collect();
    // One delimiter too many at the end is no field.
    if f.len() == FIELDS + 1 && strip(f[FIELDS]).is_empty() && !strip(f[FIELDS - 1]).is_empty() {
        f.pop();
    }
    let n = f.len();
    if n < FIELDS {
        return Err(RejectReason::TooFewFields);
    }
    let id = TaxpayerId::from_digits(strip(f[0])).ok_or(RejectReason::BadIdentifier)?;
    if is_blank(f[1]) {
        return Err(RejectReason::BlankName);
    }
    Ok(Row {
        id,
        name: clean(f[1]),
        trade_name: non_empty(clean(&f[2..n - 8].join(&b' '))),
        activity: non_empty(clean(f[n - 8])),
        start_date: day(f[n - 3]),
        status: non_empty(clean(f[n - 2]).to_uppercase()),
        regime: non_empty(clean(f[n - 1]).to_uppercase()),
        name_cut: f[1].len() >= NAME_CUT_CHARS,
    })
}

pub(super) fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|t| !t.is_empty())
}

/// `dd/mm/yyyy`, exactly; anything else, and days that never were, are no date.
pub(super) fn day(raw: &[u8]) -> Option<NaiveDate> {
    let [d1, d2, b'/', m1, m2, b'/', year @ ..] = strip(raw) else { return None };
    // Four digits at most: a longer row of them does not fit.
    let number = |digits: &[u8]| (digits.len() <= 4 && digits.iter().all(u8::is_ascii_digit)).then(|| digits.iter().fold(0_u32, |n, d| n * 10 + u32::from(d - b'0')));
    let year = number(year).filter(|y| year.len() == 4 && *y > 0)?;
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, number(&[*m1, *m2])?, number(&[*d1, *d2])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<String> {
        let bytes: Vec<u8> = text.chars().map(|c| c as u8).collect();
        let mut out = Vec::new();
        read::<_, io::Error>(&mut Lines::new(&bytes[..]), |line, event| {
            out.push(match event {
                Event::Accepted(r) => format!("{line} {}|{}|{}|{}", r.id, r.name, r.trade_name.unwrap_or_default(), r.status.unwrap_or_default()),
                Event::Rejected(reason) => format!("{line} {reason:?}"),
                Event::BlankLine => format!("{line} blank"),
            });
            Ok(())
        })
        .unwrap();
        out
    }

    const TAIL: &str = "|ACT| | | | |01/02/2003|ACTIVO|NORMAL";

    #[test]
    fn a_record_over_three_lines_and_one_with_a_stray_pipe() {
        let text = format!("140000015|FOO \r\n \r\n BAR|T{TAIL}\r\n\r\n150000016|A|B|C{TAIL}\r\n");
        assert_eq!(events(&text), ["4 blank", "3 140000015|FOO BAR|T|ACTIVO", "5 150000016|A|B C|ACTIVO"]);
    }

    #[test]
    fn refusals_and_resynchronisation() {
        let long = "A".repeat(9000);
        let text = format!("140000015|X\n150000016|A|{TAIL}|\n14000001|A|{TAIL}\n|A|{TAIL}\n160000017|\u{a0} |{TAIL}\n170000018|{long}|{TAIL}\nnoise\n180000019|A|{TAIL}\n\u{1a}");
        assert_eq!(
            events(&text),
            ["1 TooFewFields", "2 150000016|A||ACTIVO", "3 BadIdentifier", "4 BadIdentifier", "5 BlankName", "6 TooLong", "7 TooFewFields", "9 blank", "8 180000019|A||ACTIVO",]
        );
    }

    #[test]
    fn dates_are_strict() {
        assert_eq!(day(b" 20/07/2018 "), NaiveDate::from_ymd_opt(2018, 7, 20));
        for bad in ["00/00/0000", "31/02/2015", "2015-03-01", "1/1/99", "", " ", "20/07/20188", "20/07/42949672960", "20/07/99999999999999999999", "20/07/0000", "2a/07/2018"] {
            assert_eq!(day(bad.as_bytes()), None, "{bad}");
        }
    }
}
