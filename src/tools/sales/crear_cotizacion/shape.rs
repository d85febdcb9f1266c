//! The arguments and results of `crear_cotizacion`; their names are kept stable.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tools::sales::Line;

/// One line asked for.
#[derive(Clone, Deserialize, JsonSchema)]
pub struct LineInput {
    /// Su id (de buscar_productos), código, código de barras o nombre.
    #[schemars(length(min = 1, max = 120))]
    pub producto: String,
    /// Cantidad. Por defecto 1.
    #[schemars(range(min = 0.001, max = 1_000_000))]
    pub cantidad: Option<f64>,
    /// En %. Por defecto el de la lista del cliente.
    #[schemars(range(min = 0, max = 100))]
    pub descuento: Option<f64>,
}

/// The arguments.
#[derive(Deserialize, JsonSchema)]
pub struct Input {
    /// Su id (de buscar_cliente), RNC, cédula, teléfono, correo o nombre.
    #[schemars(length(min = 1, max = 120))]
    pub cliente: String,
    /// Qué se cotiza.
    #[schemars(length(min = 1, max = 50))]
    pub lineas: Vec<LineInput>,
    /// Nota que verá el cliente.
    #[schemars(length(max = 1000))]
    pub notas: Option<String>,
    /// Días de validez. Por defecto los de la empresa.
    #[schemars(range(min = 1, max = 365))]
    pub vigencia_dias: Option<u32>,
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
