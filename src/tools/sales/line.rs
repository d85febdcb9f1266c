//! A line of a quotation as the tools show it: previewed, created or read again.

use schemars::JsonSchema;
use serde::Serialize;

use super::quotation::PricedLine;

/// One line. Its names are kept stable.
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

impl From<PricedLine> for Line {
    fn from(line: PricedLine) -> Self {
        Self {
            producto_id: line.product,
            producto: line.name,
            codigo: line.code,
            cantidad: line.quantity,
            unidad: line.unit,
            precio: line.unit_price,
            descuento: Some(line.discount).filter(|discount| *discount != 0.0),
            subtotal: line.subtotal,
            total: line.total,
        }
    }
}
