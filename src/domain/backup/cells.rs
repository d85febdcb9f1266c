//! A value between a database and a line of JSON.

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::{DbErr, QueryResult, Value as Cell};
use serde_json::Value;
use uuid::Uuid;

use crate::db::schema::{Column, Kind};
use crate::domain::audit::canonical;

/// A row as its line, without the end of the line.
pub(super) fn line(row: &QueryResult, columns: &[Column]) -> Result<String, DbErr> {
    let cells: Vec<Value> = columns.iter().enumerate().map(|(place, column)| value(row, place, column)).collect::<Result<_, _>>()?;
    Ok(canonical(&Value::Array(cells)))
}

fn value(row: &QueryResult, place: usize, column: &Column) -> Result<Value, DbErr> {
    Ok(match column.kind {
        Kind::Text => row.try_get_by::<Option<String>, _>(place)?.into(),
        Kind::Number if column.wide => row.try_get_by::<Option<i64>, _>(place)?.into(),
        Kind::Number => row.try_get_by::<Option<i32>, _>(place)?.into(),
        Kind::Flag => row.try_get_by::<Option<bool>, _>(place)?.into(),
        Kind::Uuid => row.try_get_by::<Option<Uuid>, _>(place)?.map(|id| id.to_string()).into(),
        // PostgreSQL keeps microseconds.
        Kind::Instant => row.try_get_by::<Option<DateTime<Utc>>, _>(place)?.map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true)).into(),
        // In a list of its own: a document that is null is not the same as none.
        Kind::Json => row.try_get_by::<Option<Value>, _>(place)?.map(|document| Value::Array(vec![document])).into(),
    })
}

/// A value of a line for a column of this database.
pub(super) fn cell(value: &Value, column: &Column) -> anyhow::Result<Cell> {
    let wrong = || format!("a value of the column {} is not what the column holds", column.name);
    let absent = value.is_null();
    let text = || if absent { Ok(None) } else { value.as_str().map(Some).with_context(wrong) };
    Ok(match column.kind {
        Kind::Text => Cell::from(text()?.map(str::to_owned)),
        Kind::Number if absent && column.wide => Cell::BigInt(None),
        Kind::Number if absent => Cell::Int(None),
        Kind::Number => {
            let number = value.as_i64().with_context(wrong)?;
            if column.wide { Cell::from(number) } else { Cell::from(i32::try_from(number).with_context(wrong)?) }
        }
        Kind::Flag => Cell::from(if absent { None } else { Some(value.as_bool().with_context(wrong)?) }),
        Kind::Uuid => Cell::from(text()?.map(str::parse::<Uuid>).transpose().with_context(wrong)?),
        Kind::Instant => Cell::from(text()?.map(str::parse::<DateTime<Utc>>).transpose().with_context(wrong)?),
        Kind::Json if absent => Cell::from(None::<Value>),
        Kind::Json => Cell::from(value.as_array().and_then(|list| list.first()).with_context(wrong)?.clone()),
    })
}
