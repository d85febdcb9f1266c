//! What Odoo says a quotation would cost, without writing it, and how an order reads once it exists.
//!
//! The preview is `sale.order.onchange` with no field names: Odoo fills a whole form in memory, with the customer's price list, fiscal
//! position and taxes. Every field given in `values` must also stand in `fields_spec`. Before Odoo 17 there is no such call.

use serde_json::{Map, Value, json};

use super::rows::{self, Row};
use crate::odoo::{Fields, OdooClient};
use crate::tools::error::ToolError;

/// One line to be priced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LineOrder {
    pub(super) product: i64,
    pub(super) quantity: f64,
    /// Percent; none leaves it to the price list.
    pub(super) discount: Option<f64>,
}

impl LineOrder {
    pub(super) fn values(&self) -> Value {
        let mut values = json!({ "product_id": self.product, "product_uom_qty": self.quantity });
        if let Some(discount) = self.discount {
            values["discount"] = json!(discount);
        }
        values
    }
}

/// A line as Odoo computed it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PricedLine {
    pub(super) product: i64,
    pub(super) name: String,
    pub(super) code: Option<String>,
    pub(super) quantity: f64,
    pub(super) unit: Option<String>,
    pub(super) unit_price: f64,
    pub(super) discount: f64,
    /// Without taxes.
    pub(super) subtotal: f64,
    /// With taxes.
    pub(super) total: f64,
}

/// A quotation as Odoo computed it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Priced {
    pub(super) lines: Vec<PricedLine>,
    pub(super) untaxed: f64,
    pub(super) tax: f64,
    pub(super) total: f64,
    pub(super) currency: Option<String>,
    pub(super) price_list: Option<String>,
    /// ISO.
    pub(super) valid_until: Option<String>,
    /// What Odoo would warn the salesperson about.
    pub(super) warning: Option<String>,
}

/// What is read of an order, in the preview, after creating it and when showing it.
pub(super) fn fields(odoo: &OdooClient) -> Fields {
    let line = Fields::new()
        .texts(&["display_type", "name"])
        .numbers(&["product_uom_qty", "price_unit", "discount", "price_subtotal", "price_total"])
        .many2one("product_id", &["default_code"])
        .many2one(odoo.version().sale_line_uom_field(), &[]);
    Fields::new()
        .texts(&["name", "state", "validity_date"])
        .numbers(&["amount_untaxed", "amount_tax", "amount_total"])
        .many2one("partner_id", &[])
        .many2one("currency_id", &["name"])
        .many2one("pricelist_id", &[])
        .x2many("order_line", "sale.order.line", line)
}

/// Prices these lines for that customer. Writes nothing.
///
/// # Errors
/// Those of Odoo. Only for servers whose version has [`crate::odoo::OdooVersion::has_onchange_spec`].
pub(super) async fn price(odoo: &OdooClient, partner: i64, lines: &[LineOrder], valid_until: Option<&str>) -> Result<Priced, ToolError> {
    let order_lines: Vec<Value> = lines.iter().enumerate().map(|(index, line)| json!([0, format!("v{index}"), line.values()])).collect();
    let mut values = json!({ "partner_id": partner, "order_line": order_lines });
    if let Some(day) = valid_until {
        values["validity_date"] = json!(day);
    }
    let fields = fields(odoo);
    let mut named = Map::new();
    named.insert("values".to_owned(), values);
    named.insert("field_names".to_owned(), json!([]));
    named.insert("fields_spec".to_owned(), fields.specification());
    let answer = odoo.call_read("sale.order", "onchange", Some(&[]), named).await?;
    preview(answer, &fields, lines, odoo.version().sale_line_uom_field()).ok_or_else(|| ToolError::internal("sale.order onchange answered another shape"))
}

fn preview(mut answer: Value, fields: &Fields, lines: &[LineOrder], unit_field: &str) -> Option<Priced> {
    let warning = answer.get("warning").and_then(|warning| warning.get("message")).and_then(Value::as_str).map(str::to_owned);
    let Value::Object(mut record) = answer.get_mut("value")?.take() else { return None };
    // x2many come as commands `[0, "v1", {…}]`; they are read like records.
    if let Some(Value::Array(commands)) = record.get_mut("order_line") {
        let values: Vec<Value> = commands
            .iter_mut()
            .filter_map(|command| {
                let command = command.as_array_mut()?;
                (command.first()?.as_i64()? == 0).then(|| command.pop()).flatten()
            })
            .collect();
        *commands = values;
    }
    fields.normalize(&mut record);
    let mut priced = read_order(&record, unit_field)?;
    // The form may not give the amounts of lines that have no product for it; the caller relies on one line for each of theirs.
    if priced.lines.len() != lines.len() {
        return None;
    }
    priced.warning = warning;
    Some(priced)
}

/// An order's record, in the one shape, as [`Priced`]. Notes and sections are no lines.
pub(super) fn read_order(record: &Row, unit_field: &str) -> Option<Priced> {
    let lines = record
        .get("order_line")
        .and_then(Value::as_array)?
        .iter()
        .filter_map(Value::as_object)
        .filter(|line| rows::text(line, "display_type").is_none())
        .filter_map(|line| read_line(line, unit_field))
        .collect();
    Some(Priced {
        lines,
        untaxed: rows::cents(rows::number(record, "amount_untaxed")?),
        tax: rows::cents(rows::number(record, "amount_tax")?),
        total: rows::cents(rows::number(record, "amount_total")?),
        currency: rows::link_text(record, "currency_id", "name"),
        price_list: rows::link(record, "pricelist_id").map(|(_, name)| name).filter(|name| !name.is_empty()),
        valid_until: rows::text(record, "validity_date"),
        warning: None,
    })
}

fn read_line(line: &Row, unit_field: &str) -> Option<PricedLine> {
    let (product, shown) = rows::link(line, "product_id")?;
    let code = line.get("product_id").and_then(|product| product.get("default_code")).and_then(Value::as_str).filter(|code| !code.is_empty());
    let shown = if shown.is_empty() { rows::text(line, "name").map(|text| rows::first_line(&text).to_owned()).unwrap_or_default() } else { shown };
    let name = code.and_then(|code| shown.strip_prefix(&format!("[{code}] "))).unwrap_or(&shown).to_owned();
    let number = |field: &str| rows::number(line, field).unwrap_or(0.0);
    Some(PricedLine {
        product,
        name,
        code: code.map(str::to_owned),
        quantity: rows::micros(number("product_uom_qty")),
        unit: rows::link(line, unit_field).map(|(_, name)| name).filter(|name| !name.is_empty()),
        unit_price: rows::micros(number("price_unit")),
        discount: rows::micros(number("discount")),
        subtotal: rows::cents(number("price_subtotal")),
        total: rows::cents(number("price_total")),
    })
}

/// The customer's page of an order and its PDF: absolute addresses that open without signing in.
///
/// # Errors
/// Those of Odoo. A missing access token is made by Odoo on the way, so the request is not sent twice.
pub(super) async fn links(odoo: &OdooClient, order: i64) -> Result<(String, String), ToolError> {
    let answer = odoo.call_write("sale.order", "get_portal_url", Some(&[order]), Map::new()).await?;
    let path = answer.as_str().filter(|path| path.starts_with('/')).ok_or_else(|| ToolError::internal("get_portal_url answered no path"))?;
    Ok(absolute(odoo.base_url().as_str(), path))
}

fn absolute(base: &str, path: &str) -> (String, String) {
    let page = format!("{}{path}", base.trim_end_matches('/'));
    let joint = if page.contains('?') { '&' } else { '?' };
    let pdf = format!("{page}{joint}report_type=pdf&download=true");
    (page, pdf)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Fields {
        let line = Fields::new().texts(&["display_type", "name"]).number("price_unit").many2one("product_id", &["default_code"]).many2one("product_uom_id", &[]);
        Fields::new().text("validity_date").numbers(&["amount_untaxed", "amount_tax", "amount_total"]).many2one("currency_id", &["name"]).many2one("pricelist_id", &[]).x2many(
            "order_line",
            "sale.order.line",
            line,
        )
    }

    /// As Odoo 19 answered it (trimmed).
    fn answer() -> Value {
        json!({"warning": {"title": "Crédito", "message": "Límite superado", "type": "dialog"}, "value": {
            "pricelist_id": {"id": 1, "display_name": "Predeterminado (DOP)"}, "currency_id": {"id": 74, "name": "DOP", "display_name": "DOP"},
            "amount_untaxed": 340.0, "amount_tax": 48.600_000_000_000_02, "amount_total": 388.6, "validity_date": "2026-12-22",
            "order_line": [
                [0, "v0", {"product_id": {"id": 53, "display_name": "[FURN_5555] Caja de organización", "default_code": "FURN_5555"}, "name": "[FURN_5555] Caja de organización", "product_uom_qty": 3.0, "product_uom_id": {"id": 1, "display_name": "Unidades"}, "price_unit": 100.0, "discount": 10.0, "price_subtotal": 270.0, "price_total": 318.6, "display_type": false}],
                [0, "v1", {"product_id": {"id": 5, "display_name": "Silla", "default_code": false}, "name": "Silla\nMás texto", "product_uom_qty": 1.0, "product_uom_id": false, "price_unit": 70.0, "discount": 0.0, "price_subtotal": 70.0, "price_total": 70.0, "display_type": false}]]}})
    }

    const LINE: LineOrder = LineOrder { product: 53, quantity: 3.0, discount: None };

    #[test]
    fn a_preview_is_read() {
        let priced = preview(answer(), &spec(), &[LINE, LINE], "product_uom_id").unwrap();
        assert_eq!((priced.untaxed, priced.tax, priced.total), (340.0, 48.6, 388.6));
        assert_eq!((priced.currency.as_deref(), priced.price_list.as_deref(), priced.valid_until.as_deref()), (Some("DOP"), Some("Predeterminado (DOP)"), Some("2026-12-22")));
        assert_eq!(priced.warning.as_deref(), Some("Límite superado"));
        assert_eq!((priced.lines[0].name.as_str(), priced.lines[0].discount, priced.lines[0].unit.as_deref()), ("Caja de organización", 10.0, Some("Unidades")));
        assert_eq!((priced.lines[1].name.as_str(), priced.lines[1].unit.as_deref()), ("Silla", None));
        assert_eq!((priced.lines[0].code.as_deref(), priced.lines[1].code.as_deref()), (Some("FURN_5555"), None));
    }

    #[test]
    fn another_shape_is_no_preview() {
        assert_eq!(preview(answer(), &spec(), &[LINE], "product_uom_id"), None, "a line too many");
        for wrong in [json!({}), json!(null), json!({"value": []}), json!({"value": {"order_line": [[0, "v0"]]}}), json!({"value": {"order_line": []}})] {
            assert_eq!(preview(wrong.clone(), &spec(), &[LINE], "product_uom_id"), None, "{wrong}");
        }
    }

    #[test]
    fn notes_are_no_lines() {
        let Value::Object(record) =
            json!({"amount_untaxed": 1, "amount_tax": 0, "amount_total": 1, "order_line": [{"id": 1, "display_type": "line_note", "name": "x", "product_id": null}]})
        else {
            unreachable!()
        };
        assert!(read_order(&record, "product_uom_id").unwrap().lines.is_empty());
    }

    #[test]
    fn links_are_absolute() {
        let (page, pdf) = absolute("https://erp.nova.do/", "/my/orders/31?access_token=a-b");
        assert_eq!(page, "https://erp.nova.do/my/orders/31?access_token=a-b");
        assert_eq!(pdf, "https://erp.nova.do/my/orders/31?access_token=a-b&report_type=pdf&download=true");
        assert_eq!(absolute("http://h/odoo/", "/my/orders/1").1, "http://h/odoo/my/orders/1?report_type=pdf&download=true");
    }
}
