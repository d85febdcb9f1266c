//! The made-up companies. Everything is fictitious: names, RNC (with right check digits, so that tools accept them),
//! telephone numbers (555-01xx) and addresses at example.com.

mod clinic;
mod hardware;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::call::Env;
use super::sale::{self, Purpose};
use super::schema::model;
use super::store::{Row, Store};
use super::write;
use super::{Sample, SandboxRights};

/// The id of the first user; 1 is Odoo's own robot.
pub(super) const USER: i64 = 2;

const DOP: i64 = 1;
const ITBIS: i64 = 1;
const EXEMPT: i64 = 2;
const WHOLESALE: i64 = 2;

/// A customer or one of its contacts.
struct Customer {
    name: &'static str,
    is_company: bool,
    /// The first eight digits of an RNC; "" for none.
    rnc: &'static str,
    phone: &'static str,
    email: &'static str,
    street: &'static str,
    city: &'static str,
    /// Has the price list with the discount.
    wholesale: bool,
    /// The company this contact belongs to, by name; "" for none.
    parent: &'static str,
}

const fn customer(name: &'static str, is_company: bool, rnc: &'static str, phone: &'static str, email: &'static str, street: &'static str, city: &'static str) -> Customer {
    Customer { name, is_company, rnc, phone, email, street, city, wholesale: false, parent: "" }
}

impl Customer {
    const fn wholesale(mut self) -> Customer {
        self.wholesale = true;
        self
    }

    const fn of(mut self, parent: &'static str) -> Customer {
        self.parent = parent;
        self
    }
}

/// Something that is sold: code, name, category (counted from 0), unit (from 0), price in pesos, ITBIS or not, stock; `None` for a service.
struct Product(&'static str, &'static str, usize, usize, f64, bool, Option<u32>);

/// What makes one sample differ from the other.
struct Contents {
    rnc: &'static str,
    phone: &'static str,
    city: &'static str,
    categories: &'static [&'static str],
    units: &'static [&'static str],
    customers: &'static [Customer],
    products: &'static [Product],
    /// Customer (counted from 0), and product (from 0) with quantity for each line.
    orders: &'static [(usize, &'static [(usize, f64)])],
}

/// A database with one company.
pub(super) fn fill(sample: Sample, company: &str, now: DateTime<Utc>) -> Store {
    let contents = match sample {
        Sample::HardwareStore => &hardware::CONTENTS,
        Sample::Clinic => &clinic::CONTENTS,
    };
    let mut store = Store::default();
    let mut env = Env { store: &mut store, context: Row::new(), uid: USER, rights: SandboxRights::Seller, now };
    base(&mut env, company, contents);
    let partners: Vec<i64> = contents.customers.iter().map(|customer| add_customer(&mut env, customer)).collect();
    let products: Vec<i64> = contents.products.iter().enumerate().map(|(at, product)| add_product(&mut env, at, product, contents.units.len())).collect();
    for (at, (customer, lines)) in contents.orders.iter().enumerate() {
        let lines: Vec<Value> = lines.iter().map(|(product, quantity)| json!([0, 0, {"product_id": products[*product], "product_uom_qty": quantity}])).collect();
        let values = json!({"partner_id": partners[*customer], "order_line": lines, "state": if at == 0 { "sale" } else { "draft" }});
        sale::create(&mut env, &row(&values), Purpose::Keep).expect("the sample's own orders are made of records just added");
    }
    env.store.commit();
    store
}

/// What every Dominican Odoo has: currencies, country, taxes, company, user, modules.
fn base(env: &mut Env<'_>, company: &str, contents: &Contents) {
    insert(
        env,
        "res.currency",
        &json!({"name": "DOP", "full_name": "Dominican peso", "symbol": "RD$", "position": "before", "rounding": 0.01, "decimal_places": 2, "active": true}),
    );
    insert(
        env,
        "res.currency",
        &json!({"name": "USD", "full_name": "United States dollar", "symbol": "$", "position": "before", "rounding": 0.01, "decimal_places": 2, "active": true}),
    );
    insert(env, "res.country", &json!({"name": "Dominican Republic", "code": "DO", "phone_code": 1}));
    insert(env, "res.country", &json!({"name": "United States", "code": "US", "phone_code": 1}));
    for (name, code) in [("Distrito Nacional", "01"), ("Santiago", "25"), ("Santo Domingo", "32")] {
        insert(env, "res.country.state", &json!({"name": name, "code": code, "country_id": 1}));
    }
    for (name, code, iso) in [("Spanish (DO) / Español (DO)", "es_DO", "es_DO"), ("English (US)", "en_US", "en")] {
        insert(env, "res.lang", &json!({"name": name, "code": code, "iso_code": iso, "active": true}));
    }
    insert(
        env,
        "account.tax",
        &json!({"name": "18% ITBIS", "amount": 18.0, "amount_type": "percent", "type_tax_use": "sale", "price_include": false, "active": true, "company_id": 1}),
    );
    insert(
        env,
        "account.tax",
        &json!({"name": "ITBIS Exempt", "amount": 0.0, "amount_type": "percent", "type_tax_use": "sale", "price_include": false, "active": true, "company_id": 1}),
    );
    for name in ["Pago inmediato", "30 días"] {
        insert(env, "account.payment.term", &json!({"name": name, "active": true}));
    }
    insert(env, "product.pricelist", &json!({"name": "Lista general", "active": true, "currency_id": DOP, "company_id": 1}));
    insert(env, "product.pricelist", &json!({"name": "Mayoristas 10 %", "active": true, "currency_id": DOP, "company_id": 1}));
    insert(env, "product.pricelist.item", &json!({"pricelist_id": WHOLESALE, "applied_on": "3_global", "compute_price": "percentage", "percent_price": 10.0, "min_quantity": 0.0}));
    for name in contents.units {
        insert(env, "uom.uom", &json!({"name": name, "active": true}));
    }
    insert(env, "product.category", &json!({"name": "Todos"}));
    for name in contents.categories {
        insert(env, "product.category", &json!({"name": name, "parent_id": 1}));
    }
    let vat = with_check_digit(contents.rnc);
    let own = add_partner(env, &json!({"name": company, "is_company": true, "vat": vat, "phone": contents.phone, "email": "info@example.com", "city": contents.city}));
    insert(
        env,
        "res.company",
        &json!({"name": company, "active": true, "partner_id": own, "currency_id": DOP, "country_id": 1, "vat": vat, "phone": contents.phone, "email": "info@example.com", "city": contents.city, "quotation_validity_days": 30}),
    );
    for (name, login, active) in [("OdooBot", "__system__", false), ("Agente demo", super::SandboxOdoo::LOGIN, true)] {
        add_user(env, name, login, active, own);
    }
    for (name, title, application, state) in [
        ("base", "Base", false, "installed"),
        ("sale_management", "Sales", true, "installed"),
        ("account", "Invoicing", true, "installed"),
        ("stock", "Inventory", true, "installed"),
        ("contacts", "Contacts", true, "installed"),
        ("crm", "CRM", true, "installed"),
        ("l10n_do", "Dominican Republic - Accounting", false, "installed"),
        ("helpdesk", "Helpdesk", true, "uninstalled"),
    ] {
        insert(
            env,
            "ir.module.module",
            &json!({"name": name, "shortdesc": title, "application": application, "state": state, "installed_version": if state == "installed" { json!("19.0.1.0") } else { json!(false) }}),
        );
    }
}

fn add_user(env: &mut Env<'_>, name: &str, login: &str, active: bool, own: i64) -> i64 {
    let partner = add_partner(env, &json!({"name": name, "active": active, "parent_id": own}));
    insert(
        env,
        "res.users",
        &json!({"name": name, "login": login, "active": active, "lang": "es_DO", "tz": "America/Santo_Domingo", "partner_id": partner, "company_id": 1, "company_ids": [1]}),
    )
}

/// One more internal user of that login; its id.
pub(super) fn user_add(store: &mut Store, login: &str, now: DateTime<Utc>) -> i64 {
    let own = store.raw("res.company", 1, "partner_id").as_i64().unwrap_or_default();
    let mut env = Env { store, context: Row::new(), uid: USER, rights: SandboxRights::Seller, now };
    let uid = add_user(&mut env, login, login, true, own);
    env.store.commit();
    uid
}

fn add_customer(env: &mut Env<'_>, customer: &Customer) -> i64 {
    let parent = env.store.rows("res.partner").find(|(_, row)| !customer.parent.is_empty() && row.get("name") == Some(&json!(customer.parent))).map(|(id, _)| id);
    let text = |text: &str| if text.is_empty() { json!(false) } else { json!(text) };
    let values = json!({
        "name": customer.name, "is_company": customer.is_company, "vat": text(&with_check_digit(customer.rnc)), "phone": text(customer.phone), "email": text(customer.email),
        "street": text(customer.street), "city": text(customer.city), "parent_id": parent, "customer_rank": 1, "property_product_pricelist": if customer.wholesale { json!(WHOLESALE) } else { json!(false) },
        "property_payment_term_id": if customer.wholesale { 2 } else { 1 },
    });
    add_partner(env, &values)
}

fn add_partner(env: &mut Env<'_>, values: &Value) -> i64 {
    let partner = model("res.partner").expect("the table of models has it");
    write::create_plain(env, partner, &row(values)).expect("the sample's own values fit")
}

fn add_product(env: &mut Env<'_>, at: usize, product: &Product, units: usize) -> i64 {
    let Product(code, name, category, unit, price, taxed, stock) = product;
    debug_assert!(*unit < units, "{code}");
    let (on_hand, free) = stock.map_or((0.0, 0.0), |stock| (f64::from(stock), f64::from(stock - stock / 8)));
    let values = json!({
        "name": name, "default_code": code, "barcode": if stock.is_some() { json!(ean13(at)) } else { json!(false) }, "type": if stock.is_some() { "consu" } else { "service" }, "is_storable": stock.is_some(),
        "categ_id": category + 2, "uom_id": unit + 1, "list_price": price, "standard_price": (price * 70.0).round() / 100.0, "taxes_id": [if *taxed { ITBIS } else { EXEMPT }],
        "qty_available": on_hand, "free_qty": free,
    });
    let products = model("product.product").expect("the table of models has it");
    write::create_plain(env, products, &row(&values)).expect("the sample's own values fit")
}

fn insert(env: &mut Env<'_>, name: &'static str, values: &Value) -> i64 {
    let mut values = row(values);
    for (field, value) in [("create_date", json!(env.now_text())), ("write_date", json!(env.now_text())), ("create_uid", json!(1)), ("write_uid", json!(1))] {
        values.insert(field.to_owned(), value);
    }
    env.store.insert(name, values).expect("a sample is far smaller than the store's limit")
}

fn row(value: &Value) -> Row {
    value.as_object().cloned().unwrap_or_default()
}

/// The ninth digit of an RNC: weights 7 9 8 6 5 4 3 2, modulo 11. "" stays "".
fn with_check_digit(eight: &str) -> String {
    if eight.is_empty() {
        return String::new();
    }
    let sum: u32 = eight.chars().filter_map(|digit| digit.to_digit(10)).zip([7, 9, 8, 6, 5, 4, 3, 2]).map(|(digit, weight)| digit * weight).sum();
    let check = match sum % 11 {
        0 => 2,
        1 => 1,
        rest => 11 - rest,
    };
    format!("{eight}{check}")
}

/// A Dominican bar code (746…) for the product at this place.
fn ean13(at: usize) -> String {
    let twelve = format!("746000{at:06}");
    let sum: u32 = twelve.chars().filter_map(|digit| digit.to_digit(10)).zip([1, 3].into_iter().cycle()).map(|(digit, weight)| digit * weight).sum();
    format!("{twelve}{}", (10 - sum % 10) % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_of_public_examples() {
        assert_eq!(with_check_digit("13179391"), "131793916");
        assert_eq!(with_check_digit("40150625"), "401506254");
        assert_eq!(with_check_digit("99999900"), "999999001");
        assert_eq!(ean13(0).len(), 13);
    }

    #[test]
    fn both_samples_hold_what_they_promise() {
        for (sample, customers, products) in [(Sample::HardwareStore, 25, 40), (Sample::Clinic, 20, 30)] {
            let store = fill(sample, "Empresa de prueba", DateTime::from_timestamp(1_795_000_000, 0).unwrap());
            let rows: Vec<&Row> = store.rows("res.partner").map(|(_, row)| row).filter(|row| row.get("customer_rank") == Some(&json!(1))).collect();
            assert_eq!(rows.len(), customers);
            assert_eq!(store.ids("product.product").len(), products);
            let mut vats: Vec<&str> = rows.iter().filter_map(|row| row["vat"].as_str()).collect();
            assert!(vats.iter().all(|vat| vat.len() == 9 && ["14", "15", "16", "17", "18", "19", "45", "46", "47", "48", "49"].contains(&&vat[..2])), "{vats:?}");
            let all = vats.len();
            vats.sort_unstable();
            vats.dedup();
            assert_eq!(vats.len(), all, "no RNC twice");
            assert!(rows.iter().filter_map(|row| row["phone"].as_str()).all(|phone| phone.contains("555-01")));
            assert!(rows.iter().filter_map(|row| row["email"].as_str()).all(|email| email.ends_with("@example.com")));
            assert!(rows.iter().any(|row| row["parent_id"].is_i64()) && rows.iter().any(|row| row["property_product_pricelist"] == 2));
            assert_eq!(store.raw("sale.order", 1, "name"), "S00001");
            let taxes: Vec<&Value> = store.rows("product.product").map(|(_, row)| &row["taxes_id"]).collect();
            assert!(taxes.contains(&&json!([1])) && taxes.contains(&&json!([2])));
        }
    }
}
