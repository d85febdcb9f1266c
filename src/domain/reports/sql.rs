//! A statement in pieces: text of ours, and values that are always bound.

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, QueryResult, Statement, Value};

pub(in crate::domain) struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    pub(in crate::domain) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), values: Vec::new() }
    }

    pub(in crate::domain) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    pub(in crate::domain) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        self.text.push_str(&format!("${}", self.values.len()));
        self
    }

    /// `(a, b, c)`; an empty list is one that nothing is in.
    pub(in crate::domain) fn list<V: Into<Value>>(&mut self, values: impl IntoIterator<Item = V>) -> &mut Self {
        let mut between = "(";
        for value in values {
            self.push(between).bind(value);
            between = ", ";
        }
        if between == "(" {
            self.push("(null");
        }
        self.push(")")
    }

    pub(in crate::domain) async fn all<T: FromQueryResult>(self, db: &impl ConnectionTrait) -> Result<Vec<T>, DbErr> {
        self.rows(db).await?.iter().map(|row| T::from_query_result(row, "")).collect()
    }

    pub(super) async fn one<T: FromQueryResult>(self, db: &impl ConnectionTrait) -> Result<Option<T>, DbErr> {
        Ok(self.all(db).await?.into_iter().next())
    }

    pub(in crate::domain) async fn rows(self, db: &impl ConnectionTrait) -> Result<Vec<QueryResult>, DbErr> {
        db.query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), self.text, self.values)).await
    }
}

/// What a text begins with; `%` and `_` mean themselves. To be used with `escape '\'`.
pub(super) fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
