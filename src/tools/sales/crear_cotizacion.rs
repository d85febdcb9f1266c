//! `crear_cotizacion`: a quotation for a customer, first shown with Odoo's own prices and taxes, then written as a draft.
//!
//! The operation is marked in `origin` ("source document"), Odoo's field for what an order came from; `client_order_ref` is the
//! customer's own reference, printed on documents, and stays free. Notes become a note line: `note` holds the company's terms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::partners;
use super::products::{self, Product};
use super::quotation::{self, LineOrder, Priced};
use super::rows;
use crate::odoo::OdooClient;
use crate::text::{Language, fill};
use crate::tools::cx::ToolCx;
use crate::tools::error::ToolError;
use crate::tools::say;
use crate::tools::tool::{Pack, Planned, WriteTool};

/// Greatest quantity of a line.
const QUANTITY_MAX: f64 = 1_000_000.0;
/// Lines that a sentence names one by one.
const SAID_MAX: usize = 3;
/// Amounts that differ by less are equal: half a cent.
const SAME_AMOUNT: f64 = 0.005;

/// See the module.
pub struct CrearCotizacion;

/// One line asked for.
#[derive(Clone, Deserialize, JsonSchema)]
pub struct LineInput {
    /// Producto: su id (de buscar_productos), su código, su código de barras o su nombre.
    #[schemars(length(min = 1, max = 120))]
    pub producto: String,
    /// Cantidad. Por defecto 1.
    #[schemars(range(max = 1_000_000))]
    pub cantidad: Option<f64>,
    /// Descuento de esta línea, en %. Por defecto el de la lista del cliente.
    #[schemars(range(min = 0, max = 100))]
    pub descuento: Option<f64>,
}

/// The arguments.
#[derive(Deserialize, JsonSchema)]
pub struct Input {
    /// Cliente: su id (de buscar_cliente), RNC, cédula, teléfono, correo o nombre.
    #[schemars(length(min = 1, max = 120))]
    pub cliente: String,
    /// Qué se cotiza.
    #[schemars(length(min = 1, max = 50))]
    pub lineas: Vec<LineInput>,
    /// Nota que el cliente verá en la cotización.
    #[schemars(length(max = 1000))]
    pub notas: Option<String>,
    /// Días de validez desde hoy. Por defecto los que use la empresa.
    #[schemars(range(min = 1, max = 365))]
    pub vigencia_dias: Option<u32>,
}

/// A line as it will be, or was, written.
#[derive(Clone, Serialize, JsonSchema)]
pub struct Line {
    /// Id del producto.
    pub producto_id: i64,
    /// Nombre del producto.
    pub producto: String,
    /// Código.
    pub codigo: Option<String>,
    /// Cantidad.
    pub cantidad: f64,
    /// Unidad de medida.
    pub unidad: Option<String>,
    /// Precio unitario.
    pub precio: f64,
    /// Descuento, en %.
    pub descuento: Option<f64>,
    /// Importe sin impuestos.
    pub subtotal: f64,
    /// Importe con impuestos.
    pub total: f64,
}

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

/// What would be written.
#[derive(Serialize, JsonSchema)]
pub struct Preview {
    /// Cliente.
    pub cliente: String,
    /// Id del cliente.
    pub cliente_id: i64,
    /// Líneas con sus precios.
    pub lineas: Vec<Line>,
    /// Sin impuestos.
    pub subtotal: f64,
    /// ITBIS y otros. Ausente si el total es aproximado.
    pub impuestos: Option<f64>,
    /// Total.
    pub total: f64,
    /// Moneda (ISO 4217).
    pub moneda: Option<String>,
    /// Lista de precios.
    pub lista_precios: Option<String>,
    /// Hasta cuándo vale (ISO).
    pub vence_el: Option<String>,
    /// Nota.
    pub notas: Option<String>,
    /// Si los precios son de lista y sin impuestos.
    pub aproximado: bool,
}

/// The result of either step.
#[derive(Default, Serialize, JsonSchema)]
pub struct Output {
    /// Lo que se creará al confirmar.
    pub vista_previa: Option<Preview>,
    /// Número de la cotización.
    pub numero: Option<String>,
    /// Id en Odoo.
    pub cotizacion_id: Option<i64>,
    /// Cliente.
    pub cliente: Option<String>,
    /// Sin impuestos.
    pub subtotal: Option<f64>,
    /// ITBIS y otros.
    pub impuestos: Option<f64>,
    /// Total.
    pub total: Option<f64>,
    /// Moneda (ISO 4217).
    pub moneda: Option<String>,
    /// Líneas creadas.
    pub lineas: Option<Vec<Line>>,
    /// Hasta cuándo vale (ISO).
    pub vence_el: Option<String>,
    /// Página para el cliente: se abre sin contraseña; permite ver, firmar y descargar.
    pub enlace: Option<String>,
    /// El PDF, sin contraseña.
    pub enlace_pdf: Option<String>,
    /// Lo que conviene saber.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avisos: Vec<String>,
    /// Para decir en voz alta.
    pub frase: String,
}

impl WriteTool for CrearCotizacion {
    const NAME: &'static str = "crear_cotizacion";
    const TITLE: &'static str = "Crear cotización";
    const ABOUT: &'static str = "Úsela para cotizar productos a un cliente que ya existe: muestra precios e ITBIS y, al confirmar, crea el borrador con número, total y enlace. \
        No la envía ni la convierte en pedido. Cliente nuevo: crear_cliente; cotización ya hecha: ver_cotizacion.";
    const PACKS: &'static [Pack] = &[Pack::Voice, Pack::Sales, Pack::Writes];
    type Input = Input;
    type Plan = Plan;
    type Output = Output;

    async fn plan(cx: &ToolCx, input: Input) -> Result<Planned<Plan, Output>, ToolError> {
        check(cx, &input.lineas)?;
        let odoo = cx.odoo().await?;
        let asked: Vec<String> = input.lineas.iter().map(|line| line.producto.clone()).collect();
        // Side by side: neither needs the other. The customer's doubt is told first.
        let (customer, products) = tokio::join!(partners::resolve(cx, &odoo, &input.cliente), products::resolve(cx, &odoo, &asked));
        let (customer, products) = (customer?, products?);
        let orders: Vec<LineOrder> = input
            .lineas
            .iter()
            .zip(&products)
            .map(|(line, product)| LineOrder { product: product.id, quantity: line.cantidad.unwrap_or(1.0), discount: line.descuento })
            .collect();
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
            frase: preview_phrase(plan, cx.language()),
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
        let lines: Vec<Line> = made.priced.lines.iter().map(|line| written_line(line, &plan.lines)).collect();
        Ok(Output {
            frase: created_phrase(&made, &plan.customer_name, cx.language()),
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

fn check(cx: &ToolCx, lines: &[LineInput]) -> Result<(), ToolError> {
    for (index, line) in lines.iter().enumerate() {
        if !line.cantidad.is_none_or(|quantity| quantity > 0.0 && quantity <= QUANTITY_MAX) {
            return Err(ToolError::argument(cx.say("detalles.cantidad", &[("campo", &format!("lineas.{index}.cantidad")), ("limite", "1000000")])));
        }
        if !line.descuento.is_none_or(|discount| (0.0..=100.0).contains(&discount)) {
            return Err(ToolError::argument(cx.say("detalles.descuento", &[("campo", &format!("lineas.{index}.descuento"))])));
        }
    }
    Ok(())
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

fn lines(priced: &Priced, products: &[Product]) -> Vec<Line> {
    priced
        .lines
        .iter()
        .zip(products)
        .map(|(line, product)| Line {
            producto_id: line.product,
            producto: product.name.clone(),
            codigo: product.code.clone(),
            cantidad: line.quantity,
            unidad: line.unit.clone(),
            precio: line.unit_price,
            descuento: Some(line.discount).filter(|discount| *discount != 0.0),
            subtotal: line.subtotal,
            total: line.total,
        })
        .collect()
}

/// A written line, with the name and code under which it was previewed.
fn written_line(line: &quotation::PricedLine, previewed: &[Line]) -> Line {
    let known = previewed.iter().find(|known| known.producto_id == line.product);
    Line {
        producto_id: line.product,
        producto: known.map_or_else(|| line.name.clone(), |known| known.producto.clone()),
        codigo: known.and_then(|known| known.codigo.clone()),
        cantidad: line.quantity,
        unidad: line.unit.clone(),
        precio: line.unit_price,
        descuento: Some(line.discount).filter(|discount| *discount != 0.0),
        subtotal: line.subtotal,
        total: line.total,
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
    let record = if odoo.version().has_web_save() {
        let named = Map::from_iter([("vals".to_owned(), Value::Object(values)), ("specification".to_owned(), fields.specification())]);
        let mut answer = odoo.call_write("sale.order", "web_save", Some(&[]), named).await?;
        let record = answer.as_array_mut().and_then(|records| records.first_mut()).map(Value::take);
        let Some(Value::Object(mut record)) = record else { return Err(unreadable()) };
        fields.normalize(&mut record);
        record
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

fn preview_phrase(plan: &Plan, language: Language) -> String {
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

fn created_phrase(made: &Made, customer: &str, language: Language) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(lines: usize, name: &str) -> Plan {
        let line = Line {
            producto_id: 53,
            producto: name.to_owned(),
            codigo: None,
            cantidad: 3.0,
            unidad: None,
            precio: 100.0,
            descuento: None,
            subtotal: 300.0,
            total: 354.0,
        };
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
            preview_phrase(&plan(1, "Silla"), Language::Es),
            "Para Acme Corporation: tres de Silla. Total trescientos ochenta y ocho pesos con sesenta centavos, \
             con cuarenta y ocho pesos con sesenta centavos de impuestos incluidos. ¿La confirmo?"
        );
        for (lines, name) in [(3, "Escritorio personalizable (Blanco, Aluminio)"), (12, "Silla"), (50, "Ñ")] {
            let said = preview_phrase(&plan(lines, name), Language::Es);
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
