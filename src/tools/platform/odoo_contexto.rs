//! `odoo_contexto`: which company, which Odoo, which tools and how many calls are left.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::odoo::domain::{Domain, Term};
use crate::odoo::{Fields, OdooClient, Page};
use crate::tools::cx::ToolCx;
use crate::tools::dispatch::permitted;
use crate::tools::error::{Code, ToolError};
use crate::tools::sales::rows;
use crate::tools::say;
use crate::tools::tool::{Pack, Tool};

/// Apps worth naming: technical name, what it is.
const APPS: [(&str, &str); 17] = [
    ("sale", "ventas"),
    ("sale_management", "ventas"),
    ("crm", "crm"),
    ("stock", "inventario"),
    ("account", "facturacion"),
    ("purchase", "compras"),
    ("point_of_sale", "punto_de_venta"),
    ("website_sale", "tienda_en_linea"),
    ("project", "proyectos"),
    ("helpdesk", "soporte"),
    ("calendar", "calendario"),
    ("hr", "empleados"),
    ("mrp", "fabricacion"),
    ("l10n_do", "localizacion_dominicana"),
    ("l10n_do_accounting", "comprobantes_fiscales_do"),
    ("l10n_do_ecf_invoicing", "facturacion_electronica_do"),
    ("l10n_do_rnc_search", "busqueda_rnc_do"),
];

/// See the module.
pub struct OdooContexto;

/// No arguments.
#[derive(Deserialize, JsonSchema)]
pub struct Input {}

/// The result.
#[derive(Serialize, JsonSchema)]
pub struct Output {
    /// Empresa en Odoo.
    pub empresa: Option<String>,
    /// Id de la empresa en Odoo.
    pub empresa_id: Option<i64>,
    /// RNC de la empresa, como está en Odoo.
    pub empresa_rnc: Option<String>,
    /// País de la empresa.
    pub pais: Option<String>,
    /// Moneda de la empresa (ISO 4217).
    pub moneda: Option<String>,
    /// Usuario de Odoo con que se trabaja.
    pub usuario: Option<String>,
    /// Idioma de ese usuario.
    pub idioma: Option<String>,
    /// Zona horaria de las fechas.
    pub zona_horaria: String,
    /// Fecha de hoy en esa zona (ISO).
    pub hoy: NaiveDate,
    /// Versión de Odoo.
    pub version: String,
    /// Aplicaciones instaladas.
    pub aplicaciones: Vec<String>,
    /// Herramientas que este token puede usar.
    pub herramientas: Vec<String>,
    /// Plan contratado.
    pub plan: String,
    /// Llamadas que incluye el plan al mes. Ausente: sin límite.
    pub llamadas_mes: Option<u32>,
    /// Llamadas usadas este mes.
    pub llamadas_usadas: u32,
    /// Llamadas que quedan este mes. Ausente: sin límite.
    pub llamadas_restantes: Option<u32>,
    /// Cuándo se renuevan (ISO).
    pub se_renuevan_el: NaiveDate,
    /// Lo que conviene saber.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avisos: Vec<String>,
    /// Para decir en voz alta.
    pub frase: String,
}

impl Tool for OdooContexto {
    const NAME: &'static str = "odoo_contexto";
    const TITLE: &'static str = "Contexto de Odoo";
    const ABOUT: &'static str = "Úsela al comenzar para saber con qué empresa, moneda, zona horaria y versión de Odoo se trabaja, qué aplicaciones y herramientas hay y cuántas llamadas quedan. \
        No muestra clientes, productos ni ventas.";
    const PACKS: &'static [Pack] = &[Pack::Voice, Pack::Sales, Pack::Analyst];
    const NEEDS: &'static [(&'static str, &'static str)] = &[("res.company", "read"), ("res.users", "read")];
    const ASKS_ODOO: bool = true;
    type Input = Input;
    type Output = Output;

    async fn run(cx: &ToolCx, _input: Input) -> Result<Output, ToolError> {
        let odoo = cx.odoo().await?;
        let known = cx.remembered("contexto", async { about(&odoo).await }).await?;
        let text = |key: &str| known.get(key).and_then(Value::as_str).map(str::to_owned);
        let apps: Option<Vec<&str>> = known.get("apps").and_then(Value::as_array).map(|apps| apps.iter().filter_map(Value::as_str).collect());
        let avisos = if apps.is_none() { vec![cx.say("avisos.apps_ocultas", &[])] } else { Vec::new() };
        let quota = cx.quota();
        let version = odoo.version().text.clone();
        let company = text("company");
        let currency = text("currency");
        let frase = say::phrase(
            cx.language(),
            "frases.contexto",
            &[
                ("empresa", company.as_deref().unwrap_or(&cx.caller().tenant().name)),
                ("version", &version),
                ("moneda", &say::currency(cx.language(), currency.as_deref().unwrap_or_default())),
            ],
        );
        Ok(Output {
            empresa: company,
            empresa_id: known.get("company_id").and_then(Value::as_i64),
            empresa_rnc: text("vat"),
            pais: text("country"),
            moneda: currency,
            usuario: text("user"),
            idioma: odoo.user_lang().map(str::to_owned),
            zona_horaria: cx.timezone().name().to_owned(),
            hoy: cx.today(),
            version,
            aplicaciones: apps.map(|apps| named(&apps)).unwrap_or_default(),
            herramientas: permitted(cx.caller()).map(|facts| facts.name.to_owned()).collect(),
            plan: quota.plan.clone(),
            llamadas_mes: quota.limit,
            llamadas_usadas: quota.used,
            llamadas_restantes: quota.left,
            se_renuevan_el: quota.resets_on,
            avisos,
            frase,
        })
    }
}

/// What this Odoo says about the user's company and its apps: two requests side by side.
async fn about(odoo: &OdooClient) -> Result<Value, ToolError> {
    let company = Fields::new().texts(&["name", "vat"]).many2one("currency_id", &["name"]).many2one("country_id", &[]);
    let user = Fields::new().text("name").many2one_of("company_id", "res.company", company);
    let me = Domain::from(Term::eq("id", odoo.uid()));
    let page = Page::first(1);
    let (users, apps) = tokio::join!(odoo.search_page("res.users", &me, &user, &page), apps(odoo));
    let users = users?;
    let mut known = json!({ "apps": apps? });
    if let Some(row) = users.records.first() {
        known["user"] = json!(rows::text(row, "name"));
        known["company_id"] = json!(rows::link(row, "company_id").map(|(id, _)| id));
        known["company"] = json!(rows::link_text(row, "company_id", "name"));
        if let Some(company) = row.get("company_id").and_then(Value::as_object) {
            known["vat"] = json!(rows::text(company, "vat"));
            known["currency"] = json!(rows::link_text(company, "currency_id", "name"));
            known["country"] = json!(rows::link(company, "country_id").map(|(_, name)| name));
        }
    }
    Ok(known)
}

/// The installed apps worth naming; none when this user may not see them.
async fn apps(odoo: &OdooClient) -> Result<Option<Vec<String>>, ToolError> {
    let domain = Domain::from(Term::in_("name", APPS.map(|(name, _)| name))).and(Term::eq("state", "installed"));
    let page = Page::first(u32::try_from(APPS.len()).unwrap_or(u32::MAX));
    match odoo.search_page("ir.module.module", &domain, &Fields::new().text("name"), &page).await {
        Ok(found) => Ok(Some(found.records.iter().filter_map(|row| rows::text(row, "name")).collect())),
        Err(error) => match ToolError::from(error) {
            error if matches!(error.code, Code::OdooSinPermiso | Code::OdooIncompatible) => Ok(None),
            error => Err(error),
        },
    }
}

fn named(installed: &[&str]) -> Vec<String> {
    let mut labels: Vec<String> = APPS.iter().filter(|(name, _)| installed.contains(name)).map(|(_, label)| (*label).to_owned()).collect();
    labels.dedup();
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_named_in_their_order() {
        assert_eq!(named(&["stock", "sale_management", "sale", "web"]), ["ventas", "inventario"]);
    }
}
