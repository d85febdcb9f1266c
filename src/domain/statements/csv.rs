//! A month's statements as lines of CSV.

use futures::{Stream, stream};

use super::money::amount;
use super::{Statement, StatementError, StatementState, Statements};
use crate::domain::reports::csv::{Cell, csv_cells, csv_line, csv_number};

const HEAD: [&str; 18] = [
    "month",
    "number",
    "part",
    "state",
    "client",
    "rnc",
    "client_id",
    "plan",
    "calls",
    "counted",
    "amount_usd",
    "itbis_usd",
    "total_usd",
    "itbis_percent",
    "usd_rate",
    "total_dop",
    "closed_at",
    "note",
];

impl Statements {
    /// For operators: head first, then a line for each statement and each correction, a page of clients at a time.
    pub fn month_csv(&self, month: i32) -> impl Stream<Item = Result<String, StatementError>> + Send + use<> {
        /// Before the head, at a page, at the end.
        enum At {
            Head,
            Page(Option<String>),
            End,
        }
        stream::try_unfold((self.clone(), At::Head), move |(statements, at)| async move {
            let after = match at {
                At::Head => return Ok(Some((csv_line(HEAD), (statements, At::Page(None))))),
                At::Page(after) => after,
                At::End => return Ok(None),
            };
            let page = statements.month_page(month, after.as_deref()).await?;
            let lines = page.rows.iter().map(Statement::csv).collect();
            let next = page.next.map_or(At::End, |next| At::Page(Some(next)));
            Ok(Some((lines, (statements, next))))
        })
    }
}

impl Statement {
    /// Its line, and those of its corrections.
    fn csv(&self) -> String {
        let state = match self.state {
            StatementState::Running => "running",
            StatementState::Open => "open",
            StatementState::Closed => "closed",
        };
        let number = |text: String| Cell::Number(csv_number(&text));
        let mut lines = csv_cells(&[
            number(self.month.to_string()),
            number(self.number.map(|number| number.to_string()).unwrap_or_default()),
            number(self.part.to_string()),
            Cell::Text(state),
            Cell::Text(&self.client),
            Cell::Text(self.rnc.as_deref().unwrap_or_default()),
            Cell::Text(&self.tenant.to_string()),
            Cell::Text(&self.plan),
            number(self.calls.to_string()),
            number(self.counted.to_string()),
            number(amount(self.amount_usd_cents)),
            number(amount(self.itbis_usd_cents)),
            number(amount(self.total_usd_cents)),
            number(self.itbis_percent.to_string()),
            number(self.usd_rate.map(|rate| rate.to_string()).unwrap_or_default()),
            number(self.total_dop_cents.map(amount).unwrap_or_default()),
            Cell::Text(&self.closed_at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)).unwrap_or_default()),
            Cell::Text(&self.note),
        ]);
        lines.extend(self.corrections.iter().map(Statement::csv));
        lines
    }
}
