//! Turns what Odoo wrote about a failure into a sentence that may be shown, and finds the last
//! exception of a Python traceback.

use super::error::{MESSAGE_CHARS_MAX, clip};
use regex::Regex;
use std::sync::LazyLock;

/// Folders of servers; a path below one of them says where Odoo is installed and is taken out.
static SERVER_PATH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?:[A-Za-z]:\\|/(?:usr|opt|home|var|run|mnt|etc|srv|root|tmp|odoo|data|app)/)[^\s'",;:)]*"#).expect("the pattern is constant and was tested"));

/// `builtins.ValueError: …`, `psycopg2.errors.NumericValueOutOfRange: …`: the head of the line that names an exception.
static EXCEPTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^((?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*|\w*(?:Error|Exception|Warning|Denied|Fault|Interrupt|Exit))(?:: (.*)|:?)$").expect("the pattern is constant and was tested")
});

/// One line of plain text: lines joined, control characters gone, paths of the server gone, cut at the limit.
pub(crate) fn sentence(text: &str) -> String {
    // Cut first: what follows need not work through megabytes.
    let head: String = text.chars().take(MESSAGE_CHARS_MAX * 4).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = head.split_whitespace().collect();
    let mut line = words.join(" ");
    // After the joining, which would mend one that was written with control characters between its words.
    if let Some(at) = line.find("Traceback (most recent call last)") {
        line.truncate(at);
    }
    clip(SERVER_PATH.replace_all(line.trim_end(), "[…]").into_owned(), MESSAGE_CHARS_MAX)
}

/// The exception that a Python traceback ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastException {
    /// `ValueError`, `psycopg2.OperationalError`.
    pub(crate) name: String,
    /// What it says, with the lines that follow it.
    pub(crate) text: String,
}

/// Finds it: the last line that begins at the margin and names an exception. Messages of the database go on
/// for some lines after it (`LINE 1: …`, a caret), so the very last line is not always the one.
pub(crate) fn last_exception(traceback: &str) -> Option<LastException> {
    let lines: Vec<&str> = traceback.lines().collect();
    let (at, found) = lines.iter().enumerate().rev().find_map(|(at, line)| EXCEPTION.captures(line).map(|found| (at, found)))?;
    let mut text = found.get(2).map_or("", |m| m.as_str()).to_owned();
    for line in &lines[at + 1..] {
        text.push('\n');
        text.push_str(line);
    }
    Some(LastException { name: found[1].to_owned(), text: text.trim_end().to_owned() })
}

/// Takes the tags out of an HTML page, for the private cause.
pub(crate) fn html_text(page: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in page.chars().take(4_000) {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                out.push(' ');
            }
            _ if !inside => out.push(c),
            _ => {}
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_lose_what_is_not_for_people() {
        for (text, want) in [
            ("No puede crear\n\n\t- Contact/Creation\n", "No puede crear - Contact/Creation"),
            ("failed at /usr/lib/python3/dist-packages/odoo/http.py, sorry", "failed at […], sorry"),
            ("socket \"/run/postgresql/.s.PGSQL.18432\" failed", "socket \"[…]\" failed"),
            ("C:\\Program", "[…]"),
            ("see /my/orders/28?access_token=x and 3/4", "see /my/orders/28?access_token=x and 3/4"),
            ("Oops\nTraceback (most recent call last):\n  File", "Oops"),
            ("Oops Traceback\0\n(most \t recent call last): File", "Oops"),
            ("a\u{1b}[31mb\u{0}c\r\nd", "a [31mb c d"),
        ] {
            assert_eq!(sentence(text), want);
        }
        assert_eq!(sentence(&"ab ".repeat(2_000)).chars().count(), MESSAGE_CHARS_MAX);
    }

    #[test]
    fn the_last_exception_is_found() {
        for (text, name, said) in [
            ("Traceback (most recent call last):\n  File \"x\", line 1, in f\n    raise E\nValueError: Invalid field 'a' on 'b'\n", "ValueError", "Invalid field 'a' on 'b'"),
            (
                "KeyError: 'x'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File\nAttributeError: The method 'a.b' does not exist",
                "AttributeError",
                "The method 'a.b' does not exist",
            ),
            (
                "Traceback\n  File\npsycopg2.errors.NumericValueOutOfRange: value \"9\" is out of range\nLINE 1: ...WHERE (id = 9\n                  ^\n\n",
                "psycopg2.errors.NumericValueOutOfRange",
                "value \"9\" is out of range\nLINE 1: ...WHERE (id = 9\n                  ^",
            ),
            ("Traceback\n  File\nException: Method not found: nothing", "Exception", "Method not found: nothing"),
            ("Traceback\n  File\nAssertionError\n", "AssertionError", ""),
        ] {
            assert_eq!(last_exception(text), Some(LastException { name: name.into(), text: said.into() }));
        }
        assert_eq!(last_exception("No puede crear registros"), None);
    }
}
