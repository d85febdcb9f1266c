//! What a voice says about a quotation that is proposed or made.

use super::{Made, Plan};
use crate::text::{Language, fill};
use crate::tools::sales::{Line, rows};
use crate::tools::say;

/// Lines that a sentence names one by one.
const SAID_MAX: usize = 3;

pub(super) fn preview_phrase(plan: &Plan, language: Language) -> String {
    let customer = say::cut(&plan.customer_name, 50);
    let lines = said_lines(&plan.lines, language);
    let total = money(plan.total, plan.currency.as_deref(), language);
    let key = if plan.approximate { "frases.cotizacion.vista_aproximada" } else { "frases.cotizacion.vista" };
    let tax = taxes(plan.tax, plan.currency.as_deref(), language);
    let sentence = |lines: &str| fill(language, key, &[("cliente", &customer), ("lineas", lines), ("total", &total), ("itbis", &tax)]);
    // The total matters more than the names of the products.
    let long = sentence(&lines);
    if long.chars().count() <= say::PHRASE_CHARS_MAX {
        return long;
    }
    let count = say::number(language, plan.lines.len() as u64);
    say::cut(&sentence(&fill(language, "frases.cotizacion.y_otras", &[("cuantas", &count)])), say::PHRASE_CHARS_MAX)
}

fn said_lines(lines: &[Line], language: Language) -> String {
    if lines.len() > SAID_MAX {
        let count = say::number(language, lines.len() as u64);
        return fill(language, "frases.cotizacion.y_otras", &[("cuantas", &count)]);
    }
    let said: Vec<String> = lines
        .iter()
        .map(|line| {
            let quantity = say::quantity(language, line.cantidad);
            fill(language, "frases.cotizacion.linea", &[("cantidad", &quantity), ("producto", &say::cut(&line.producto, 40))])
        })
        .collect();
    say::list(language, &said)
}

pub(super) fn created_phrase(made: &Made, customer: &str, language: Language) -> String {
    let currency = made.priced.currency.as_deref();
    let number = say::document_number(language, &made.number);
    let (total, tax) = (money(made.priced.total, currency, language), taxes(made.priced.tax, currency, language));
    say::phrase_around(language, "frases.cotizacion.creada", ("cliente", customer), &[("numero", &number), ("total", &total), ("itbis", &tax)])
}

fn money(amount: f64, currency: Option<&str>, language: Language) -> String {
    say::money(language, rows::decimal(amount), currency.unwrap_or_default()).trim().to_owned()
}

fn taxes(amount: f64, currency: Option<&str>, language: Language) -> String {
    if amount == 0.0 { String::new() } else { fill(language, "frases.cotizacion.itbis", &[("impuestos", &money(amount, currency, language))]) }
}
