//! Lines for spreadsheets (RFC 4180). A cell that a spreadsheet would take for a formula gets an apostrophe in front.

/// A cell, quoted where needed and harmless in a spreadsheet.
#[must_use]
pub fn csv_cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r', ';', '\t']) || text.starts_with(' ') || text.ends_with(' ') { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// A line with its end.
#[must_use]
pub fn csv_line<S: AsRef<str>>(cells: impl IntoIterator<Item = S>) -> String {
    let cells: Vec<String> = cells.into_iter().map(|cell| csv_cell(cell.as_ref())).collect();
    format!("{}\r\n", cells.join(","))
}

/// A number of ours: a minus sign in front of digits is no formula.
#[must_use]
pub(in crate::domain) fn csv_number(number: &impl ToString) -> Number {
    Number(number.to_string())
}

/// A cell that is a number.
pub(in crate::domain) struct Number(String);

/// A line of texts and numbers, each cell made ready by the caller.
pub(in crate::domain) fn csv_cells(cells: &[Cell<'_>]) -> String {
    let cells: Vec<String> = cells
        .iter()
        .map(|cell| match cell {
            Cell::Text(text) => csv_cell(text),
            Cell::Number(number) => number.0.clone(),
        })
        .collect();
    format!("{}\r\n", cells.join(","))
}

/// What a line consists of.
pub(in crate::domain) enum Cell<'a> {
    Text(&'a str),
    Number(Number),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for text in ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "=cmd|' /C calc'!A0"] {
            let cell = csv_cell(text);
            assert!(cell.starts_with('\'') || cell.starts_with("\"'"), "{cell}");
        }
        assert_eq!(csv_line(["a", "b,c", "d\"e", "", "f\ng"]), "a,\"b,c\",\"d\"\"e\",,\"f\ng\"\r\n");
        assert_eq!(csv_cells(&[Cell::Text("-x"), Cell::Number(csv_number(&-5))]), "'-x,-5\r\n");
    }
}
