//! `buscar_contribuyente`: a name, and the taxpayers of the DGII's listing that may be meant.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dgii::{IdKind, NameHits, NameQuery, PadronError, Taxpayer};
use crate::text::Language;
use crate::tools::cx::ToolCx;
use crate::tools::error::ToolError;
use crate::tools::say;
use crate::tools::tool::{Pack, Tool};

const LIMIT_DEFAULT: u32 = 5;
const LIMIT_MAX: u32 = 10;
/// Names that a sentence holds.
const SAID_MAX: usize = 3;

/// See the module.
pub struct BuscarContribuyente;

/// The arguments.
#[derive(Deserialize, JsonSchema)]
pub struct Input {
    /// Razón social o nombre comercial, o las palabras que se recuerden.
    #[schemars(length(min = 1, max = 120))]
    pub nombre: String,
    /// Cuántos devolver. Por defecto 5.
    #[schemars(range(min = 1, max = 10))]
    pub limite: Option<u32>,
    /// Si solo interesan los activos. Por defecto no.
    pub solo_activos: Option<bool>,
}

/// One taxpayer.
#[derive(Serialize, JsonSchema)]
pub struct Hit {
    /// Solo dígitos.
    pub rnc: String,
    /// Con guiones.
    pub rnc_formato: String,
    /// rnc o cedula.
    pub tipo: String,
    /// Razón social.
    pub nombre: String,
    /// Nombre comercial.
    pub nombre_comercial: Option<String>,
    /// ACTIVO, SUSPENDIDO u otro.
    pub estado: Option<String>,
    /// Actividad económica.
    pub actividad_economica: Option<String>,
}

impl Hit {
    fn of(taxpayer: Taxpayer) -> Self {
        let company = taxpayer.id.kind() == IdKind::Rnc;
        Self {
            rnc: taxpayer.id.digits().to_owned(),
            rnc_formato: taxpayer.id.formatted(),
            tipo: if company { "rnc" } else { "cedula" }.to_owned(),
            nombre: taxpayer.name,
            // Of natural persons the name and the status, no more.
            nombre_comercial: taxpayer.trade_name.filter(|_| company),
            actividad_economica: taxpayer.activity.filter(|_| company),
            estado: taxpayer.status,
        }
    }
}

/// The result.
#[derive(Serialize, JsonSchema)]
pub struct Output {
    /// Los más parecidos primero.
    pub contribuyentes: Vec<Hit>,
    /// Cuántos hay en total.
    pub total: u64,
    /// Si hay al menos esos, y quizá más.
    pub total_minimo: bool,
    /// Si hay más de los mostrados: dé más palabras del nombre.
    pub hay_mas: bool,
    /// De dónde viene el dato.
    pub fuente: String,
    /// Fecha del listado (ISO).
    pub fecha_corte: NaiveDate,
    /// Lo que conviene saber.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avisos: Vec<String>,
    /// Para decir en voz alta.
    pub frase: String,
}

impl Tool for BuscarContribuyente {
    const NAME: &'static str = "buscar_contribuyente";
    const TITLE: &'static str = "Buscar contribuyente por nombre";
    const ABOUT: &'static str = "Úsela cuando tiene el nombre de una empresa o persona y necesita su RNC según el listado de la DGII. \
        No busca en los clientes de Odoo (buscar_cliente) ni da el detalle de un número (consultar_rnc_dgii).";
    const PACKS: &'static [Pack] = &[Pack::Sales];
    const ASKS_ODOO: bool = false;
    type Input = Input;
    type Output = Output;

    async fn run(cx: &ToolCx, input: Input) -> Result<Output, ToolError> {
        let limit = input.limite.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
        let query = NameQuery { text: input.nombre.clone(), limit: limit as usize, only_active: input.solo_activos.unwrap_or(false) };
        let padron = cx.padron().clone();
        // Tens of milliseconds of computing: not on a thread that serves others.
        let found = tokio::task::spawn_blocking(move || padron.search(&query)).await.map_err(ToolError::internal)?;
        let hits = found.map_err(|error| match error {
            PadronError::QueryTooShort => ToolError::argument(cx.say("detalles.sin_texto", &[("campo", "nombre")])),
            PadronError::QueryTooLong { chars_max, .. } => ToolError::argument(cx.say("argumentos.largo", &[("campo", "nombre"), ("limite", &chars_max.to_string())])),
            other => super::padron_error(&other),
        })?;
        let mut avisos = Vec::new();
        if hits.approximate {
            avisos.push(cx.say("avisos.parecidos", &[]));
        }
        avisos.extend(super::age_warning(cx, super::age_days(hits.cutoff, cx.today())));
        let frase = phrase(&hits, &input.nombre, cx.today(), cx.language());
        Ok(Output {
            hay_mas: hits.total > hits.hits.len() as u64 || hits.total_is_capped,
            total: hits.total,
            total_minimo: hits.total_is_capped,
            fuente: super::SOURCE.to_owned(),
            fecha_corte: hits.cutoff,
            contribuyentes: hits.hits.into_iter().map(Hit::of).collect(),
            avisos,
            frase,
        })
    }
}

fn phrase(hits: &NameHits, asked: &str, today: NaiveDate, language: Language) -> String {
    match hits.hits.as_slice() {
        [] => {
            let day = say::date(language, hits.cutoff, today);
            say::phrase_around(language, "frases.contribuyentes.ninguno", ("texto", asked.trim()), &[("fecha", &day)])
        }
        [only] => {
            let status = only.status.as_deref().unwrap_or_default().to_lowercase();
            let number = say::taxpayer_id(language, &only.id);
            say::phrase_around(language, "frases.contribuyentes.uno", ("nombre", &only.name), &[("numero", &number), ("estado", &status)])
        }
        several => {
            let names: Vec<String> = several.iter().take(SAID_MAX).map(|taxpayer| say::cut(&taxpayer.name, 45)).collect();
            let total = say::number(language, hits.total);
            say::phrase(language, "frases.contribuyentes.varios", &[("total", &total), ("nombres", &say::list(language, &names))])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dgii::TaxpayerId;

    fn hits(names: &[&str], total: u64) -> NameHits {
        let taxpayer = |name: &&str| Taxpayer {
            id: TaxpayerId::parse("131793916").unwrap(),
            name: (*name).to_owned(),
            trade_name: None,
            activity: None,
            start_date: None,
            status: Some("ACTIVO".to_owned()),
            regime: None,
        };
        NameHits { hits: names.iter().map(taxpayer).collect(), total, total_is_capped: false, approximate: false, cutoff: "2026-11-21".parse().unwrap() }
    }

    #[test]
    fn phrases_name_what_was_found() {
        let say = |hits: &NameHits| phrase(hits, "indexa", "2026-11-22".parse().unwrap(), Language::Es);
        assert!(say(&hits(&[], 0)).starts_with("No encontré a «indexa»"));
        assert!(say(&hits(&["INDEXA SRL"], 1)).ends_with("activo."));
        assert_eq!(say(&hits(&["A", "B", "C", "D"], 12)), "Encontré doce contribuyentes; los más parecidos: A, B y C. ¿Cuál es?");
        let long = "ÑANDÚ ".repeat(40);
        assert!(say(&hits(&[&long, &long, &long], 3)).chars().count() <= say::PHRASE_CHARS_MAX);
    }
}
