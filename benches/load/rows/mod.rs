//! The rows of the table.

mod kill;
mod odoo;
mod size;
mod speed;

use crate::Row;
use crate::rig::Rig;

/// Measures one row of that name; it may be printed as several lines.
pub(crate) async fn measure(rig: &Rig, name: &str) -> anyhow::Result<Vec<Row>> {
    match name {
        "throughput" => speed::throughput(rig).await,
        "latency" => speed::latency(rig).await,
        "python" => speed::python(rig).await,
        "search" => odoo::search(rig).await,
        "hanging" => odoo::hanging(rig).await,
        "memory" => size::memory(rig).await,
        "startup" => size::startup(rig).await,
        "padron" => size::padron(rig),
        "voice" => size::voice(rig).await,
        "kill" => kill::kill(rig).await,
        _ => anyhow::bail!("no such row"),
    }
}

/// The middle one.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// A count with its thousands apart.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
