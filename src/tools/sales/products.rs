//! Finding products from what a person said, and resolving the lines of a quotation to products with as few requests as possible.
//!
//! Costs (`standard_price`) are never read. Prices for a customer come from [`super::quotation`], not from here.

use futures::future::try_join_all;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::partners::{CANDIDATES_MAX, similar_domain};
use super::rows::{self, Row};
use super::words;
use crate::dgii::text::fold;
use crate::odoo::domain::{Domain, Operator, Term};
use crate::odoo::{Fields, OdooClient, Page};
use crate::tools::cx::ToolCx;
use crate::tools::error::ToolError;

/// Records fetched for one question, before those that only fit a wildcard are dropped. Also the block that pages are cut from.
pub(super) const BLOCK: u32 = 60;
/// Records fetched for all lines of a quotation together; beyond it each line is asked for alone.
const LINES_FETCHED_MAX: u32 = 300;
/// Longest number that may be an id, digits.
const ID_DIGITS_MAX: usize = 8;

/// What this Odoo's products have; it depends on the version and the installed apps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// The stock app is there (`free_qty`).
    pub(super) stock: bool,
    /// `is_storable` (18 and later); before it, `type` says so.
    pub(super) storable_flag: bool,
    /// Variants name their attribute values.
    variants: bool,
}

impl Shape {
    /// Asked of Odoo once in a while.
    pub(super) async fn of(cx: &ToolCx, odoo: &OdooClient) -> Result<Self, ToolError> {
        let names = ["free_qty", "is_storable", "product_template_attribute_value_ids"];
        let known = cx.remembered("product.product fields", async { Ok(Value::Object(odoo.fields_get("product.product", Some(&names)).await?)) }).await?;
        let has = |name: &str| known.get(name).is_some();
        Ok(Self { stock: has("free_qty"), storable_flag: has("is_storable"), variants: has("product_template_attribute_value_ids") })
    }

    fn fields(self) -> Fields {
        let fields =
            Fields::new().texts(&["display_name", "name", "default_code", "barcode", "type"]).number("lst_price").many2one("uom_id", &[]).many2one("currency_id", &["name"]);
        let fields = if self.stock { fields.number("free_qty") } else { fields };
        if self.storable_flag { fields.boolean("is_storable") } else { fields }
    }

    /// In stock, or of a kind that has no stock.
    fn available(self) -> Domain {
        if self.stock { Domain::any([Term::gt("free_qty", 0), Term::eq("type", "service")]) } else { Domain::all() }
    }
}

/// A product, as far as the tools show one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Product {
    pub(super) id: i64,
    /// With the variant's values, without the code.
    pub(super) name: String,
    pub(super) code: Option<String>,
    pub(super) barcode: Option<String>,
    pub(super) list_price: f64,
    pub(super) currency: Option<String>,
    pub(super) unit: Option<String>,
    /// Free to promise; none where stock is not kept.
    pub(super) available: Option<f64>,
    /// The template's name, without variant values.
    plain_name: String,
}

/// A product to choose from when several fit.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Candidate {
    producto_id: i64,
    producto: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    codigo: Option<String>,
    precio_lista: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    moneda: Option<String>,
}

impl Product {
    fn of(row: &Row, shape: Shape) -> Option<Self> {
        let code = rows::text(row, "default_code");
        let shown = rows::text(row, "display_name").or_else(|| rows::text(row, "name"))?;
        let name = without_code(&shown, code.as_deref()).to_owned();
        let storable = if shape.storable_flag { rows::flag(row, "is_storable") } else { rows::text(row, "type").as_deref() == Some("product") };
        Some(Self {
            id: rows::id(row)?,
            plain_name: rows::text(row, "name").unwrap_or_else(|| name.clone()),
            name,
            code,
            barcode: rows::text(row, "barcode"),
            list_price: rows::micros(rows::number(row, "lst_price").unwrap_or(0.0)),
            currency: rows::link_text(row, "currency_id", "name"),
            unit: rows::link(row, "uom_id").map(|(_, name)| name).filter(|name| !name.is_empty()),
            available: rows::number(row, "free_qty").filter(|_| storable).map(rows::micros),
        })
    }

    fn candidate(&self) -> Candidate {
        Candidate { producto_id: self.id, producto: self.name.clone(), codigo: self.code.clone(), precio_lista: self.list_price, moneda: self.currency.clone() }
    }

    /// Whether the text names exactly this product: its id, code, barcode or whole name.
    fn is_exactly(&self, text: &Wanted) -> bool {
        let same = |own: Option<&String>| own.is_some_and(|own| own.eq_ignore_ascii_case(&text.text));
        text.id == Some(self.id)
            || (!text.marked_id && (same(self.code.as_ref()) || same(self.barcode.as_ref()) || text.folded == fold(&self.name) || text.folded == fold(&self.plain_name)))
    }

    fn fits(&self, text: &Wanted) -> bool {
        let all = format!("{} {} {}", self.name, self.code.as_deref().unwrap_or_default(), self.barcode.as_deref().unwrap_or_default());
        self.is_exactly(text) || (!text.words.is_empty() && words::contains_all(&all, &text.words))
    }
}

/// `[CODE] Name` without its code.
fn without_code<'a>(shown: &'a str, code: Option<&str>) -> &'a str {
    let rest = code.and_then(|code| shown.strip_prefix('[')?.strip_prefix(code)?.strip_prefix(']'));
    rest.map_or(shown, str::trim_start)
}

/// What a text about a product is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    text: String,
    folded: String,
    /// A number that may be an id.
    id: Option<i64>,
    /// Written `id:42`: nothing but an id.
    marked_id: bool,
    /// In the singular.
    words: Vec<String>,
}

impl Wanted {
    pub(super) fn parse(text: &str) -> Self {
        let text = text.trim();
        let marked = text.get(..3).filter(|head| head.eq_ignore_ascii_case("id:")).map(|_| text[3..].trim());
        let number = marked.unwrap_or(text);
        let id = Some(number).filter(|n| (1..=ID_DIGITS_MAX).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit())).and_then(|n| n.parse().ok());
        let marked_id = marked.is_some() && id.is_some();
        Self { text: text.to_owned(), folded: fold(text), id, marked_id, words: words::words(text).iter().map(|word| words::singular(word)).collect() }
    }

    /// Without letters and digits: it would fit everything.
    pub(super) fn is_empty(&self) -> bool {
        self.folded.is_empty()
    }

    fn domain(&self, shape: Shape) -> Domain {
        if self.marked_id {
            return Term::eq("id", self.id).into();
        }
        let mut any = vec![Domain::from(Term::same_text("default_code", &self.text)), Term::eq("barcode", self.text.as_str()).into()];
        any.extend(self.id.map(|id| Term::eq("id", id).into()));
        if !self.words.is_empty() {
            any.push(self.words.iter().fold(Domain::all(), |all, word| all.and(word_domain(word, shape))));
        }
        Domain::any(any)
    }
}

/// The word stands in the name, in the code, or in an attribute value of the variant ("blanco").
fn word_domain(word: &str, shape: Shape) -> Domain {
    let like = |field: &str, pattern: String| Domain::from(Term::new(field, Operator::Ilike, pattern));
    let mut any: Vec<Domain> = vec![Term::ilike("default_code", word).into()];
    for pattern in words::patterns(word) {
        if shape.variants {
            any.push(like("product_template_attribute_value_ids.name", pattern.clone()));
        }
        any.push(like("name", pattern));
    }
    Domain::any(any)
}

/// What can be sold.
fn on_sale() -> Domain {
    Term::eq("sale_ok", true).into()
}

/// One block of the products that fit, best first.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) products: Vec<Product>,
    /// How many fit in all: exact when all of them were in this block.
    pub(super) total: u64,
    /// Whether Odoo has further blocks.
    pub(super) more: bool,
    /// Nothing fitted the words; these sound like them.
    pub(super) similar: bool,
}

/// The products of that block. One request, and one more only when nothing at all fits.
pub(super) async fn block(odoo: &OdooClient, shape: Shape, wanted: &Wanted, only_available: bool, number: u32) -> Result<Block, ToolError> {
    let filter = if only_available { on_sale().and(shape.available()) } else { on_sale() };
    let page = Page::first(BLOCK).from(number.saturating_mul(BLOCK));
    let rows = odoo.search_page("product.product", &filter.clone().and(wanted.domain(shape)), &shape.fields(), &page).await?;
    let end = u64::from(number) * u64::from(BLOCK) + rows.records.len() as u64;
    let more = rows.total > end;
    let mut products: Vec<Product> = rows.records.iter().filter_map(|row| Product::of(row, shape)).filter(|product| product.fits(wanted)).collect();
    sort(&mut products, wanted);
    let whole = number == 0 && !more;
    if whole && products.is_empty() {
        let products = similar(odoo, shape, wanted, filter).await?;
        return Ok(Block { total: products.len() as u64, similar: !products.is_empty(), products, more: false });
    }
    let total = if whole { products.len() as u64 } else { rows.total };
    Ok(Block { products, total, more, similar: false })
}

async fn similar(odoo: &OdooClient, shape: Shape, wanted: &Wanted, filter: Domain) -> Result<Vec<Product>, ToolError> {
    if wanted.marked_id || wanted.words.is_empty() {
        return Ok(Vec::new());
    }
    let rows = odoo.search_page("product.product", &filter.and(similar_domain("name", &wanted.words)), &shape.fields(), &Page::first(BLOCK)).await?;
    let mut scored: Vec<(f64, Product)> =
        rows.records.iter().filter_map(|row| Product::of(row, shape)).filter_map(|product| words::similarity(&product.name, &wanted.words).map(|score| (score, product))).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(scored.into_iter().map(|(_, product)| product).collect())
}

fn sort(products: &mut [Product], wanted: &Wanted) {
    products.sort_by_cached_key(|product| (!product.is_exactly(wanted), words::rank(&product.name, &wanted.text, &wanted.words)));
}

/// The products that the lines mean: one request for all lines, and one more for each line that nothing fits.
///
/// # Errors
/// `no_encontrado` or `varios_posibles` of the first line in doubt, whose place is `datos.linea`; when several are in doubt,
/// `datos.lineas` has each with its candidates, so that one question to the person settles them all.
pub(super) async fn resolve(cx: &ToolCx, odoo: &OdooClient, lines: &[String]) -> Result<Vec<Product>, ToolError> {
    let wanted: Vec<Wanted> = lines.iter().map(|line| Wanted::parse(line)).collect();
    if let Some(at) = wanted.iter().position(Wanted::is_empty) {
        return Err(ToolError::argument(cx.say("detalles.sin_texto", &[("campo", &format!("lineas.{at}.producto"))])));
    }
    // What is in stock does not matter here, and counting it costs Odoo time (and a right that the user may lack).
    let shape = Shape { stock: false, ..Shape::of(cx, odoo).await? };
    let all = on_sale().and(Domain::any(wanted.iter().map(|one| one.domain(shape))));
    let rows = odoo.search_page("product.product", &all, &shape.fields(), &Page::first(LINES_FETCHED_MAX)).await?;
    let choices: Vec<Choice> = if rows.total > rows.records.len() as u64 {
        // Too many fit all lines together for one page: line by line, side by side.
        let blocks = try_join_all(wanted.iter().map(|one| block(odoo, shape, one, false, 0))).await?;
        wanted.iter().zip(blocks).map(|(one, block)| choose(one, &block.products, block.similar)).collect()
    } else {
        let products: Vec<Product> = rows.records.iter().filter_map(|row| Product::of(row, shape)).collect();
        let first = wanted.iter().map(|one| choose(one, &products, false));
        try_join_all(wanted.iter().zip(first).map(|(one, choice)| async move {
            match choice {
                Choice::None => Ok::<_, ToolError>(choose(one, &similar(odoo, shape, one, on_sale()).await?, true)),
                other => Ok(other),
            }
        }))
        .await?
    };
    settle(lines, choices)
}

/// What one line came to.
#[derive(Debug)]
enum Choice {
    One(Box<Product>),
    Several(Vec<Product>),
    None,
}

/// The product that a line means among these: exact ones first, then those that hold all words.
fn choose(wanted: &Wanted, products: &[Product], similar: bool) -> Choice {
    if similar {
        return if products.is_empty() { Choice::None } else { Choice::Several(products.iter().take(CANDIDATES_MAX).cloned().collect()) };
    }
    let exact: Vec<&Product> = products.iter().filter(|product| product.is_exactly(wanted)).collect();
    let mut fitting: Vec<Product> = if exact.is_empty() { products.iter().filter(|product| product.fits(wanted)).cloned().collect() } else { exact.into_iter().cloned().collect() };
    sort(&mut fitting, wanted);
    match fitting.len() {
        0 => Choice::None,
        1 => Choice::One(Box::new(fitting.swap_remove(0))),
        _ => {
            fitting.truncate(CANDIDATES_MAX);
            Choice::Several(fitting)
        }
    }
}

fn settle(lines: &[String], choices: Vec<Choice>) -> Result<Vec<Product>, ToolError> {
    let mut chosen = Vec::with_capacity(choices.len());
    let mut doubts = Vec::new();
    let mut error: Option<ToolError> = None;
    for (index, (line, choice)) in lines.iter().zip(choices).enumerate() {
        match choice {
            Choice::One(product) => chosen.push(*product),
            Choice::Several(products) => {
                let candidates: Vec<Candidate> = products.iter().map(Product::candidate).collect();
                doubts.push(json!({ "linea": index, "producto": line, "candidatos": candidates }));
                error.get_or_insert_with(|| ToolError::ambiguous("producto", line, json!(candidates)));
            }
            Choice::None => {
                doubts.push(json!({ "linea": index, "producto": line, "candidatos": [] }));
                error.get_or_insert_with(|| ToolError::not_found("producto", line));
            }
        }
    }
    match error {
        None => Ok(chosen),
        Some(mut error) => {
            let mut data = error.data.take().map_or_else(|| json!({}), |data| *data);
            if doubts.len() > 1 {
                data["lineas"] = json!(doubts);
            } else {
                data["linea"] = doubts[0]["linea"].take();
            }
            Err(error.data(data))
        }
    }
}

/// One product at 100.00, for the tests of its users.
#[cfg(test)]
pub(super) fn sample() -> Vec<Product> {
    vec![Product {
        id: 1,
        name: "Silla".to_owned(),
        code: None,
        barcode: None,
        list_price: 100.0,
        currency: Some("DOP".to_owned()),
        unit: None,
        available: None,
        plain_name: "Silla".to_owned(),
    }]
}

#[cfg(test)]
#[path = "products_tests.rs"]
mod tests;
