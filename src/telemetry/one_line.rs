//! Standard error, an event a line: what others say (an Odoo's error, an agent's name) may hold line breaks and escapes, and must not look like
//! lines of ours.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

/// Standard error for a subscriber, which asks for it at every event.
pub(super) fn stderr() -> impl Fn() -> OneLine + Send + Sync + 'static {
    let colours = io::stderr().is_terminal();
    move || OneLine { colours }
}

/// Writes each event as one line.
pub(super) struct OneLine {
    colours: bool,
}

impl Write for OneLine {
    /// The subscriber hands over one whole event, with the end of its line.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if is_one_line(event) {
            io::stderr().lock().write_all(event)?;
        } else {
            io::stderr().lock().write_all(one_line(&String::from_utf8_lossy(event), self.colours).as_bytes())?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Whether it is a line as it stands: no control character but the end. In UTF-8, which the subscriber writes, those from U+0080 to U+009F begin
/// with C2.
fn is_one_line(event: &[u8]) -> bool {
    let Some((b'\n', line)) = event.split_last() else { return false };
    // Most lines are plain, which is seen many bytes at a time.
    if line.iter().fold(true, |plain, byte| plain & (0x20..0x7f).contains(byte)) {
        return true;
    }
    let mut before = 0;
    for byte in line {
        if *byte < 0x20 || *byte == 0x7f || (before == 0xc2 && *byte < 0xa0) {
            return false;
        }
        before = *byte;
    }
    true
}

/// The text with its control characters written as JSON writes them; colours stay where they are wanted (in what others say the subscriber has
/// taken them out).
fn one_line(event: &str, colours: bool) -> String {
    let text = event.strip_suffix('\n').unwrap_or(event);
    let mut line = String::with_capacity(event.len() + 1);
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\u{1b}' if colours => line.push(c),
            c if c.is_control() => {
                // A String takes everything.
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_as_it_stands_needs_no_change() {
        for (event, plain) in [("INFO a=ñ ú\n", true), ("INFO \u{a0}\n", true), ("INFO", false), ("a\nb\n", false), ("\u{9b}\n", false), ("\u{7f}\n", false), ("\t\n", false)] {
            assert_eq!(is_one_line(event.as_bytes()), plain, "{event:?}");
            assert!(!plain || one_line(event, false) == event);
        }
    }

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(one_line("INFO a=1\n", false), "INFO a=1\n");
        assert_eq!(one_line("INFO a=x\n2001 INFO b\r\n\u{1b}[31m\u{7f}\u{9b}\t\n", false), "INFO a=x\\n2001 INFO b\\r\\n\\u001b[31m\\u007f\\u009b\\t\n");
        assert_eq!(one_line("\u{1b}[32mINFO\u{1b}[0m ñ\n", true), "\u{1b}[32mINFO\u{1b}[0m ñ\n");
        // A character that is cut in two in JSON's own escapes stays JSON.
        let json = format!("{{\"a\":\"x{}y\"}}\n", '\u{85}');
        assert_eq!(serde_json::from_str::<serde_json::Value>(&one_line(&json, false)).unwrap()["a"], "x\u{85}y");
    }
}
