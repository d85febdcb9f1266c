//! Finding customers from one noisy text: the digits decide what it is, and one request answers.
//!
//! Not here: creating them, and what a tool says about them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::rows::{self, Row};
use super::words;
use crate::dgii::{IdKind, TaxpayerId};
use crate::odoo::domain::{Domain, Operator, Term};
use crate::odoo::{Fields, OdooClient, Page};
use crate::text::{Language, fill};
use crate::tools::cx::ToolCx;
use crate::tools::error::ToolError;

/// Records fetched for one question, before those that only fit a wildcard are dropped.
const FETCHED_MAX: u32 = 60;
/// Candidates shown when several fit.
pub(super) const CANDIDATES_MAX: usize = 5;
/// Digits of a Dominican telephone with its area.
const PHONE_DIGITS: usize = 10;
/// Words that people put before a number; they say nothing about which kind it is.
const LABELS: [&str; 20] =
    ["RNC", "CEDULA", "CED", "TELEFONO", "TEL", "CELULAR", "CEL", "WHATSAPP", "NUMERO", "NUM", "NO", "NRO", "CLIENTE", "ID", "CODIGO", "COD", "REF", "EL", "DEL", "AL"];

/// What a text about a customer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Query {
    /// An id of Odoo, or the customer's code (`ref`).
    Number { id: i64, digits: String },
    /// RNC or cédula.
    Taxpayer(TaxpayerId),
    /// The digits of a telephone: the last ten, or seven without area.
    Phone(String),
    /// An e-mail address, or a part of it.
    Email(String),
    /// A name, in words.
    Name(String),
}

/// Tells what a text is: 9 digits an RNC, 11 a cédula, 10 (also with 1 in front) or 7 a telephone, up to 8 an id, `@` an e-mail, else a name.
pub(super) fn classify(text: &str) -> Query {
    let text = text.trim();
    if text.contains('@') {
        return Query::Email(text.split_whitespace().find(|word| word.contains('@')).unwrap_or(text).to_owned());
    }
    let only_labels = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).all(|word| LABELS.contains(&crate::dgii::text::fold(word).as_str()));
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() || !only_labels {
        return Query::Name(text.to_owned());
    }
    let phone = |digits: &str| Query::Phone(digits[digits.len().saturating_sub(PHONE_DIGITS)..].to_owned());
    match digits.len() {
        _ if text.starts_with('+') && digits.len() > 7 => phone(&digits),
        11 if is_phone_with_country(&digits) && !is_dashed_cedula(text) => phone(&digits),
        9 | 11 => TaxpayerId::from_digits(digits.as_bytes()).map_or_else(|| Query::Name(text.to_owned()), Query::Taxpayer),
        7 | 10 | 12..=15 => phone(&digits),
        1..=8 => digits.parse().map_or_else(|_| Query::Name(text.to_owned()), |id| Query::Number { id, digits: digits.clone() }),
        _ => Query::Name(text.to_owned()),
    }
}

/// `1` and a Dominican area code. A cédula cannot be told from it by its digits; none begins with 180, 182 or 184 so far.
fn is_phone_with_country(digits: &str) -> bool {
    ["1809", "1829", "1849"].iter().any(|prefix| digits.starts_with(prefix))
}

/// Written 3-7-1.
fn is_dashed_cedula(text: &str) -> bool {
    let groups: Vec<usize> = text.split(['-', ' ']).filter(|part| part.chars().all(|c| c.is_ascii_digit())).map(str::len).collect();
    groups == [3, 7, 1]
}

/// The ways in which a taxpayer number stands in `vat`.
pub(crate) fn vat_forms(id: &TaxpayerId) -> Vec<String> {
    let d = id.digits();
    let mut forms = vec![d.to_owned(), id.formatted(), format!("DO{d}")];
    if id.kind() == IdKind::Rnc {
        forms.push(format!("{}-{}-{}-{}", &d[..1], &d[1..3], &d[3..8], &d[8..]));
    }
    forms
}

/// A pattern for `ilike` that fits these digits however they are separated.
pub(super) fn digits_pattern(digits: &str) -> String {
    digits.chars().map(String::from).collect::<Vec<_>>().join("%")
}

/// Whether the text holds these digits, separators apart.
pub(super) fn has_digits(text: &str, digits: &str) -> bool {
    text.chars().filter(char::is_ascii_digit).collect::<String>().contains(digits)
}

/// A customer, as far as the tools show one.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Customer {
    /// Id en Odoo: sirve para crear_cotizacion y buscar_productos.
    pub cliente_id: i64,
    /// Nombre.
    pub nombre: String,
    /// RNC o cédula, como está en Odoo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rnc: Option<String>,
    /// Teléfono.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telefono: Option<String>,
    /// Correo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Ciudad o sector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ciudad: Option<String>,
    /// Si es empresa (y no persona).
    pub es_empresa: bool,
    /// Empresa a la que pertenece este contacto.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empresa: Option<String>,
    /// Id de esa empresa.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empresa_id: Option<i64>,
}

impl Customer {
    fn of(row: &Row) -> Option<Self> {
        let parent = rows::link(row, "parent_id");
        Some(Self {
            cliente_id: rows::id(row)?,
            nombre: rows::text(row, "name")?,
            rnc: rows::text(row, "vat"),
            telefono: rows::text(row, "phone").or_else(|| rows::text(row, "mobile")),
            email: rows::text(row, "email"),
            ciudad: rows::text(row, "city"),
            es_empresa: rows::flag(row, "is_company"),
            empresa_id: parent.as_ref().map(|(id, _)| *id),
            empresa: parent.map(|(_, name)| name).filter(|name| !name.is_empty()),
        })
    }

    /// The name with the one thing that tells this customer from another of the same name.
    pub(super) fn said(&self, language: Language) -> String {
        match self.empresa.as_ref().or(self.ciudad.as_ref()) {
            Some(detail) => fill(language, "frases.clientes.de", &[("nombre", &self.nombre), ("detalle", detail)]),
            None => self.nombre.clone(),
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Best first.
    pub(super) customers: Vec<Customer>,
    /// How many fit in all.
    pub(super) total: u64,
    /// Nothing fitted the words; these sound like them.
    pub(super) similar: bool,
}

/// Finds customers: one request, and one more only for a name that nothing fits.
pub(super) async fn find(odoo: &OdooClient, query: &Query) -> Result<Found, ToolError> {
    let mobile = odoo.version().partner_has_mobile();
    let rows = odoo.search_page("res.partner", &domain(query, mobile), &fields(mobile), &Page::first(FETCHED_MAX)).await?;
    let fetched = rows.records.len();
    let total = rows.total;
    let mut customers: Vec<Customer> = rows.records.iter().filter(|row| fits(row, query)).filter_map(Customer::of).collect();
    let Query::Name(name) = query else {
        let total = honest_total(total, fetched, customers.len());
        return Ok(Found { customers, total, similar: false });
    };
    let wanted = words::words(name);
    customers.sort_by_cached_key(|customer| (words::rank(&customer.nombre, name, &wanted), customer.empresa_id.is_some()));
    if !customers.is_empty() || wanted.is_empty() {
        let total = honest_total(total, fetched, customers.len());
        return Ok(Found { customers, total, similar: false });
    }
    let rows = odoo.search_page("res.partner", &similar_domain("name", &wanted), &fields(mobile), &Page::first(FETCHED_MAX)).await?;
    let mut scored: Vec<(f64, Customer)> =
        rows.records.iter().filter_map(Customer::of).filter_map(|customer| words::similarity(&customer.nombre, &wanted).map(|score| (score, customer))).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let customers: Vec<Customer> = scored.into_iter().map(|(_, customer)| customer).collect();
    Ok(Found { total: customers.len() as u64, similar: !customers.is_empty(), customers })
}

/// The one customer that a text means.
///
/// # Errors
/// `no_encontrado`, or `varios_posibles` with the candidates (also when the name only sounds like theirs).
pub(super) async fn resolve(cx: &ToolCx, odoo: &OdooClient, text: &str) -> Result<Customer, ToolError> {
    let query = query_of(cx, "cliente", text)?;
    let found = find(odoo, &query).await?;
    choose(found, &query, text)
}

/// As [`classify`], but a text without letters and digits is refused: it would fit everybody.
pub(super) fn query_of(cx: &ToolCx, field: &str, text: &str) -> Result<Query, ToolError> {
    let query = classify(text);
    match &query {
        Query::Name(name) if words::words(name).is_empty() => Err(ToolError::argument(cx.say("detalles.sin_texto", &[("campo", field)]))),
        _ => Ok(query),
    }
}

fn choose(found: Found, query: &Query, text: &str) -> Result<Customer, ToolError> {
    let mut customers = found.customers;
    if let Query::Number { id, .. } = query {
        // An id that a tool gave out wins over a code of somebody's own.
        if let Some(at) = customers.iter().position(|customer| customer.cliente_id == *id) {
            return Ok(customers.swap_remove(at));
        }
    }
    let same_name: Vec<usize> = match query {
        Query::Name(name) => {
            let name = crate::dgii::text::fold(name);
            customers.iter().enumerate().filter(|(_, customer)| crate::dgii::text::fold(&customer.nombre) == name).map(|(at, _)| at).collect()
        }
        _ => Vec::new(),
    };
    match (customers.len(), same_name.as_slice()) {
        (0, _) => Err(ToolError::not_found("cliente", text)),
        (1, _) if !found.similar => Ok(customers.swap_remove(0)),
        (_, [only]) if !found.similar => Ok(customers.swap_remove(*only)),
        _ => {
            customers.truncate(CANDIDATES_MAX);
            Err(ToolError::ambiguous("cliente", text, json!(customers)))
        }
    }
}

/// The domain of a query. `mobile`: whether this Odoo still has that field.
pub(super) fn domain(query: &Query, mobile: bool) -> Domain {
    match query {
        Query::Number { id, digits } => Domain::any([Term::eq("id", *id), Term::same_text("ref", digits)]),
        // Contacts carry their company's number: only the owner of the number is meant.
        Query::Taxpayer(id) => Domain::from(Term::in_("vat", vat_forms(id))).and(Term::eq("parent_id", false)),
        Query::Phone(digits) => phone_domain(digits, mobile),
        Query::Email(address) => Term::ilike("email", address).into(),
        Query::Name(name) => words_domain(&words::words(name), |pattern| Term::new("name", Operator::Ilike, pattern).into()).or(Term::same_text("ref", name.trim())),
    }
}

/// Any of the telephone fields holds these digits.
pub(super) fn phone_domain(digits: &str, mobile: bool) -> Domain {
    let fields: &[&str] = if mobile { &["phone", "mobile"] } else { &["phone"] };
    Domain::any(fields.iter().map(|field| Term::new(*field, Operator::Ilike, digits_pattern(digits))))
}

/// Every word by any of its patterns.
pub(super) fn words_domain(words: &[String], term: impl Fn(String) -> Domain) -> Domain {
    if words.is_empty() {
        return Domain::nothing();
    }
    words.iter().fold(Domain::all(), |all, word| all.and(Domain::any(words::patterns(word).into_iter().map(&term))))
}

/// All words as they may have been misheard, or the longest alone.
pub(super) fn similar_domain(field: &str, words: &[String]) -> Domain {
    let term = |word: &String| Domain::from(Term::new(field, Operator::Ilike, words::loose_pattern(word)));
    let all = words.iter().fold(Domain::all(), |all, word| all.and(term(word)));
    match words.iter().max_by_key(|word| word.chars().count()) {
        Some(longest) if words.len() > 1 => all.or(term(longest)),
        Some(_) => all,
        None => Domain::nothing(),
    }
}

/// Drops what only a wildcard let through.
fn fits(row: &Row, query: &Query) -> bool {
    match query {
        Query::Phone(digits) => ["phone", "mobile"].iter().any(|field| rows::text(row, field).is_some_and(|text| has_digits(&text, digits))),
        Query::Name(name) => {
            rows::text(row, "name").is_some_and(|text| words::contains_all(&text, &words::words(name)))
                || rows::text(row, "ref").is_some_and(|code| code.eq_ignore_ascii_case(name.trim()))
        }
        Query::Number { .. } | Query::Taxpayer(_) | Query::Email(_) => true,
    }
}

/// What was counted when all of it was seen; else what Odoo counted, wildcards included.
pub(super) fn honest_total(total: u64, fetched: usize, kept: usize) -> u64 {
    if total > fetched as u64 { total } else { kept as u64 }
}

/// What is read of a customer.
pub(super) fn fields(mobile: bool) -> Fields {
    let fields = Fields::new().texts(&["name", "vat", "phone", "email", "city", "ref"]).boolean("is_company").many2one("parent_id", &[]);
    if mobile { fields.text("mobile") } else { fields }
}

#[cfg(test)]
#[path = "partners_tests.rs"]
mod tests;
