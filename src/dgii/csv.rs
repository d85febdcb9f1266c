//! Records of `RNC_Contribuyentes_Actualizado_….csv`: six quoted columns behind a header.
//!
//! Not the `csv` crate: one unbalanced quote would make it swallow the rest of the file as one field. Records are
//! found as in the TXT (a line that begins with a number starts one), so that a broken record costs only itself
//! and memory stays bounded.

use std::io::{self, BufRead};

use super::identifier::TaxpayerId;
use super::lines::{Line, Lines, RECORD_BYTES_MAX, starts_record};
use super::report::RejectReason;
use super::text::{clean, fold, is_blank, strip};
use super::txt::{Event, Row, day, non_empty};

const COLUMNS: [&str; 6] = ["RNC", "RAZON SOCIAL", "ACTIVIDAD ECONOMICA", "FECHA DE INICIO OPERACIONES", "ESTADO", "REGIMEN DE PAGO"];

/// Reads the header line. `Err` says how it differs from the known one; the delimiter may be `,` or (re-saved by a
/// spreadsheet) `;`.
pub(super) fn header<R: BufRead>(lines: &mut Lines<R>) -> io::Result<Result<u8, String>> {
    let Some(line) = lines.next()? else { return Ok(Err("the file is empty".to_owned())) };
    // A UTF-8 mark in front, read as Latin-1, is three letters that no column has.
    let bytes = line.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line.bytes);
    for delimiter in [b',', b';'] {
        let columns: Vec<String> = split(bytes, delimiter).iter().map(|c| fold(&clean(c))).collect();
        if columns == COLUMNS {
            return Ok(Ok(delimiter));
        }
    }
    let shown: String = clean(bytes).chars().take(120).collect();
    Ok(Err(format!("its header is {shown:?}")))
}

/// Reads all records behind the header; see [`super::txt::read`].
pub(super) fn read<R: BufRead, E: From<io::Error>>(lines: &mut Lines<R>, delimiter: u8, mut each: impl FnMut(u64, Event) -> Result<(), E>) -> Result<(), E> {
    let mut pending = Pending { delimiter, ..Pending::default() };
    loop {
        let number = lines.count() + 1;
        let Some(line) = lines.next()? else { break };
        if starts_record(&line.bytes, delimiter, true) {
            pending.close(&mut each)?;
            pending.open(number, line);
        } else if pending.open && !pending.complete() {
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

#[derive(Default)]
struct Pending {
    text: Vec<u8>,
    delimiter: u8,
    quotes: usize,
    last_line: u64,
    open: bool,
    too_long: bool,
}

impl Pending {
    fn open(&mut self, number: u64, line: &Line) {
        self.text.clear();
        (self.open, self.too_long, self.quotes) = (true, false, 0);
        self.push(number, line);
    }

    fn append(&mut self, number: u64, line: &Line) {
        self.text.push(b' ');
        self.push(number, line);
    }

    fn push(&mut self, number: u64, line: &Line) {
        self.last_line = number;
        self.quotes += line.quotes();
        self.text.extend_from_slice(&line.bytes);
        self.too_long |= line.cut || self.text.len() > RECORD_BYTES_MAX;
        self.text.truncate(RECORD_BYTES_MAX + 1);
    }

    /// All quotes closed and all columns there: what follows is no continuation.
    fn complete(&self) -> bool {
        self.quotes.is_multiple_of(2) && (self.too_long || split(&self.text, self.delimiter).len() >= COLUMNS.len())
    }

    fn close<E>(&mut self, each: &mut impl FnMut(u64, Event) -> Result<(), E>) -> Result<(), E> {
        if !std::mem::take(&mut self.open) {
            return Ok(());
        }
        let judged = if self.too_long { Err(RejectReason::TooLong) } else { interpret(&self.text, self.delimiter) };
        each(self.last_line, judged.map_or_else(Event::Rejected, Event::Accepted))
    }
}

fn interpret(text: &[u8], delimiter: u8) -> Result<Row, RejectReason> {
    let mut f = split(text, delimiter);
    if f.len() == COLUMNS.len() + 1 && f.last().is_some_and(|last| is_blank(last)) {
        f.pop();
    }
    let [id, name, activity, start, status, regime] = f.as_slice() else {
        return Err(if f.len() < COLUMNS.len() { RejectReason::TooFewFields } else { RejectReason::TooManyFields });
    };
    let id = TaxpayerId::from_digits(strip(id)).ok_or(RejectReason::BadIdentifier)?;
    if is_blank(name) {
        return Err(RejectReason::BlankName);
    }
    Ok(Row {
        id,
        name: clean(name),
        trade_name: None,
        activity: non_empty(clean(activity)),
        start_date: day(start),
        status: non_empty(clean(status).to_uppercase()),
        regime: non_empty(clean(regime).to_uppercase()),
        name_cut: false,
    })
}

/// Splits a record into its columns; quotes around a column go, doubled ones inside become one.
fn split(text: &[u8], delimiter: u8) -> Vec<Vec<u8>> {
    let mut columns = vec![Vec::new()];
    let mut quoted = false;
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let column = columns.last_mut().expect("there is always one column");
        match byte {
            b'"' if quoted && bytes.peek() == Some(&b'"') => {
                bytes.next();
                column.push(b'"');
            }
            b'"' if quoted => quoted = false,
            b'"' if is_blank(column) => {
                column.clear();
                quoted = true;
            }
            b if b == delimiter && !quoted => columns.push(Vec::new()),
            other => column.push(other),
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "\"RNC\",\"RAZ\u{d3}N SOCIAL\",\"ACTIVIDAD ECON\u{d3}MICA\",\"FECHA DE INICIO OPERACIONES\",\"ESTADO\",\"R\u{c9}GIMEN DE PAGO\"\r\n";

    fn events(body: &str) -> Vec<String> {
        let bytes: Vec<u8> = format!("{HEADER}{body}").chars().map(|c| c as u8).collect();
        let mut lines = Lines::new(&bytes[..]);
        let delimiter = header(&mut lines).unwrap().unwrap();
        let mut out = Vec::new();
        read::<_, io::Error>(&mut lines, delimiter, |line, event| {
            out.push(match event {
                Event::Accepted(r) => format!("{line} {}|{}|{}", r.id, r.name, r.activity.unwrap_or_default()),
                Event::Rejected(reason) => format!("{line} {reason:?}"),
                Event::BlankLine => format!("{line} blank"),
            });
            Ok(())
        })
        .unwrap();
        out
    }

    #[test]
    fn quotes_breaks_and_commas() {
        assert_eq!(
            events("\"140000015\",\"\"\"FOO\r\nBAR, S A\",\"X, Y\",\"\",\"ACTIVO\",\"NORMAL\"\r\n\r\n\"150000016\",\" B \",\" \",\"\",\"\",\"\"\r\n"),
            ["4 blank", "3 140000015|\"FOO BAR, S A|X, Y", "5 150000016|B|"]
        );
    }

    #[test]
    fn a_broken_record_costs_only_itself() {
        let good = "\"150000016\",\"B\",\"\",\"\",\"\",\"\"\r\n";
        for (bad, reason) in [
            ("\"140000015\",\"A\r\n", "TooFewFields"),
            ("\"140000015\",\"A\",\"B\r\n", "TooFewFields"),
            ("\"1400-0001\",\"A\",\"\",\"\",\"\",\"\"\r\n", "BadIdentifier"),
            ("\"140000015\",\" \",\"\",\"\",\"\",\"\"\r\n", "BlankName"),
            ("\"140000015\",\"A\",\"\",\"\",\"\",\"\",\"Z\"\r\n", "TooManyFields"),
        ] {
            let found = events(&format!("{good}{bad}{good}"));
            assert_eq!(found.len(), 3, "{bad}: {found:?}");
            assert!(found[1].ends_with(reason), "{bad}: {found:?}");
        }
        assert_eq!(events(&format!("\"140000015\",\"{}\",\"\",\"\",\"\",\"\"\r\n{good}", "A".repeat(9000)))[0], "2 TooLong");
    }

    #[test]
    fn headers_of_other_layouts() {
        let sniff = |text: &str| {
            let bytes: Vec<u8> = text.chars().map(|c| c as u8).collect();
            header(&mut Lines::new(&bytes[..])).unwrap()
        };
        assert_eq!(sniff(HEADER), Ok(b','));
        assert_eq!(sniff(&HEADER.replace(',', ";").replace('"', "")), Ok(b';'));
        assert_eq!(sniff(&format!("\u{ef}\u{bb}\u{bf}{HEADER}")), Ok(b','));
        assert!(sniff("RNC,NOMBRE\r\n").unwrap_err().contains("RNC,NOMBRE"));
        assert!(sniff("").is_err());
    }
}
