//! `consultar_rnc_dgii`: a number, and the taxpayer the DGII's listing has for it.
//!
//! Local data, microseconds. A wrong check digit never prevents the look-up, and "not found" speaks of the listing's date only.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::suggestion::{self, OdooSuggestion};
use crate::dgii::{IdKind, Listed, Taxpayer, TaxpayerId};
use crate::odoo::domain::{Domain, Term};
use crate::odoo::{Fields, Page};
use crate::text::Language;
use crate::tools::cx::ToolCx;
use crate::tools::error::{Code, ToolError};
use crate::tools::sales::{self, rows};
use crate::tools::say;
use crate::tools::tool::{Pack, Tool};

/// See the module.
pub struct ConsultarRncDgii;

/// The arguments.
#[derive(Deserialize, JsonSchema)]
pub struct Input {
    /// RNC (9 dígitos) o cédula (11), como texto: los ceros iniciales cuentan.
    #[schemars(length(min = 1, max = 64))]
    pub rnc: String,
    /// Si también se busca entre los clientes de Odoo. Por defecto no.
    pub comparar_con_odoo: Option<bool>,
}

/// The customer that has the number already.
#[derive(Serialize, JsonSchema)]
pub struct InOdoo {
    /// Id del cliente.
    pub id: i64,
    /// Nombre del cliente en Odoo.
    pub nombre: String,
}

/// The result.
#[derive(Serialize, JsonSchema)]
pub struct Output {
    /// Si figura en el listado de `fecha_corte`.
    pub encontrado: bool,
    /// Solo dígitos.
    pub rnc: String,
    /// Con guiones, como lo escribe la DGII.
    pub rnc_formato: String,
    /// rnc o cedula.
    pub tipo: String,
    /// Si el dígito verificador coincide. Hay números emitidos que no coinciden.
    pub digito_verificador: bool,
    /// Razón social.
    pub nombre: Option<String>,
    /// Nombre comercial.
    pub nombre_comercial: Option<String>,
    /// ACTIVO, SUSPENDIDO, DADO DE BAJA, CESE TEMPORAL, ANULADO, RECHAZADO u otro.
    pub estado: Option<String>,
    /// Si el estado es ACTIVO.
    pub activo: Option<bool>,
    /// NORMAL, RST o PST.
    pub regimen_pago: Option<String>,
    /// Actividad económica.
    pub actividad_economica: Option<String>,
    /// Inicio de operaciones (ISO).
    pub fecha_inicio: Option<NaiveDate>,
    /// De dónde viene el dato.
    pub fuente: String,
    /// Fecha del listado (ISO).
    pub fecha_corte: NaiveDate,
    /// Días desde esa fecha.
    pub antiguedad_dias: i64,
    /// Lo que conviene saber antes de usarlo.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avisos: Vec<String>,
    /// Cómo registrarlo en Odoo.
    pub sugerencia_odoo: Option<OdooSuggestion>,
    /// El cliente de Odoo que ya tiene ese número, si se pidió comparar.
    pub ya_en_odoo: Option<InOdoo>,
    /// Para decir en voz alta.
    pub frase: String,
}

impl Tool for ConsultarRncDgii {
    const NAME: &'static str = "consultar_rnc_dgii";
    const TITLE: &'static str = "Consultar RNC en la DGII";
    const ABOUT: &'static str = "Úsela con un RNC o una cédula para saber el nombre, el estado y los datos del contribuyente según el listado de la DGII. \
        No busca por nombre (buscar_contribuyente) ni registra clientes (crear_cliente).";
    const PACKS: &'static [Pack] = &[Pack::Voice, Pack::Sales];
    const ASKS_ODOO: bool = false;
    type Input = Input;
    type Output = Output;

    async fn run(cx: &ToolCx, input: Input) -> Result<Output, ToolError> {
        let id = TaxpayerId::parse(&input.rnc).map_err(|error| bad_number(&input.rnc).cause(error))?;
        let listed = cx.padron().lookup(&id).map_err(|error| super::padron_error(&error))?;
        let mut output = answer(&id, listed, cx.today(), cx.language());
        output.avisos.extend(super::age_warning(cx, output.antiguedad_dias));
        if input.comparar_con_odoo == Some(true) {
            match Box::pin(in_odoo(cx, &id)).await {
                Ok(found) => output.ya_en_odoo = found,
                // The listing's answer stands whether Odoo answers or not.
                Err(error) => {
                    let facts: Vec<(&str, &str)> = error.facts.iter().map(|(name, value)| (*name, if *name == "detalle" { "" } else { value.as_str() })).collect();
                    let detail = cx.say(&format!("errores.{}.mensaje", error.code.as_str()), &facts);
                    output.avisos.push(cx.say("avisos.odoo_no_comparado", &[("detalle", detail.trim())]));
                }
            }
        }
        Ok(output)
    }
}

/// The text is no RNC and no cédula.
pub(crate) fn bad_number(text: &str) -> ToolError {
    ToolError::new(Code::IdentificadorInvalido).fact("valor", say::cut(text.trim(), 40))
}

async fn in_odoo(cx: &ToolCx, id: &TaxpayerId) -> Result<Option<InOdoo>, ToolError> {
    let odoo = cx.odoo().await?;
    let domain = Domain::from(Term::in_("vat", sales::vat_forms(id))).and(Term::eq("parent_id", false));
    let found = odoo.search_page("res.partner", &domain, &Fields::new().text("name"), &Page::first(1)).await?;
    Ok(found.records.first().and_then(|row| Some(InOdoo { id: rows::id(row)?, nombre: rows::text(row, "name")? })))
}

fn answer(id: &TaxpayerId, listed: Listed, today: NaiveDate, language: Language) -> Output {
    let cutoff = listed.cutoff;
    let check = id.check_digit_ok();
    let frase = phrase(id, listed.taxpayer.as_ref(), cutoff, today, language);
    let mut output = Output {
        encontrado: listed.taxpayer.is_some(),
        rnc: id.digits().to_owned(),
        rnc_formato: id.formatted(),
        tipo: match id.kind() {
            IdKind::Rnc => "rnc".to_owned(),
            IdKind::Cedula => "cedula".to_owned(),
        },
        digito_verificador: check,
        nombre: None,
        nombre_comercial: None,
        estado: None,
        activo: None,
        regimen_pago: None,
        actividad_economica: None,
        fecha_inicio: None,
        fuente: super::SOURCE.to_owned(),
        fecha_corte: cutoff,
        antiguedad_dias: super::age_days(cutoff, today),
        avisos: Vec::new(),
        sugerencia_odoo: None,
        ya_en_odoo: None,
        frase,
    };
    let Some(taxpayer) = listed.taxpayer else { return output };
    if !check {
        output.avisos.push(crate::text::text(language, "avisos.digito"));
    }
    if let Some(status) = taxpayer.status.as_deref().filter(|_| !taxpayer.is_active()) {
        output.avisos.push(crate::text::fill(language, "avisos.estado", &[("estado", status)]));
    }
    output.sugerencia_odoo = Some(suggestion::of(&taxpayer, language));
    output.activo = Some(taxpayer.is_active());
    output.nombre = Some(taxpayer.name);
    output.estado = taxpayer.status;
    // Of natural persons the name and the status, no more.
    if id.kind() == IdKind::Rnc {
        output.nombre_comercial = taxpayer.trade_name;
        output.regimen_pago = taxpayer.regime;
        output.actividad_economica = taxpayer.activity;
        output.fecha_inicio = taxpayer.start_date;
    } else if let Some(suggested) = &mut output.sugerencia_odoo {
        suggested.referencia = None;
    }
    output
}

fn phrase(id: &TaxpayerId, taxpayer: Option<&Taxpayer>, cutoff: NaiveDate, today: NaiveDate, language: Language) -> String {
    let day = say::date(language, cutoff, today);
    let number = say::taxpayer_id(language, id);
    let Some(taxpayer) = taxpayer else {
        let key = if id.check_digit_ok() { "frases.rnc.no_encontrado" } else { "frases.rnc.revise" };
        return say::phrase(language, key, &[("numero", &capital(&number)), ("fecha", &day)]);
    };
    let status = taxpayer.status.as_deref().unwrap_or_default().to_lowercase();
    let key = match (taxpayer.is_active(), status.is_empty()) {
        (true, _) => "frases.rnc.activo",
        (false, false) => "frases.rnc.otro_estado",
        (false, true) => "frases.rnc.sin_estado",
    };
    say::phrase_around(language, key, ("nombre", &taxpayer.name), &[("numero", &number), ("estado", &status), ("fecha", &day)])
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn of(number: &str, taxpayer: Option<Taxpayer>) -> Output {
        answer(&TaxpayerId::parse(number).unwrap(), Listed { taxpayer, cutoff: day("2026-11-21") }, day("2026-11-22"), Language::Es)
    }

    fn taxpayer(number: &str, name: &str, status: &str) -> Taxpayer {
        Taxpayer {
            id: TaxpayerId::parse(number).unwrap(),
            name: name.to_owned(),
            trade_name: Some("INDEXA".to_owned()),
            activity: Some("VENTA AL POR MAYOR DE SOFTWARE".to_owned()),
            start_date: Some(day("2018-07-20")),
            status: Some(status.to_owned()),
            regime: Some("NORMAL".to_owned()),
        }
    }

    #[test]
    fn an_active_company_is_said_as_the_reference_says_it() {
        let output = of("131793916", Some(taxpayer("131793916", "INDEXA SRL", "ACTIVO")));
        assert_eq!(output.frase, "INDEXA SRL, RNC uno tres uno, siete nueve tres nueve uno, seis, está activo según el listado de la DGII del veintiuno de noviembre.");
        assert_eq!((output.rnc_formato.as_str(), output.digito_verificador, output.activo, output.antiguedad_dias), ("131-79391-6", true, Some(true), 1));
        assert_eq!(output.sugerencia_odoo.unwrap().vat, "131793916");
        assert!(output.avisos.is_empty());
    }

    #[test]
    fn a_number_that_is_not_listed_is_an_answer() {
        let good = of("814387152", None);
        assert!(!good.encontrado && good.frase.contains("no aparece en el listado de la DGII del veintiuno de noviembre; puede ser un registro reciente"), "{}", good.frase);
        let bad = of("101000001", None);
        assert!(bad.frase.contains("revise el número: el dígito verificador no coincide"), "{}", bad.frase);
        assert!(!bad.digito_verificador);
    }

    #[test]
    fn a_wrong_digit_does_not_hide_who_is_listed() {
        let output = of("101000001", Some(taxpayer("101000001", "COLMADO X", "SUSPENDIDO")));
        assert!(output.encontrado && !output.digito_verificador && output.activo == Some(false));
        assert_eq!(output.avisos.len(), 2, "{:?}", output.avisos);
        assert!(output.frase.contains("aparece como suspendido"), "{}", output.frase);
    }

    #[test]
    fn of_persons_only_name_and_status_and_never_the_number() {
        let output = of("00113918205", Some(taxpayer("00113918205", "JUAN PEREZ", "ACTIVO")));
        assert_eq!((output.actividad_economica, output.fecha_inicio, output.regimen_pago, output.nombre_comercial), (None, None, None, None));
        assert!(output.sugerencia_odoo.unwrap().referencia.is_none());
        assert!(output.frase.contains("cédula terminada en dos cero cinco"), "{}", output.frase);
        let absent = of("00113918205", None).frase;
        assert!(absent.starts_with("Cédula terminada"), "{absent}");
    }

    #[test]
    fn long_names_leave_room_for_the_date() {
        let output = of("131793916", Some(taxpayer("131793916", &"ASOCIACIÓN ".repeat(30), "CESE TEMPORAL")));
        assert!(output.frase.chars().count() <= say::PHRASE_CHARS_MAX && output.frase.ends_with("noviembre."), "{}", output.frase);
    }
}
