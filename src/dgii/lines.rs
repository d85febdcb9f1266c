//! Physical lines of a listing, read with bounded memory.
//!
//! Not records: a record may span several lines, and `txt` and `csv` put them together. A line longer than
//! [`LINE_BYTES_KEPT_MAX`] is kept only in part; what was dropped is still counted, so that the rules that count
//! delimiters hold for it too.

use std::io::{self, BufRead, Read};

/// Longest record that is accepted, in bytes (rule R9).
pub(super) const RECORD_BYTES_MAX: usize = 8192;
/// Bytes of one line that are kept; anything longer is over [`RECORD_BYTES_MAX`] whatever stands in it.
const LINE_BYTES_KEPT_MAX: usize = 2 * RECORD_BYTES_MAX;

/// Reads lines one by one and counts them.
pub(super) struct Lines<R> {
    source: R,
    line: Line,
    count: u64,
}

/// One physical line without its line end.
#[derive(Default)]
pub(super) struct Line {
    /// The bytes, or the first [`LINE_BYTES_KEPT_MAX`] of them.
    pub(super) bytes: Vec<u8>,
    /// How many `|` and `"` stand in the part that was not kept.
    pub(super) dropped_pipes: usize,
    pub(super) dropped_quotes: usize,
    /// Something other than blanks stands in the part that was not kept.
    pub(super) dropped_text: bool,
    /// The line was longer than what was kept.
    pub(super) cut: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, line: Line::default(), count: 0 }
    }

    /// The next line, or `None` at the end. A last line without a line end counts, an empty one after the last
    /// line end does not.
    pub(super) fn next(&mut self) -> io::Result<Option<&Line>> {
        let line = &mut self.line;
        *line = Line { bytes: std::mem::take(&mut line.bytes), ..Line::default() };
        line.bytes.clear();
        let kept_max = u64::try_from(LINE_BYTES_KEPT_MAX).expect("a small constant");
        let mut read = self.source.by_ref().take(kept_max).read_until(b'\n', &mut line.bytes)?;
        if read == 0 {
            return Ok(None);
        }
        self.count += 1;
        let mut rest = Vec::new();
        while line.bytes.last() != Some(&b'\n') && rest.last() != Some(&b'\n') && read == LINE_BYTES_KEPT_MAX {
            rest.clear();
            read = self.source.by_ref().take(kept_max).read_until(b'\n', &mut rest)?;
            line.cut |= read > 0;
            line.dropped_pipes += rest.iter().filter(|b| **b == b'|').count();
            line.dropped_quotes += rest.iter().filter(|b| **b == b'"').count();
            line.dropped_text |= !super::text::is_blank(&rest);
        }
        if line.bytes.last() == Some(&b'\n') {
            line.bytes.pop();
            if line.bytes.last() == Some(&b'\r') {
                line.bytes.pop();
            }
        } else if !line.cut && line.bytes.last() == Some(&b'\r') {
            line.bytes.pop();
        }
        Ok(Some(&self.line))
    }

    /// Lines read so far: the number of the line that [`Self::next`] gave last.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

impl Line {
    pub(super) fn is_blank(&self) -> bool {
        !self.dropped_text && super::text::is_blank(&self.bytes)
    }

    pub(super) fn pipes(&self) -> usize {
        self.dropped_pipes + self.bytes.iter().filter(|b| **b == b'|').count()
    }

    pub(super) fn quotes(&self) -> usize {
        self.dropped_quotes + self.bytes.iter().filter(|b| **b == b'"').count()
    }
}

/// Whether a line starts a record (rule R1): blanks, 9 or 11 digits, blanks, the delimiter. With `quoted`, one
/// quote may stand on each side of the number.
pub(super) fn starts_record(line: &[u8], delimiter: u8, quoted: bool) -> bool {
    let quote = |at: usize| at + usize::from(quoted && line.get(at) == Some(&b'"'));
    let blanks = |mut at: usize| {
        while line.get(at) == Some(&b' ') {
            at += 1;
        }
        at
    };
    let start = blanks(quote(blanks(0)));
    let digits = line[start..].iter().take(12).take_while(|b| b.is_ascii_digit()).count();
    (digits == 9 || digits == 11) && line.get(blanks(quote(blanks(start + digits)))) == Some(&delimiter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<(usize, usize)> {
        let mut lines = Lines::new(text);
        let mut out = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            out.push((line.bytes.len(), line.pipes()));
        }
        assert_eq!(lines.count(), out.len() as u64);
        out
    }

    #[test]
    fn line_ends_of_every_kind() {
        assert_eq!(all(b"a|b\r\n\nc\rd\r\n\x1a"), [(3, 1), (0, 0), (3, 0), (1, 0)]);
        assert_eq!(all(b"a\r"), [(1, 0)]);
        assert!(all(b"").is_empty());
        assert_eq!(all(b"\n"), [(0, 0)]);
    }

    #[test]
    fn a_huge_line_is_counted_but_not_kept() {
        for extra in [0, 1, 5, LINE_BYTES_KEPT_MAX, LINE_BYTES_KEPT_MAX + 1] {
            let mut text = vec![b'|'; LINE_BYTES_KEPT_MAX + extra];
            text.extend_from_slice(b"\nnext");
            assert_eq!(all(&text), [(LINE_BYTES_KEPT_MAX, LINE_BYTES_KEPT_MAX + extra), (4, 0)], "{extra}");
        }
    }

    #[test]
    fn rule_r1() {
        for good in ["131793916|", "  131793916 |x", "00113918205|"] {
            assert!(starts_record(good.as_bytes(), b'|', false), "{good}");
        }
        for bad in ["13179391|", "1317939166|", "131793916", "131793916,", "\t131793916|", "131-79391-6|", "", "123456789012|", "\"131793916\"|"] {
            assert!(!starts_record(bad.as_bytes(), b'|', false), "{bad}");
        }
        assert!(starts_record(b"\"131793916\",\"X\"", b',', true));
        assert!(starts_record(b"131793916;X", b';', true));
        assert!(!starts_record(b"\"131-793916\",\"X\"", b',', true));
    }
}
