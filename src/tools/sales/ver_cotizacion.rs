//! `ver_cotizacion`: one quotation or order by its number, with its lines and the customer's link.
//!
//! Also by the reference that `crear_cotizacion` leaves in `origin`: how a caller whose answer got lost learns what became of it.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::line::Line;
use super::quotation::{self, Priced};
use super::rows::{self, Row};
use crate::odoo::Page;
use crate::odoo::domain::{Domain, Operator, Term, escape_like};
use crate::text::{Language, fill, text};
use crate::tools::cx::ToolCx;
use crate::tools::error::ToolError;
use crate::tools::say;
use crate::tools::tool::{Pack, Tool};

/// Orders whose numbers end alike that are looked at.
const LOOKED_AT_MAX: u32 = 20;
/// Candidates shown when several fit.
const CANDIDATES_MAX: usize = 5;
/// Longest number behind the letters, digits.
const DIGITS_MAX: usize = 12;
/// How the references begin that our writes leave in `origin`.
const REFERENCE_PREFIX: &str = "dunet:";

/// See the module.
pub struct VerCotizacion;

/// The arguments.
#[derive(Deserialize, JsonSchema)]
pub struct Input {
    /// Como S00012 (o 12), o la referencia «dunet:…» de un resultado desconocido.
    #[schemars(length(min = 1, max = 40))]
    pub numero: String,
}

/// The result.
#[derive(Serialize, JsonSchema)]
pub struct Output {
    /// Número.
    pub numero: String,
    /// Id en Odoo.
    pub cotizacion_id: i64,
    /// borrador, enviada, pedido_confirmado, cerrada o cancelada.
    pub estado: String,
    /// Cliente.
    pub cliente: Option<String>,
    /// Id del cliente.
    pub cliente_id: Option<i64>,
    /// Líneas.
    pub lineas: Vec<Line>,
    /// Sin impuestos.
    pub subtotal: f64,
    /// ITBIS y otros.
    pub impuestos: f64,
    /// Total.
    pub total: f64,
    /// Moneda (ISO 4217).
    pub moneda: Option<String>,
    /// Lista de precios.
    pub lista_precios: Option<String>,
    /// Hasta cuándo vale (ISO).
    pub vence_el: Option<String>,
    /// Página para el cliente: se abre sin contraseña.
    pub enlace: Option<String>,
    /// El PDF, sin contraseña.
    pub enlace_pdf: Option<String>,
    /// Lo que conviene saber.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avisos: Vec<String>,
    /// Para decir en voz alta.
    pub frase: String,
}

impl Tool for VerCotizacion {
    const NAME: &'static str = "ver_cotizacion";
    const TITLE: &'static str = "Ver cotización";
    const ABOUT: &'static str = "Úsela para ver una cotización o un pedido por su número: estado, líneas, total, vencimiento y enlace para el cliente. \
        No la cambia ni la envía; para hacer una nueva, crear_cotizacion.";
    const PACKS: &'static [Pack] = &[Pack::Voice, Pack::Sales];
    const NEEDS: &'static [(&'static str, &'static str)] = &[("sale.order", "read"), ("sale.order.line", "read")];
    const ASKS_ODOO: bool = true;
    type Input = Input;
    type Output = Output;

    async fn run(cx: &ToolCx, input: Input) -> Result<Output, ToolError> {
        let asked = Asked::parse(&input.numero).ok_or_else(|| ToolError::argument(cx.say("detalles.sin_texto", &[("campo", "numero")])))?;
        let odoo = cx.odoo().await?;
        let page = Page::first(LOOKED_AT_MAX).ordered("id desc");
        let found = odoo.search_page("sale.order", &asked.domain(), &quotation::fields(&odoo), &page).await?;
        let record = choose(&found.records, &asked, &input.numero)?;
        let id = rows::id(record).ok_or_else(|| ToolError::internal("an order without id"))?;
        let priced = quotation::read_order(record, odoo.version().sale_line_uom_field()).ok_or_else(|| ToolError::internal("an order of another shape"))?;
        let mut avisos = Vec::new();
        let (enlace, enlace_pdf) = match quotation::links(&odoo, id).await {
            Ok((page, pdf)) => (Some(page), Some(pdf)),
            Err(error) => {
                let detail = cx.say(&format!("errores.{}.mensaje", error.code.as_str()), &[("detalle", "")]);
                avisos.push(cx.say("avisos.sin_enlace_ver", &[("detalle", detail.trim())]));
                (None, None)
            }
        };
        Ok(output(record, id, priced, (enlace, enlace_pdf), avisos, cx.today(), cx.language()))
    }
}

fn output(record: &Row, id: i64, priced: Priced, links: (Option<String>, Option<String>), mut avisos: Vec<String>, today: NaiveDate, language: Language) -> Output {
    let customer = rows::link(record, "partner_id");
    let numero = rows::text(record, "name").unwrap_or_default();
    let estado = state(&rows::text(record, "state").unwrap_or_default());
    let ends: Option<NaiveDate> = priced.valid_until.as_deref().and_then(|day| day.parse().ok());
    let open = matches!(estado.as_str(), "borrador" | "enviada");
    if let Some(day) = ends.filter(|day| open && *day < today) {
        avisos.push(fill(language, "avisos.vencida", &[("fecha", &day.to_string())]));
    }
    let name = customer.as_ref().map(|(_, name)| name.as_str()).unwrap_or_default();
    let total = say::money(language, rows::decimal(priced.total), priced.currency.as_deref().unwrap_or_default());
    let ends = ends.filter(|day| open && *day >= today);
    let ends = ends.map(|day| fill(language, "frases.cotizacion.vence", &[("fecha", &say::date(language, day, today))])).unwrap_or_default();
    let frase = say::phrase_around(
        language,
        "frases.cotizacion.ver",
        ("cliente", name),
        &[("numero", &say::document_number(language, &numero)), ("estado", &said_state(language, &estado)), ("total", total.trim()), ("vence", &ends)],
    );
    Output {
        numero,
        cotizacion_id: id,
        estado,
        cliente_id: customer.as_ref().map(|(id, _)| *id),
        cliente: customer.map(|(_, name)| name),
        lineas: priced.lines.into_iter().map(Line::from).collect(),
        subtotal: priced.untaxed,
        impuestos: priced.tax,
        total: priced.total,
        moneda: priced.currency,
        lista_precios: priced.price_list,
        vence_el: priced.valid_until,
        enlace: links.0,
        enlace_pdf: links.1,
        avisos,
        frase,
    }
}

/// Our word for a state of Odoo; one that we do not know stays as it is.
fn state(odoo: &str) -> String {
    match odoo {
        "draft" => "borrador",
        "sent" => "enviada",
        "sale" => "pedido_confirmado",
        "done" => "cerrada",
        "cancel" => "cancelada",
        other => other,
    }
    .to_owned()
}

fn said_state(language: Language, state: &str) -> String {
    let key = format!("estados_cotizacion.{state}");
    let said = text(language, &key);
    if said == key { state.to_owned() } else { said }
}

/// What an order is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    /// The reference of a write of ours, as `datos.referencia` of an unknown outcome gives it.
    Reference(String),
    /// Its number.
    Number(Number),
}

impl Asked {
    fn parse(text: &str) -> Option<Self> {
        let compact: String = text.split_whitespace().collect::<String>().to_lowercase();
        if compact.starts_with(REFERENCE_PREFIX) { Some(Self::Reference(compact)) } else { Number::parse(text).map(Self::Number) }
    }

    fn domain(&self) -> Domain {
        match self {
            Self::Reference(reference) => Term::eq("origin", reference.as_str()).into(),
            Self::Number(number) => number.domain(),
        }
    }
}

/// A document number as somebody says it: letters, then digits, of which the leading zeros may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Number {
    /// Without blanks, upper case.
    compact: String,
    /// What stands before the final digits.
    prefix: String,
    /// The final digits without leading zeros; none when it does not end in digits.
    digits: Option<String>,
}

impl Number {
    fn parse(text: &str) -> Option<Self> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace() && !c.is_control()).flat_map(char::to_uppercase).collect();
        let prefix = compact.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let digits = &compact[prefix.len()..];
        let digits = (!digits.is_empty() && digits.len() <= DIGITS_MAX).then(|| Some(digits.trim_start_matches('0')).filter(|rest| !rest.is_empty()).unwrap_or("0").to_owned());
        compact.chars().any(char::is_alphanumeric).then_some(Self { prefix, digits, compact })
    }

    /// The name as given, or one that ends in the same digits behind zeros.
    fn domain(&self) -> Domain {
        let like = |pattern: String| Domain::from(Term::new("name", Operator::IlikeExactly, pattern));
        let mut any = vec![Domain::from(Term::same_text("name", &self.compact))];
        if let Some(digits) = &self.digits {
            let prefix = escape_like(&self.prefix);
            if self.prefix.is_empty() {
                // Odoo's own "S", and the usual separators of other sequences.
                any.extend([like(format!("S{digits}")), like(format!("%0{digits}")), like(format!("%-{digits}")), like(format!("%/{digits}"))]);
            } else {
                any.extend([like(format!("{prefix}{digits}")), like(format!("{prefix}%0{digits}"))]);
            }
        }
        Domain::any(any)
    }

    /// Whether that name is this number: letters as far as they were given, the same final digits.
    fn is(&self, name: &str) -> bool {
        let Some(other) = Self::parse(name) else { return false };
        self.compact == other.compact || (self.digits.is_some() && self.digits == other.digits && (self.prefix.is_empty() || self.prefix == other.prefix))
    }
}

/// The one order that is meant; an exact name wins. Several with one reference: somebody duplicated the order in Odoo, or used a `clave` again.
fn choose<'a>(records: &'a [Row], asked: &Asked, said: &str) -> Result<&'a Row, ToolError> {
    let name = |row: &Row| rows::text(row, "name").unwrap_or_default();
    let (exact, fitting): (Vec<&Row>, Vec<&Row>) = match asked {
        Asked::Reference(_) => (Vec::new(), records.iter().collect()),
        Asked::Number(number) => {
            let fitting: Vec<&Row> = records.iter().filter(|row| number.is(&name(row))).collect();
            (fitting.iter().copied().filter(|row| Number::parse(&name(row)).is_some_and(|other| other.compact == number.compact)).collect(), fitting)
        }
    };
    match (exact.as_slice(), fitting.as_slice()) {
        ([only], _) | ([], [only]) => Ok(only),
        ([], []) => Err(ToolError::not_found("cotizacion", said)),
        _ => {
            let candidate = |row: &&Row| {
                let customer = rows::link(row, "partner_id").map(|(_, name)| name);
                json!({ "numero": name(row), "cotizacion_id": rows::id(row), "cliente": customer, "total": rows::number(row, "amount_total"), "estado": state(&rows::text(row, "state").unwrap_or_default()) })
            };
            let candidates: Vec<_> = fitting.iter().take(CANDIDATES_MAX).map(candidate).collect();
            Err(ToolError::ambiguous("cotizacion", said, json!(candidates)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn order(id: i64, name: &str) -> Row {
        let Value::Object(row) = json!({ "id": id, "name": name, "state": "draft", "partner_id": { "id": 9, "display_name": "Acme" }, "validity_date": "2026-12-22",
            "amount_untaxed": 340.0, "amount_tax": 48.6, "amount_total": 388.6, "currency_id": { "id": 1, "name": "DOP" }, "order_line": [] })
        else {
            unreachable!("an object")
        };
        row
    }

    #[test]
    fn numbers_are_understood_as_people_say_them() {
        for (asked, name, want) in [
            ("S00012", "S00012", true),
            ("s 00012", "S00012", true),
            ("12", "S00012", true),
            ("S12", "S00012", true),
            ("012", "S00012", true),
            ("12", "S00112", false),
            ("12", "COT/2026/0012", true),
            ("SO12", "S00012", false),
            ("borrador", "BORRADOR", true),
            ("0", "S00000", true),
        ] {
            assert_eq!(Number::parse(asked).unwrap().is(name), want, "{asked} {name}");
        }
        assert_eq!(Number::parse(" - "), None);
        assert_eq!(Number::parse("12345678901234").unwrap().digits, None);
        let domain = Number::parse("S%12").unwrap().domain().to_value().to_string();
        assert!(!domain.contains("\"S%12"), "the caller's wildcard is not one: {domain}");
    }

    #[test]
    fn one_is_chosen_or_asked_about() {
        let records = [order(3, "S00112"), order(2, "COT-0012"), order(1, "S00012")];
        let pick = |text: &str| choose(&records, &Asked::parse(text).unwrap(), text).map(|row| rows::id(row).unwrap()).map_err(|error| error.code.as_str());
        assert_eq!(pick("S00012"), Ok(1));
        assert_eq!(pick("s12"), Ok(1));
        assert_eq!(pick("112"), Ok(3));
        assert_eq!(pick("12"), Err("varios_posibles"));
        assert_eq!(pick("13"), Err("no_encontrado"));
    }

    #[test]
    fn a_lost_write_is_found_by_its_reference() {
        let asked = Asked::parse(" DUNET:0f3a 99bc ").unwrap();
        assert_eq!(asked, Asked::Reference("dunet:0f3a99bc".to_owned()));
        assert_eq!(asked.domain().to_value(), json!([["origin", "=", "dunet:0f3a99bc"]]));
        assert!(matches!(Asked::parse("DUNET-12"), Some(Asked::Number(_))));
        let records = [order(2, "S00013"), order(1, "S00012")];
        let pick = |records: &[Row]| choose(records, &asked, "dunet:0f3a99bc").map(|row| rows::id(row).unwrap()).map_err(|error| error.code.as_str());
        assert_eq!(pick(&records[1..]), Ok(1), "whatever its number");
        assert_eq!(pick(&records), Err("varios_posibles"));
        assert_eq!(pick(&[]), Err("no_encontrado"));
    }

    #[test]
    fn an_order_is_said() {
        let record = order(1, "S00012");
        let priced = || quotation::read_order(&record, "product_uom_id").unwrap();
        let day = |text: &str| text.parse().unwrap();
        let open = output(&record, 1, priced(), (None, None), Vec::new(), day("2026-11-22"), Language::Es);
        assert_eq!(open.frase, "La cotización S doce de Acme está en borrador: trescientos ochenta y ocho pesos con sesenta centavos, vence el veintidós de diciembre.");
        let late = output(&record, 1, priced(), (None, None), Vec::new(), day("2027-01-02"), Language::Es);
        assert!(late.frase.ends_with("centavos.") && late.avisos.len() == 1, "{} {:?}", late.frase, late.avisos);
    }
}
