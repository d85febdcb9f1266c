//! The sales desk: customers, products and quotations in the tenant's Odoo.
//!
//! One file per tool; what several of them share lies beside: `partners` and `products` find records from what a person said,
//! `quotation` asks Odoo for prices and totals without writing, `line` shows one line of them, `words` turns noisy words into search patterns.
//! Not here: permission, confirmation codes, quotas (`dispatch`, `confirm`).

pub mod buscar_cliente;
pub mod buscar_productos;
pub mod crear_cliente;
pub mod crear_cotizacion;
pub mod ver_cotizacion;

mod cursor;
mod line;
mod partners;
mod products;
mod quotation;
pub(crate) mod rows;
mod words;

pub use line::Line;
pub(crate) use partners::vat_forms;
