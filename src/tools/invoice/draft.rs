//! The invoice in Odoo: looking for it, its customer, its currency, its tax, its lines.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value, json};

use super::InvoiceError;
use crate::dgii::{Padron, TaxpayerId};
use crate::domain::statements::{LineKind, MadeInvoice, Statement};
use crate::domain::tenants::Tenant;
use crate::odoo::domain::{Domain, Term};
use crate::odoo::{Fields, OdooClient, OdooError, Page};
use crate::text::{Language, fill};
use crate::tools::sales::crear_cliente::{PARTNER_FIELDS, form_url, kind_of, partner_context, partner_values};
use crate::tools::sales::{rows, vat_forms};

const MOVE: &str = "account.move";
/// Taxes and currencies looked at.
const LOOKED_AT_MAX: u32 = 20;

/// An invoice about to be made.
pub(super) struct Draft<'a> {
    pub(super) odoo: &'a OdooClient,
    pub(super) padron: &'a Padron,
    pub(super) statement: &'a Statement,
    /// Its `invoice_origin`.
    pub(super) reference: &'a str,
    /// Of its lines.
    pub(super) language: Language,
}

/// Why it was not made.
pub(super) enum DraftError {
    /// It was sent, and no answer came.
    Unknown(OdooError),
    /// It was not.
    Not(InvoiceError),
}

impl<E: Into<InvoiceError>> From<E> for DraftError {
    fn from(error: E) -> Self {
        Self::Not(error.into())
    }
}

/// A client of the biller's Odoo that answers in its user's language and zone.
pub(super) fn in_its_language(odoo: &OdooClient, biller: &Tenant) -> OdooClient {
    odoo.with_context(Map::from_iter([("lang".to_owned(), json!(odoo.user_lang().unwrap_or("en_US"))), ("tz".to_owned(), json!(biller.timezone.name()))]))
}

impl Draft<'_> {
    /// The invoice of that reference; it is made when there is none.
    pub(super) async fn find_or_make(&self) -> Result<MadeInvoice, DraftError> {
        if let Some(found) = self.find().await? {
            return Ok(found);
        }
        let company = self.company().await?;
        let (currency, code) = self.currency().await?;
        let tax = self.tax(company).await?;
        let partner = self.partner().await?;
        let values = self.values(partner, currency, &code, tax);
        let id = match self.odoo.create(MOVE, values).await {
            Ok(id) => id,
            Err(error) if error.outcome_unknown() => return Err(DraftError::Unknown(error)),
            Err(error) => return Err(error.into()),
        };
        // It is there; its name is not worth a failure. A draft has none in most versions.
        let name = self.odoo.read(MOVE, &[id], &Fields::new().text("name")).await.ok().and_then(|rows| name_of(rows.first()?));
        Ok(MadeInvoice { odoo_id: id, name, url: form_url(self.odoo, MOVE, id), currency: code, taxed: tax.is_some() })
    }

    /// The invoice of that reference, if there is one; the first where somebody copied it.
    pub(super) async fn find(&self) -> Result<Option<MadeInvoice>, OdooError> {
        let domain = Domain::from(Term::eq("invoice_origin", self.reference)).and(Term::eq("move_type", "out_invoice"));
        let fields = Fields::new().text("name").number("amount_tax").many2one("currency_id", &["name"]);
        let found = self.odoo.search_page(MOVE, &domain, &fields, &Page::first(1).ordered("id")).await?;
        Ok(found.records.first().and_then(|row| {
            let id = rows::id(row)?;
            Some(MadeInvoice {
                odoo_id: id,
                name: name_of(row),
                url: form_url(self.odoo, MOVE, id),
                currency: rows::link_text(row, "currency_id", "name").unwrap_or_default(),
                taxed: rows::number(row, "amount_tax").is_some_and(|tax| tax != 0.0),
            })
        }))
    }

    /// The user's company: its taxes are the ones that fit.
    async fn company(&self) -> Result<i64, InvoiceError> {
        let user = self.odoo.read("res.users", &[self.odoo.uid()], &Fields::new().many2one("company_id", &["name"])).await?;
        user.first().and_then(|row| rows::link(row, "company_id")).map(|(id, _)| id).ok_or_else(|| InvoiceError::Internal("Odoo's user has no company".to_owned()))
    }

    /// Dollars, as the statement is; pesos at the statement's rate where that Odoo has no active dollars.
    async fn currency(&self) -> Result<(i64, String), InvoiceError> {
        let domain = Domain::from(Term::in_("name", ["USD", "DOP"])).and(Term::eq("active", true));
        let found = self.odoo.search_page("res.currency", &domain, &Fields::new().text("name"), &Page::first(LOOKED_AT_MAX).ordered("id")).await?;
        let of = |code: &str| found.records.iter().find(|row| rows::text(row, "name").as_deref() == Some(code)).and_then(rows::id).map(|id| (id, code.to_owned()));
        of("USD").or_else(|| of("DOP").filter(|_| self.statement.usd_rate.is_some())).ok_or(InvoiceError::NoCurrency)
    }

    /// A sale tax of the statement's ITBIS, on top of the price; none where there is no such tax.
    async fn tax(&self, company: i64) -> Result<Option<i64>, InvoiceError> {
        let Some(percent) = self.statement.itbis_percent.to_f64().filter(|percent| *percent > 0.0) else { return Ok(None) };
        let domain = Domain::from(Term::eq("type_tax_use", "sale")).and(Term::eq("amount_type", "percent")).and(Term::eq("amount", percent)).and(Term::eq("company_id", company));
        let found = self.odoo.search_page("account.tax", &domain, &Fields::new().boolean("price_include"), &Page::first(LOOKED_AT_MAX).ordered("id")).await?;
        Ok(found.records.iter().find(|row| !rows::flag(row, "price_include")).and_then(rows::id))
    }

    /// The customer, by RNC (by name where it has none), made as the sales desk makes one when there is none. A customer is looked for first every
    /// time: one whose making was cut off is found by the next try.
    async fn partner(&self) -> Result<i64, InvoiceError> {
        let statement = self.statement;
        let id = statement.rnc.as_deref().and_then(|rnc| TaxpayerId::parse(rnc).ok());
        let same = match &id {
            Some(id) => Domain::from(Term::in_("vat", vat_forms(id))),
            None => Domain::from(Term::same_text("name", &statement.client)),
        };
        let found = self.odoo.search_page("res.partner", &same.and(Term::eq("parent_id", false)), &Fields::new().text("name"), &Page::first(1).ordered("id")).await?;
        if let Some(id) = found.records.first().and_then(rows::id) {
            return Ok(id);
        }
        let fields = Value::Object(self.odoo.fields_get("res.partner", Some(&PARTNER_FIELDS)).await?);
        let country = self.odoo.search_page("res.country", &Term::eq("code", "DO").into(), &Fields::new().text("code"), &Page::first(1)).await?;
        let country = country.records.first().and_then(rows::id);
        let taxpayer = id.as_ref().and_then(|id| self.padron.lookup(id).ok()?.taxpayer);
        let (values, _) = partner_values(&statement.client, id.as_ref(), kind_of(id.as_ref(), &statement.client), taxpayer.as_ref(), &fields, country);
        Ok(self.odoo.with_context(partner_context()).create("res.partner", values).await?)
    }

    fn values(&self, partner: i64, currency: i64, code: &str, tax: Option<i64>) -> Map<String, Value> {
        let statement = self.statement;
        let number = statement.number.unwrap_or_default().to_string();
        let month = format!("{:02}/{}", statement.month % 100, statement.month / 100);
        let say = |key: &str, facts: &[(&str, &str)]| fill(self.language, &format!("portal.invoice.{key}"), facts);
        let priced = |name: String, usd_cents: i64| {
            let taxes: Vec<i64> = tax.into_iter().collect();
            json!([0, 0, { "name": name, "quantity": 1.0, "price_unit": self.price(usd_cents, code), "tax_ids": [[6, 0, taxes]] }])
        };
        let calls: Vec<String> = statement.lines.iter().filter(|line| line.kind == LineKind::Calls).map(|line| format!("{} {}", line.text, line.counted)).collect();
        let mut lines: Vec<Value> = statement
            .lines
            .iter()
            .filter(|line| line.kind != LineKind::Calls || line.amount_usd_cents != 0)
            .map(|line| match line.kind {
                LineKind::Plan => priced(say("plan", &[("plan", &line.text), ("month", &month)]), line.amount_usd_cents),
                LineKind::Calls | LineKind::Correction => priced(line.text.clone(), line.amount_usd_cents),
            })
            .collect();
        for correction in &statement.corrections {
            let number = correction.number.unwrap_or_default().to_string();
            lines.push(priced(say("correction", &[("number", &number), ("note", &correction.note)]), correction.amount_usd_cents));
        }
        if !calls.is_empty() {
            let name = say("calls", &[("count", &statement.counted.to_string()), ("tools", &calls.join(", "))]);
            lines.push(json!([0, 0, { "display_type": "line_note", "name": name }]));
        }
        let values = json!({
            "move_type": "out_invoice",
            "partner_id": partner,
            "currency_id": currency,
            "invoice_origin": self.reference,
            "ref": say("reference", &[("number", &number), ("month", &month)]),
            "invoice_line_ids": lines,
        });
        match values {
            Value::Object(values) => values,
            _ => Map::new(),
        }
    }

    /// Cents of the statement as a price: dollars, or pesos at its rate, to the cent.
    fn price(&self, usd_cents: i64, code: &str) -> f64 {
        let usd = Decimal::new(usd_cents, 2);
        let amount = if code == "DOP" {
            (usd * self.statement.usd_rate.unwrap_or(Decimal::ONE)).round_dp_with_strategy(2, rust_decimal::RoundingStrategy::MidpointAwayFromZero)
        } else {
            usd
        };
        amount.to_f64().unwrap_or_default()
    }
}

/// Its number, once it has one: drafts are called `/`, or nothing.
fn name_of(row: &rows::Row) -> Option<String> {
    rows::text(row, "name").filter(|name| name != "/")
}
