//! The goods: what agents can do. Both doors may look; neither door is known here (no axum, no rmcp).
//!
//! [`TOOLS`] is the one register: the list, the permissions, the plan limits, the documentation and the tests all derive from it.
//! Adding a tool is a file in its pack's folder and a line here.

use std::sync::LazyLock;

pub mod answer;
pub mod approve;
mod bound;
pub mod confirm;
pub mod connector;
pub mod cx;
pub mod dispatch;
pub mod doctor;
pub mod error;
pub mod invoice;
mod ledger;
pub mod platform;
pub mod prompts;
pub mod resources;
pub mod sales;
pub mod say;
pub mod schema;
pub mod taxpayers;
pub mod tool;

use tool::{AnyTool, reads, writes};

/// Every tool, in the order `tools/list` shows them. One line per tool.
pub static TOOLS: LazyLock<Vec<Box<dyn AnyTool>>> = LazyLock::new(|| {
    vec![
        reads::<taxpayers::consultar_rnc_dgii::ConsultarRncDgii>(),
        reads::<taxpayers::buscar_contribuyente::BuscarContribuyente>(),
        reads::<sales::buscar_cliente::BuscarCliente>(),
        writes::<sales::crear_cliente::CrearCliente>(),
        reads::<sales::buscar_productos::BuscarProductos>(),
        writes::<sales::crear_cotizacion::CrearCotizacion>(),
        reads::<sales::ver_cotizacion::VerCotizacion>(),
        reads::<platform::odoo_contexto::OdooContexto>(),
    ]
});

/// The tool of that name, permitted or not.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn AnyTool> {
    TOOLS.iter().find(|tool| tool.facts().name == name).map(AsRef::as_ref)
}

/// What a tenant on a plan with two tools gets unless others are named: look a taxpayer up, find a customer.
pub const TOOLS_BY_DEFAULT: [&str; 2] = ["consultar_rnc_dgii", "buscar_cliente"];
