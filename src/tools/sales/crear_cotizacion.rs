//! `crear_cotizacion`: a quotation for a customer, first shown with Odoo's own prices and taxes, then written as a draft.
//!
//! The operation is marked in `origin` ("source document"), Odoo's field for what an order came from; `client_order_ref` is the
//! customer's own reference, printed on documents, and stays free. Notes become a note line: `note` holds the company's terms.

use serde::Serialize;
use serde_json::{Map, Value, json};

mod said;
mod shape;

use super::line::Line;
use super::partners;
use super::products::{self, Product};
use super::quotation::{self, LineOrder, Priced};
use super::rows;
use crate::odoo::domain::Term;
use crate::odoo::{OdooClient, Page};
use crate::tools::cx::ToolCx;
use crate::tools::error::ToolError;
use crate::tools::tool::{Pack, Planned, WriteTool};

/// Amounts that differ by less are equal: half a cent.
const SAME_AMOUNT: f64 = 0.005;

pub use shape::{Input, LineInput, Output, Preview};

/// See the module.
pub struct CrearCotizacion;

/// What will be written.
#[derive(Serialize)]
pub struct Plan {
    customer: i64,
    customer_name: String,
    lines: Vec<Line>,
    /// The discounts asked for; the others are the price list's.
    discounts: Vec<Option<f64>>,
    notes: Option<String>,
    valid_days: Option<u32>,
    untaxed: f64,
    tax: f64,
    total: f64,
    currency: Option<String>,
    price_list: Option<String>,
    /// Computed from list prices, because this Odoo cannot compute without writing.
    approximate: bool,
    /// Follows from the day it is confirmed.
    #[serde(skip)]
    valid_until: Option<String>,
    #[serde(skip)]
    notices: Vec<String>,
}

impl WriteTool for CrearCotizacion {
    const NAME: &'static str = "crear_cotizacion";
    const TITLE: &'static str = "Crear cotización";
    const ABOUT: &'static str = "Úsela para cotizar productos a un cliente que ya existe: muestra precios e ITBIS y, al confirmar, crea el borrador con número, total y enlace. \
        No la envía ni la convierte en pedido. Cliente nuevo: crear_cliente; cotización ya hecha: ver_cotizacion.";
    const PACKS: &'static [Pack] = &[Pack::Voice, Pack::Sales, Pack::Writes];
    const NEEDS: &'static [(&'static str, &'static str)] =
        &[("res.partner", "read"), ("product.product", "read"), ("sale.order", "read"), ("sale.order", "create"), ("sale.order.line", "create")];
    type Input = Input;
    type Plan = Plan;
    type Output = Output;

    async fn plan(cx: &ToolCx, input: Input) -> Result<Planned<Plan, Output>, ToolError> {
        let odoo = cx.odoo().await?;
        let asked: Vec<String> = input.lineas.iter().map(|line| line.producto.clone()).collect();
        // Side by side: neither needs the other. The customer's doubt is told first.
        let (customer, products) = tokio::join!(partners::resolve(cx, &odoo, &input.cliente), products::resolve(cx, &odoo, &asked));
        let (customer, products) = (customer?, products?);
        let orders: Vec<LineOrder> =
            input.lineas.iter().zip(&products).map(|(line, product)| LineOrder { product: product.id, quantity: line.cantidad.unwrap_or(1.0), discount: line.descuento }).collect();
        let valid_until = input.vigencia_dias.and_then(|days| cx.today().checked_add_days(chrono::Days::new(u64::from(days)))).map(|day| day.to_string());
        let (priced, approximate) = if odoo.version().has_onchange_spec() {
            (quotation::price(&odoo, customer.cliente_id, &orders, valid_until.as_deref()).await?, false)
        } else {
            (by_list(&orders, &products, valid_until), true)
        };
        let mut notices: Vec<String> = priced.warning.clone().into_iter().collect();
        if approximate {
            notices.push(cx.say("avisos.total_aproximado", &[]));
        }
        Ok(Planned::Write(Plan {
            customer: customer.cliente_id,
            customer_name: customer.nombre,
            lines: lines(&priced, &products),
            discounts: orders.iter().map(|order| order.discount).collect(),
            notes: input.notas.map(|notes| notes.trim().to_owned()).filter(|notes| !notes.is_empty()),
            valid_days: input.vigencia_dias,
            untaxed: priced.untaxed,
            tax: priced.tax,
            total: priced.total,
            currency: priced.currency,
            price_list: priced.price_list,
            approximate,
            valid_until: priced.valid_until,
            notices,
        }))
    }

    fn preview(cx: &ToolCx, plan: &Plan) -> Output {
        let tax = (!plan.approximate).then_some(plan.tax);
        Output {
            vista_previa: Some(Preview {
                cliente: plan.customer_name.clone(),
                cliente_id: plan.customer,
                lineas: plan.lines.clone(),
                subtotal: plan.untaxed,
                impuestos: tax,
                total: plan.total,
                moneda: plan.currency.clone(),
                lista_precios: plan.price_list.clone(),
                vence_el: plan.valid_until.clone(),
                notas: plan.notes.clone(),
                aproximado: plan.approximate,
            }),
            subtotal: Some(plan.untaxed),
            impuestos: tax,
            total: Some(plan.total),
            moneda: plan.currency.clone(),
            avisos: plan.notices.clone(),
            frase: said::preview_phrase(plan, cx.language()),
            ..Output::default()
        }
    }

    async fn execute(cx: &ToolCx, plan: Plan) -> Result<Output, ToolError> {
        let odoo = cx.odoo().await?;
        let made = create(&odoo, values(cx, &plan)).await?;
        let mut avisos = plan.notices.clone();
        if !plan.approximate && (made.priced.total - plan.total).abs() >= SAME_AMOUNT {
            avisos.push(cx.say("avisos.total_cambio", &[("total", &format!("{:.2}", made.priced.total)), ("vista", &format!("{:.2}", plan.total))]));
        }
        // The quotation is there: a missing link must not look like a failure.
        let (enlace, enlace_pdf) = match quotation::links(&odoo, made.id).await {
            Ok((page, pdf)) => (Some(page), Some(pdf)),
            Err(error) => {
                let detail = cx.say(&format!("errores.{}.mensaje", error.code.as_str()), &[("detalle", "")]);
                avisos.push(cx.say("avisos.sin_enlace", &[("detalle", detail.trim())]));
                (None, None)
            }
        };
        let frase = said::created_phrase(&made, &plan.customer_name, cx.language());
        let lines: Vec<Line> = made.priced.lines.into_iter().map(|line| written_line(line, &plan.lines)).collect();
        Ok(Output {
            frase,
            numero: Some(made.number),
            cotizacion_id: Some(made.id),
            cliente: Some(plan.customer_name),
            subtotal: Some(made.priced.untaxed),
            impuestos: Some(made.priced.tax),
            total: Some(made.priced.total),
            moneda: made.priced.currency,
            lineas: Some(lines),
            vence_el: made.priced.valid_until,
            enlace,
            enlace_pdf,
            avisos,
            vista_previa: None,
        })
    }
}

/// Before Odoo 17: list prices and the discounts asked for, no taxes.
fn by_list(orders: &[LineOrder], products: &[Product], valid_until: Option<String>) -> Priced {
    let lines: Vec<quotation::PricedLine> = orders
        .iter()
        .zip(products)
        .map(|(order, product)| {
            let discount = order.discount.unwrap_or(0.0);
            let subtotal = rows::cents(product.list_price * order.quantity * (1.0 - discount / 100.0));
            quotation::PricedLine {
                product: product.id,
                name: product.name.clone(),
                code: product.code.clone(),
                quantity: order.quantity,
                unit: product.unit.clone(),
                unit_price: product.list_price,
                discount,
                subtotal,
                total: subtotal,
            }
        })
        .collect();
    let untaxed = rows::cents(lines.iter().map(|line| line.subtotal).sum());
    Priced { lines, untaxed, tax: 0.0, total: untaxed, currency: products.first().and_then(|product| product.currency.clone()), price_list: None, valid_until, warning: None }
}

/// The lines under the names and codes by which the products were found.
fn lines(priced: &Priced, products: &[Product]) -> Vec<Line> {
    priced.lines.iter().zip(products).map(|(line, product)| Line { producto: product.name.clone(), codigo: product.code.clone(), ..Line::from(line.clone()) }).collect()
}

/// A written line, with the name and code under which it was previewed.
fn written_line(line: quotation::PricedLine, previewed: &[Line]) -> Line {
    let line = Line::from(line);
    match previewed.iter().find(|known| known.producto_id == line.producto_id) {
        Some(known) => Line { producto: known.producto.clone(), codigo: known.codigo.clone(), ..line },
        None => line,
    }
}

/// The fields of `sale.order` to write. Prices and taxes are left to Odoo, which computed the preview too.
fn values(cx: &ToolCx, plan: &Plan) -> Map<String, Value> {
    let mut commands: Vec<Value> = plan
        .lines
        .iter()
        .zip(&plan.discounts)
        .map(|(line, discount)| json!([0, 0, LineOrder { product: line.producto_id, quantity: line.cantidad, discount: *discount }.values()]))
        .collect();
    if let Some(notes) = &plan.notes {
        commands.push(json!([0, 0, { "display_type": "line_note", "name": notes }]));
    }
    let mut values = Map::new();
    values.insert("partner_id".to_owned(), json!(plan.customer));
    values.insert("origin".to_owned(), json!(cx.reference()));
    values.insert("order_line".to_owned(), Value::Array(commands));
    if let (Some(_), Some(day)) = (plan.valid_days, &plan.valid_until) {
        values.insert("validity_date".to_owned(), json!(day));
    }
    values
}

/// A quotation as it was written.
struct Made {
    id: i64,
    number: String,
    priced: Priced,
}

/// Writes it and reads it back: one request on Odoo 17 and later.
async fn create(odoo: &OdooClient, values: Map<String, Value>) -> Result<Made, ToolError> {
    let fields = quotation::fields(odoo);
    let origin = values.get("origin").cloned().unwrap_or_default();
    let record = if odoo.version().has_web_save() {
        let named = Map::from_iter([("vals".to_owned(), Value::Object(values)), ("specification".to_owned(), fields.specification())]);
        let mut answer = odoo.call_write("sale.order", "web_save", Some(&[]), named).await?;
        match answer.as_array_mut().and_then(|records| records.first_mut()).map(Value::take) {
            Some(Value::Object(mut record)) => {
                fields.normalize(&mut record);
                record
            }
            // XML-RPC's "cannot marshal": it was written, and Odoo could not say what. Its origin finds it.
            _ => {
                let found = odoo.search_page("sale.order", &Term::eq("origin", origin).into(), &fields, &Page::first(1).ordered("id desc")).await;
                found.ok().and_then(|found| found.records.into_iter().next()).ok_or_else(unreadable)?
            }
        }
    } else {
        let id = odoo.create("sale.order", values).await?;
        odoo.read("sale.order", &[id], &fields).await.ok().and_then(|records| records.into_iter().next()).ok_or_else(unreadable)?
    };
    let made = || Some(Made { id: rows::id(&record)?, number: rows::text(&record, "name")?, priced: quotation::read_order(&record, odoo.version().sale_line_uom_field())? });
    made().ok_or_else(unreadable)
}

/// Odoo wrote it but what came back cannot be read: whoever called must look before doing it again.
fn unreadable() -> ToolError {
    let mut error = ToolError::internal("the order was written, but what came back is not an order");
    error.outcome_unknown = true;
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Language;
    use crate::tools::say;

    fn plan(lines: usize, name: &str) -> Plan {
        let line = Line { producto_id: 53, producto: name.to_owned(), codigo: None, cantidad: 3.0, unidad: None, precio: 100.0, descuento: None, subtotal: 300.0, total: 354.0 };
        Plan {
            customer: 9,
            customer_name: "Acme Corporation".to_owned(),
            lines: vec![line; lines],
            discounts: vec![None; lines],
            notes: None,
            valid_days: None,
            untaxed: 340.0,
            tax: 48.6,
            total: 388.6,
            currency: Some("DOP".to_owned()),
            price_list: None,
            approximate: false,
            valid_until: Some("2026-12-22".to_owned()),
            notices: vec!["x".to_owned()],
        }
    }

    #[test]
    fn the_preview_is_said_with_its_total() {
        assert_eq!(
            said::preview_phrase(&plan(1, "Silla"), Language::Es),
            "Para Acme Corporation: tres de Silla. Total trescientos ochenta y ocho pesos con sesenta centavos, \
             con cuarenta y ocho pesos con sesenta centavos de impuestos incluidos. ¿La confirmo?"
        );
        for (lines, name) in [(3, "Escritorio personalizable (Blanco, Aluminio)"), (12, "Silla"), (50, "Ñ")] {
            let said = said::preview_phrase(&plan(lines, name), Language::Es);
            assert!(said.chars().count() <= say::PHRASE_CHARS_MAX && said.contains("Total trescientos"), "{said}");
        }
    }

    #[test]
    fn a_plan_is_the_same_whatever_the_day() {
        let json = serde_json::to_string(&plan(1, "Silla")).unwrap();
        let mut tomorrow = plan(1, "Silla");
        tomorrow.valid_until = Some("2026-12-23".to_owned());
        tomorrow.notices.clear();
        assert_eq!(serde_json::to_string(&tomorrow).unwrap(), json);
        let mut dearer = plan(1, "Silla");
        dearer.total = 389.6;
        assert_ne!(serde_json::to_string(&dearer).unwrap(), json);
    }

    #[test]
    fn old_servers_get_list_prices() {
        let orders = [LineOrder { product: 1, quantity: 2.0, discount: Some(10.0) }];
        let priced = by_list(&orders, &products::sample(), None);
        assert_eq!((priced.untaxed, priced.total, priced.lines[0].unit_price), (180.0, 180.0, 100.0));
    }
}
