//! `buscar_productos`: products with their price for a customer and what is in stock.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cursor;
use super::products::{self, BLOCK, Product, Shape, Wanted};
use super::quotation::{self, LineOrder, Priced, PricedLine};
use super::rows;
use crate::odoo::OdooClient;
use crate::text::{Language, fill};
use crate::tools::cx::ToolCx;
use crate::tools::error::{Code, ToolError};
use crate::tools::say;
use crate::tools::tool::{Pack, Tool};

const LIMIT_DEFAULT: u32 = 5;
const LIMIT_MAX: u32 = 10;
/// Products that a sentence holds.
const SAID_MAX: usize = 3;
/// Blocks looked through in one call when wildcards let much through that does not fit.
const BLOCKS_MAX: u32 = 3;

/// See the module.
pub struct BuscarProductos;

/// The arguments.
#[derive(Deserialize, JsonSchema)]
pub struct Input {
    /// Palabras del nombre, código, código de barras o id.
    #[schemars(length(min = 1, max = 120))]
    pub consulta: String,
    /// Id de buscar_cliente, para los precios de su lista con impuestos.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub cliente_id: Option<i64>,
    /// Unidades que interesan: el precio puede depender de ellas. Por defecto 1.
    #[schemars(range(min = 0.001, max = 1_000_000))]
    pub cantidad: Option<f64>,
    /// Si solo interesan los que hay. Por defecto no.
    pub solo_disponibles: Option<bool>,
    /// Cuántos devolver. Por defecto 5.
    #[schemars(range(min = 1, max = 10))]
    pub limite: Option<u32>,
    /// El que devolvió la llamada anterior, para seguir la lista.
    #[schemars(length(max = 100))]
    pub cursor: Option<String>,
}

/// One product.
#[derive(Serialize, JsonSchema)]
pub struct Item {
    /// Id en Odoo: sirve para crear_cotizacion.
    pub producto_id: i64,
    /// Nombre, con su variante.
    pub producto: String,
    /// Código interno.
    pub codigo: Option<String>,
    /// Código de barras.
    pub codigo_barras: Option<String>,
    /// Precio de una unidad, sin descuento.
    pub precio: f64,
    /// Moneda del precio (ISO 4217).
    pub moneda: Option<String>,
    /// De dónde sale el precio.
    pub precio_de: String,
    /// Si el precio es solo aproximado.
    pub aproximado: bool,
    /// Descuento de la lista del cliente, en %.
    pub descuento: Option<f64>,
    /// Total de la cantidad pedida, con descuento e impuestos.
    pub total_con_impuestos: Option<f64>,
    /// Unidad de medida.
    pub unidad: Option<String>,
    /// Unidades libres para vender. Ausente: no se lleva existencia de este producto.
    pub disponible: Option<f64>,
}

/// The result.
#[derive(Serialize, JsonSchema)]
pub struct Output {
    /// Los que coinciden, el más parecido primero.
    pub productos: Vec<Item>,
    /// Cuántos coinciden en total.
    pub total: u64,
    /// Si hay más de los mostrados.
    pub hay_mas: bool,
    /// Para pedir los siguientes.
    pub cursor: Option<String>,
    /// Lo que conviene saber.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avisos: Vec<String>,
    /// Para decir en voz alta.
    pub frase: String,
}

impl Tool for BuscarProductos {
    const NAME: &'static str = "buscar_productos";
    const TITLE: &'static str = "Buscar productos";
    const ABOUT: &'static str = "Úsela para encontrar productos y decir su precio y existencia; con cliente_id da el precio de la lista de ese cliente. \
        No aparta ni cotiza (crear_cotizacion), y nunca muestra costos.";
    const PACKS: &'static [Pack] = &[Pack::Voice, Pack::Sales];
    const NEEDS: &'static [(&'static str, &'static str)] = &[("product.product", "read")];
    const ASKS_ODOO: bool = true;
    type Input = Input;
    type Output = Output;

    async fn run(cx: &ToolCx, input: Input) -> Result<Output, ToolError> {
        let wanted = Wanted::parse(&input.consulta);
        if wanted.is_empty() {
            return Err(ToolError::argument(cx.say("detalles.sin_texto", &[("campo", "consulta")])));
        }
        let quantity = input.cantidad.unwrap_or(1.0);
        let only_available = input.solo_disponibles.unwrap_or(false);
        let limit = input.limite.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
        let search = format!("{only_available}|{}", input.consulta.trim());
        let offset = cursor::decode(cx, input.cursor.as_deref(), &search)?;
        let odoo = cx.odoo().await?;
        let mut shape = Shape::of(cx, &odoo).await?;
        let page = match page(&odoo, shape, &wanted, only_available, offset, limit).await {
            // Some users may see products but not stock.
            Err(error) if error.code == Code::OdooSinPermiso && shape.stock => {
                shape.stock = false;
                page(&odoo, shape, &wanted, only_available, offset, limit).await?
            }
            other => other?,
        };

        let mut avisos = Vec::new();
        if page.similar {
            avisos.push(cx.say("avisos.parecidos", &[]));
        }
        if only_available && !shape.stock {
            avisos.push(cx.say("avisos.sin_existencias", &[]));
        }
        let priced = match input.cliente_id {
            Some(customer) if odoo.version().has_onchange_spec() && !page.products.is_empty() => prices(&odoo, customer, &page.products, quantity).await?,
            _ => None,
        };
        if priced.is_none() && !page.products.is_empty() {
            avisos.push(cx.say(if input.cliente_id.is_some() { "avisos.precio_cliente_fallo" } else { "avisos.precio_lista" }, &[]));
        }
        let productos = items(&page.products, priced.as_ref(), cx.language());
        let frase = phrase(&productos, page.total, &input.consulta, only_available && shape.stock, cx.language());
        let hay_mas = page.next.is_some() || (page.similar && page.total > productos.len() as u64);
        Ok(Output { hay_mas, cursor: page.next.map(|next| cursor::encode(next, &search)), productos, total: page.total, avisos, frase })
    }
}

struct PageOfProducts {
    products: Vec<Product>,
    total: u64,
    next: Option<u32>,
    similar: bool,
}

/// The products from that offset on. An offset counts blocks of Odoo's rows and, within a block, what fits, best first.
async fn page(odoo: &OdooClient, shape: Shape, wanted: &Wanted, only_available: bool, offset: u32, limit: u32) -> Result<PageOfProducts, ToolError> {
    let mut number = offset / BLOCK;
    let mut within = (offset % BLOCK) as usize;
    let last = number + BLOCKS_MAX - 1;
    loop {
        let block = products::block(odoo, shape, wanted, only_available, number).await?;
        let fitting = u32::try_from(block.products.len()).unwrap_or(BLOCK);
        let products: Vec<Product> = block.products.into_iter().skip(within).take(limit as usize).collect();
        if products.is_empty() && block.more && number < last {
            number += 1;
            within = 0;
            continue;
        }
        let end = u32::try_from(within + products.len()).unwrap_or(BLOCK);
        // A similar search has one block of its own, which no cursor reaches.
        let next = if end < fitting && !block.similar { Some(number * BLOCK + end) } else { block.more.then(|| (number + 1) * BLOCK) };
        let next = next.filter(|next| *next <= cursor::OFFSET_MAX);
        return Ok(PageOfProducts { products, total: block.total, next, similar: block.similar });
    }
}

/// The customer's prices for these products in one request; none when Odoo cannot compute them together.
async fn prices(odoo: &OdooClient, customer: i64, products: &[Product], quantity: f64) -> Result<Option<Priced>, ToolError> {
    let lines: Vec<LineOrder> = products.iter().map(|product| LineOrder { product: product.id, quantity, discount: None }).collect();
    match quotation::price(odoo, customer, &lines, None).await {
        Ok(priced) => Ok(Some(priced)),
        Err(error) if error.code == Code::OdooNoExiste => Err(ToolError::not_found("cliente", customer.to_string())),
        // Without the right to quote (or with a module that objects) the list prices still serve.
        Err(error) if matches!(error.code, Code::OdooSinPermiso | Code::OdooRechazo | Code::OdooIncompatible | Code::OdooFallo | Code::ErrorInterno) => Ok(None),
        Err(error) => Err(error),
    }
}

fn items(products: &[Product], priced: Option<&Priced>, language: Language) -> Vec<Item> {
    let line_of = |product: &Product| -> Option<(&Priced, &PricedLine)> {
        let priced = priced?;
        Some((priced, priced.lines.iter().find(|line| line.product == product.id)?))
    };
    let source = |key: &str| crate::text::text(language, key);
    products
        .iter()
        .map(|product| {
            let line = line_of(product);
            Item {
                producto_id: product.id,
                producto: product.name.clone(),
                codigo: product.code.clone(),
                codigo_barras: product.barcode.clone(),
                precio: line.map_or(product.list_price, |(_, line)| line.unit_price),
                moneda: line.map_or_else(|| product.currency.clone(), |(priced, _)| priced.currency.clone()),
                precio_de: source(if line.is_some() { "voz.lista_cliente" } else { "voz.lista_general" }),
                aproximado: line.is_none(),
                descuento: line.map(|(_, line)| line.discount).filter(|discount| *discount != 0.0),
                total_con_impuestos: line.map(|(_, line)| rows::cents(line.total)),
                unidad: line.and_then(|(_, line)| line.unit.clone()).or_else(|| product.unit.clone()),
                disponible: product.available,
            }
        })
        .collect()
}

fn phrase(items: &[Item], total: u64, asked: &str, in_stock: bool, language: Language) -> String {
    let priced = |item: &Item| {
        let price = rows::decimal(item.precio * (1.0 - item.descuento.unwrap_or(0.0) / 100.0));
        let price = say::money(language, price, item.moneda.as_deref().unwrap_or_default());
        let key = if item.aproximado { "frases.productos.precio_aproximado" } else { "frases.productos.precio" };
        fill(language, key, &[("nombre", &say::cut(&item.producto, 50)), ("precio", price.trim())])
    };
    match items {
        [] if in_stock => say::phrase_around(language, "frases.productos.ninguno_disponible", ("texto", asked.trim()), &[]),
        [] => say::phrase_around(language, "frases.productos.ninguno", ("texto", asked.trim()), &[]),
        [only] => {
            let mut product = priced(only);
            if let Some(available) = only.disponible {
                let key = if available > 0.0 { "frases.productos.existencia" } else { "frases.productos.agotado" };
                product = fill(language, key, &[("producto", &product), ("cantidad", &say::quantity(language, available))]);
            }
            say::phrase(language, "frases.productos.uno", &[("producto", &product)])
        }
        several => {
            let said: Vec<String> = several.iter().take(SAID_MAX).map(priced).collect();
            say::phrase(language, "frases.productos.varios", &[("total", &say::number(language, total)), ("productos", &said.join("; "))])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, price: f64, approximate: bool, available: Option<f64>) -> Item {
        Item {
            producto_id: 1,
            producto: name.to_owned(),
            codigo: None,
            codigo_barras: None,
            precio: price,
            moneda: Some("DOP".to_owned()),
            precio_de: String::new(),
            aproximado: approximate,
            descuento: None,
            total_con_impuestos: None,
            unidad: None,
            disponible: available,
        }
    }

    #[test]
    fn phrases_say_price_and_stock() {
        let say = |items: &[Item]| phrase(items, items.len() as u64, "silla", false, Language::Es);
        assert_eq!(say(&[]), "No encontré ningún producto con «silla».");
        assert_eq!(phrase(&[], 0, "silla", true, Language::Es), "No encontré ningún producto disponible con «silla».");
        assert_eq!(say(&[item("Silla", 70.0, false, Some(12.0))]), "Silla, a setenta pesos; hay doce disponibles.");
        assert_eq!(say(&[item("Silla", 70.5, true, Some(0.0))]), "Silla, a unos setenta pesos con cincuenta centavos; no hay disponible.");
        assert_eq!(say(&[item("Silla", 70.0, false, None), item("Mesa", 1.0, false, None)]), "Encontré dos productos: Silla, a setenta pesos; Mesa, a un peso.");
        let long: Vec<Item> = (0..3).map(|_| item(&"Ñandú ".repeat(20), 123_456.78, false, None)).collect();
        assert!(say(&long).chars().count() <= say::PHRASE_CHARS_MAX);
    }
}
