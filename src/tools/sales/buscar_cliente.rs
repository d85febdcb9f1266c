//! `buscar_cliente`: who is this customer in the tenant's Odoo?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::partners::{self, Customer, Found};
use crate::text::Language;
use crate::tools::cx::ToolCx;
use crate::tools::error::ToolError;
use crate::tools::say;
use crate::tools::tool::{Pack, Tool};

const LIMIT_DEFAULT: u32 = 5;
const LIMIT_MAX: u32 = 10;
/// Customers that a sentence holds.
const SAID_MAX: usize = 3;

/// See the module.
pub struct BuscarCliente;

/// The arguments.
#[derive(Deserialize, JsonSchema)]
pub struct Input {
    /// Un solo dato: RNC, cédula, teléfono, correo, nombre o id.
    #[schemars(length(min = 1, max = 120))]
    pub consulta: String,
    /// Cuántos devolver. Por defecto 5.
    #[schemars(range(min = 1, max = 10))]
    pub limite: Option<u32>,
}

/// The result.
#[derive(Serialize, JsonSchema)]
pub struct Output {
    /// Los que coinciden, el más parecido primero.
    pub clientes: Vec<Customer>,
    /// Cuántos coinciden en total.
    pub total: u64,
    /// Si hay más de los mostrados: pida otro dato.
    pub hay_mas: bool,
    /// Lo que conviene saber.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avisos: Vec<String>,
    /// Para decir en voz alta.
    pub frase: String,
}

impl Tool for BuscarCliente {
    const NAME: &'static str = "buscar_cliente";
    const TITLE: &'static str = "Buscar cliente";
    const ABOUT: &'static str = "Úsela para saber quién es un cliente de la empresa en Odoo, por RNC, cédula, teléfono, correo o nombre. \
        No consulta la DGII (consultar_rnc_dgii) ni registra clientes nuevos (crear_cliente).";
    const PACKS: &'static [Pack] = &[Pack::Voice, Pack::Sales];
    const NEEDS: &'static [(&'static str, &'static str)] = &[("res.partner", "read")];
    const ASKS_ODOO: bool = true;
    type Input = Input;
    type Output = Output;

    async fn run(cx: &ToolCx, input: Input) -> Result<Output, ToolError> {
        let query = partners::query_of(cx, "consulta", &input.consulta)?;
        let odoo = cx.odoo().await?;
        let mut found = partners::find(&odoo, &query).await?;
        let frase = phrase(&found, &input.consulta, cx.language());
        let limit = input.limite.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX) as usize;
        found.customers.truncate(limit);
        Ok(Output {
            hay_mas: found.total > found.customers.len() as u64,
            clientes: found.customers,
            total: found.total,
            avisos: found.similar.then(|| cx.say("avisos.parecidos", &[])).into_iter().collect(),
            frase,
        })
    }
}

fn phrase(found: &Found, asked: &str, language: Language) -> String {
    let said = |max_chars: usize| -> Vec<String> { found.customers.iter().take(SAID_MAX).map(|customer| say::cut(&customer.said(language), max_chars)).collect() };
    let total = say::number(language, found.total);
    match found.customers.as_slice() {
        [] => say::phrase_around(language, "frases.clientes.ninguno", ("texto", asked.trim()), &[]),
        [only] => say::phrase_around(language, "frases.clientes.uno", ("cliente", &only.said(language)), &[]),
        several => {
            let key = if several.len() <= SAID_MAX { "frases.clientes.varios" } else { "frases.clientes.muchos" };
            say::phrase(language, key, &[("total", &total), ("clientes", &say::list(language, &said(45)))])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[(&str, Option<&str>)]) -> Found {
        let customer = |(name, city): &(&str, Option<&str>)| Customer {
            cliente_id: 1,
            nombre: (*name).to_owned(),
            rnc: Some("00113918205".to_owned()),
            telefono: None,
            email: None,
            ciudad: city.map(str::to_owned),
            es_empresa: true,
            empresa: None,
            empresa_id: None,
        };
        Found { customers: names.iter().map(customer).collect(), total: names.len() as u64, similar: false }
    }

    #[test]
    fn phrases_tell_customers_apart() {
        let say = |found: &Found| phrase(found, "nova", Language::Es);
        assert_eq!(say(&found(&[])), "No encontré ningún cliente con «nova».");
        assert_eq!(say(&found(&[("Nova", Some("Santiago"))])), "Encontré a Nova, de Santiago.");
        assert_eq!(say(&found(&[("Nova", Some("Santiago")), ("Nova Dos", None)])), "Encontré dos clientes: Nova, de Santiago y Nova Dos. ¿Cuál es?");
        let four = found(&[("A", None), ("B", None), ("C", None), ("D", None)]);
        assert_eq!(say(&four), "Encontré cuatro clientes con ese dato, por ejemplo A, B y C. ¿Puede darme otro dato?");
        assert!(!say(&found(&[("Juan", None)])).contains("001139"), "no cédula is said");
    }
}
