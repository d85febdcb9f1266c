//! The arguments and results of `crear_cotizacion`; their names are kept stable.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
