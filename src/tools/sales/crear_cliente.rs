//! `crear_cliente`: registers a customer, completed from the DGII's listing, or answers the one that exists.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

mod duplicates;

use super::rows;
use crate::dgii::text::fold;
use crate::dgii::{PadronError, Taxpayer, TaxpayerId};
use crate::odoo::domain::Term;
use crate::odoo::{Fields, OdooClient, Page};
use crate::tools::cx::ToolCx;
use crate::tools::error::ToolError;
use crate::tools::say;
use crate::tools::taxpayers::consultar_rnc_dgii::bad_number;
use crate::tools::taxpayers::suggestion;
use crate::tools::tool::{Pack, Planned, WriteTool};
use duplicates::{Existing, existing};

const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// The taxpayer type of the Dominican modules.
const TAXPAYER_TYPE: &str = "l10n_do_dgii_tax_payer_type";
/// The fields that not every Odoo's customers have.
pub(crate) const PARTNER_FIELDS: [&str; 4] = ["company_type", "is_company", "customer_rank", TAXPAYER_TYPE];
/// Folded words that only companies carry in their names.
const COMPANY_WORDS: [&str; 9] = ["SRL", "SA", "SAS", "EIRL", "CXA", "INC", "LLC", "GRUPO", "FUNDACION"];

/// See the module.
pub struct CrearCliente;

/// Company or person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Empresa.
    Empresa,
    /// Persona física.
    Persona,
}

/// The arguments.
#[derive(Deserialize, JsonSchema)]
pub struct Input {
    /// Nombre. Puede faltar si el RNC está en el listado de la DGII.
    #[schemars(length(min = 1, max = 200))]
    pub nombre: Option<String>,
    /// RNC (9 dígitos) o cédula (11), como texto.
    #[schemars(length(min = 1, max = 64))]
    pub rnc: Option<String>,
    /// Teléfono.
    #[schemars(length(max = 40))]
    pub telefono: Option<String>,
    /// Correo electrónico.
    #[schemars(length(max = 120))]
    pub email: Option<String>,
    /// Dirección: calle, número y sector.
    #[schemars(length(max = 200))]
    pub direccion: Option<String>,
    /// Por defecto según el RNC o el nombre.
    pub tipo: Option<Kind>,
}

/// What will be written.
#[derive(Serialize)]
pub struct Plan {
    name: String,
    rnc: Option<String>,
    phone: Option<String>,
    email: Option<String>,
    street: Option<String>,
    kind: Kind,
    taxpayer_type: Option<&'static str>,
    /// The fields of `res.partner` as they go to Odoo.
    values: Map<String, Value>,
    /// Shown, not written.
    #[serde(skip)]
    shown: Shown,
}

/// What the preview adds to the plan.
#[derive(Default)]
struct Shown {
    status: Option<String>,
    reason: Option<String>,
    notices: Vec<String>,
}

/// What would be registered.
#[derive(Serialize, JsonSchema)]
pub struct Preview {
    /// Nombre.
    pub nombre: String,
    /// RNC o cédula, solo dígitos.
    pub rnc: Option<String>,
    /// empresa o persona.
    pub tipo: Kind,
    /// Teléfono.
    pub telefono: Option<String>,
    /// Correo.
    pub email: Option<String>,
    /// Dirección.
    pub direccion: Option<String>,
    /// Estado en el listado de la DGII.
    pub estado_dgii: Option<String>,
    /// Tipo de contribuyente que se escribirá, si el Odoo lo lleva.
    pub tipo_contribuyente: Option<String>,
    /// Por qué ese tipo.
    pub motivo: Option<String>,
}

/// The result of either step.
#[derive(Default, Serialize, JsonSchema)]
pub struct Output {
    /// Lo que se registrará al confirmar.
    pub vista_previa: Option<Preview>,
    /// Id en Odoo: sirve para crear_cotizacion.
    pub cliente_id: Option<i64>,
    /// Nombre registrado.
    pub nombre: Option<String>,
    /// RNC o cédula registrado.
    pub rnc: Option<String>,
    /// Si ya existía y no se creó otro.
    pub ya_existia: Option<bool>,
    /// Lo que conviene saber.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avisos: Vec<String>,
    /// Página del cliente en Odoo.
    pub url: Option<String>,
    /// Para decir en voz alta.
    pub frase: String,
}

impl WriteTool for CrearCliente {
    const NAME: &'static str = "crear_cliente";
    const TITLE: &'static str = "Crear cliente";
    const ABOUT: &'static str = "Úsela para registrar un cliente nuevo en Odoo: basta su RNC (se completa con la DGII) o su nombre. \
        Si ya existe por RNC, teléfono o correo, devuelve el existente y no lo modifica. Para solo buscar, buscar_cliente.";
    const PACKS: &'static [Pack] = &[Pack::Voice, Pack::Sales, Pack::Writes];
    const NEEDS: &'static [(&'static str, &'static str)] = &[("res.partner", "read"), ("res.partner", "create"), ("res.country", "read")];
    type Input = Input;
    type Plan = Plan;
    type Output = Output;

    async fn plan(cx: &ToolCx, input: Input) -> Result<Planned<Plan, Output>, ToolError> {
        let known = Known::of(cx, &input)?;
        let odoo = cx.odoo().await?;
        let mut notices = known.notices.clone();
        if let Some(existing) = existing(cx, &odoo, &known, &mut notices).await? {
            return Ok(Planned::Nothing(exists(cx, &odoo, &existing, notices)));
        }
        let (fields, country) = tokio::try_join!(partner_fields(cx, &odoo), dominican_republic(cx, &odoo))?;
        Ok(Planned::Write(known.plan(cx, &fields, country, notices)))
    }

    fn preview(cx: &ToolCx, plan: &Plan) -> Output {
        let number = plan.rnc.as_deref().and_then(|rnc| TaxpayerId::parse(rnc).ok());
        let number = number.map(|id| format!(", {}", say::taxpayer_id(cx.language(), &id))).unwrap_or_default();
        Output {
            vista_previa: Some(Preview {
                nombre: plan.name.clone(),
                rnc: plan.rnc.clone(),
                tipo: plan.kind,
                telefono: plan.phone.clone(),
                email: plan.email.clone(),
                direccion: plan.street.clone(),
                estado_dgii: plan.shown.status.clone(),
                tipo_contribuyente: plan.taxpayer_type.map(str::to_owned),
                motivo: plan.shown.reason.clone(),
            }),
            ya_existia: Some(false),
            avisos: plan.shown.notices.clone(),
            frase: say::phrase_around(cx.language(), "frases.cliente.vista", ("nombre", &plan.name), &[("numero", &number)]),
            ..Output::default()
        }
    }

    async fn execute(cx: &ToolCx, plan: Plan) -> Result<Output, ToolError> {
        let odoo = cx.odoo().await?;
        let id = odoo.with_context(partner_context()).create("res.partner", plan.values).await?;
        Ok(Output {
            cliente_id: Some(id),
            ya_existia: Some(false),
            avisos: plan.shown.notices,
            url: Some(record_url(&odoo, id)),
            frase: say::phrase_around(cx.language(), "frases.cliente.creado", ("nombre", &plan.name), &[]),
            nombre: Some(plan.name),
            rnc: plan.rnc,
            ..Output::default()
        })
    }
}

/// The arguments, checked, with what the listing knows.
struct Known {
    name: String,
    id: Option<TaxpayerId>,
    taxpayer: Option<Taxpayer>,
    phone: Option<String>,
    email: Option<String>,
    street: Option<String>,
    kind: Option<Kind>,
    notices: Vec<String>,
}

impl Known {
    fn of(cx: &ToolCx, input: &Input) -> Result<Self, ToolError> {
        let text = |value: &Option<String>| value.as_deref().map(collapse).filter(|text| !text.is_empty());
        let (given, phone, email) = (text(&input.nombre), text(&input.telefono), text(&input.email));
        if phone.as_deref().is_some_and(|phone| !PHONE_DIGITS.contains(&digits_of(phone).len())) {
            return Err(ToolError::argument(cx.say("detalles.telefono", &[])));
        }
        if email.as_deref().is_some_and(|email| !looks_like_email(email)) {
            return Err(ToolError::argument(cx.say("detalles.email", &[])));
        }
        let number = text(&input.rnc);
        let id = number.as_deref().map(|number| TaxpayerId::parse(number).map_err(|error| bad_number(number).cause(error))).transpose()?;
        let mut notices = Vec::new();
        let taxpayer = match &id {
            Some(id) => listed(cx, id, given.is_some(), &mut notices)?,
            None => None,
        };
        let listed_name = taxpayer.as_ref().map(|taxpayer| taxpayer.name.clone());
        if let (Some(given), Some(listed)) = (&given, &listed_name)
            && fold(given) != fold(listed)
        {
            notices.push(cx.say("avisos.nombre_distinto", &[("nombre", listed)]));
        }
        let name = given.or(listed_name).ok_or_else(|| ToolError::argument(cx.say("detalles.nombre_o_rnc", &[])))?;
        Ok(Self { name, id, taxpayer, phone, email, street: text(&input.direccion), kind: input.tipo, notices })
    }

    fn plan(self, cx: &ToolCx, fields: &Value, country: Option<i64>, mut notices: Vec<String>) -> Plan {
        let kind = self.kind.unwrap_or_else(|| kind_of(self.id.as_ref(), &self.name));
        let (mut values, taxpayer_type) = partner_values(&self.name, self.id.as_ref(), kind, self.taxpayer.as_ref(), fields, country);
        for (field, value) in [("phone", &self.phone), ("email", &self.email), ("street", &self.street)] {
            if let Some(value) = value {
                values.insert(field.to_owned(), json!(value));
            }
        }
        if taxpayer_type.is_some() && self.id.is_some_and(|id| id.digits().len() == 11) {
            notices.push(cx.say("avisos.persona_valor_fiscal", &[]));
        }
        Plan {
            name: self.name,
            rnc: self.id.map(|id| id.digits().to_owned()),
            phone: self.phone,
            email: self.email,
            street: self.street,
            kind,
            taxpayer_type: taxpayer_type.map(|kind| kind.code),
            values,
            shown: Shown { status: self.taxpayer.and_then(|taxpayer| taxpayer.status), reason: taxpayer_type.map(|kind| kind.reason(cx.language())), notices },
        }
    }
}

/// Company or person, as the number says, or the name where there is none.
pub(crate) fn kind_of(id: Option<&TaxpayerId>, name: &str) -> Kind {
    match id {
        Some(id) if suggestion::is_company(id) => Kind::Empresa,
        Some(_) => Kind::Persona,
        None if is_company_name(name) => Kind::Empresa,
        None => Kind::Persona,
    }
}

/// A new customer's fields of `res.partner`, as far as this Odoo has them (`fields`: see [`PARTNER_FIELDS`]), and its kind of taxpayer if that is one.
pub(crate) fn partner_values(
    name: &str,
    id: Option<&TaxpayerId>,
    kind: Kind,
    taxpayer: Option<&Taxpayer>,
    fields: &Value,
    country: Option<i64>,
) -> (Map<String, Value>, Option<suggestion::TaxpayerType>) {
    let has = |field: &str| fields.get(field).is_some();
    let mut values = Map::new();
    let mut put = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            values.insert(field.to_owned(), value);
        }
    };
    put("name", Some(json!(name)));
    // Bare digits: with dashes the most used Dominican module takes the customer for a non-payer.
    put("vat", id.map(|id| json!(id.digits())));
    put("country_id", country.map(|id| json!(id)));
    if has("company_type") {
        put("company_type", Some(json!(if kind == Kind::Empresa { "company" } else { "person" })));
    } else if fields.get("is_company").is_some_and(|field| field.get("readonly") != Some(&json!(true))) {
        put("is_company", Some(json!(kind == Kind::Empresa)));
    }
    // So that sales people see the customer under "Customers".
    put("customer_rank", has("customer_rank").then(|| json!(1)));
    let suggested = id.map(|id| suggestion::taxpayer_type(id, name, taxpayer.and_then(|taxpayer| taxpayer.activity.as_deref())));
    let taxpayer_type = suggested.filter(|_| has(TAXPAYER_TYPE));
    put(TAXPAYER_TYPE, taxpayer_type.map(|kind| json!(kind.code)));
    (values, taxpayer_type)
}

/// The context in which a customer is made: third-party modules look the number up on the web inside `create()`, and we have done that from the
/// listing. Others ignore it.
pub(crate) fn partner_context() -> Map<String, Value> {
    Map::from_iter([("l10n_do_rnc_validation_skip_lookup".to_owned(), json!(true))])
}

/// The taxpayer of the listing, with notices about what is odd. Without a name of the caller's own the listing must answer.
fn listed(cx: &ToolCx, id: &TaxpayerId, named: bool, notices: &mut Vec<String>) -> Result<Option<Taxpayer>, ToolError> {
    let check = id.check_digit_ok();
    let listed = match cx.padron().lookup(id) {
        Ok(listed) => listed,
        Err(PadronError::NotLoaded) if named => {
            notices.push(cx.say("avisos.padron_vacio", &[]));
            if !check {
                notices.push(cx.say("avisos.digito_cliente", &[]));
            }
            return Ok(None);
        }
        Err(error) => return Err(crate::tools::taxpayers::padron_error(&error)),
    };
    match &listed.taxpayer {
        None if !named => return Err(ToolError::not_found("contribuyente", id.formatted())),
        None => {
            let day = listed.cutoff.to_string();
            notices.push(cx.say("avisos.no_en_padron", &[("fecha", &day)]));
            if !check {
                notices.push(cx.say("avisos.digito_cliente", &[]));
            }
        }
        Some(taxpayer) => {
            if let Some(status) = taxpayer.status.as_deref().filter(|_| !taxpayer.is_active()) {
                notices.push(cx.say("avisos.estado", &[("estado", status)]));
            }
        }
    }
    Ok(listed.taxpayer)
}

fn exists(cx: &ToolCx, odoo: &OdooClient, existing: &Existing, avisos: Vec<String>) -> Output {
    Output {
        cliente_id: Some(existing.id),
        nombre: Some(existing.name.clone()),
        rnc: existing.rnc.clone(),
        ya_existia: Some(true),
        avisos,
        url: Some(record_url(odoo, existing.id)),
        frase: say::phrase_around(cx.language(), "frases.cliente.existia", ("nombre", &existing.name), &[]),
        ..Output::default()
    }
}

/// Which fields this Odoo's partners have.
async fn partner_fields(cx: &ToolCx, odoo: &OdooClient) -> Result<Arc<Value>, ToolError> {
    cx.remembered("res.partner fields", async { Ok(Value::Object(odoo.fields_get("res.partner", Some(&PARTNER_FIELDS)).await?)) }).await
}

/// The country's id in this Odoo.
async fn dominican_republic(cx: &ToolCx, odoo: &OdooClient) -> Result<Option<i64>, ToolError> {
    let found = cx
        .remembered("res.country DO", async {
            let rows = odoo.search_page("res.country", &Term::eq("code", "DO").into(), &Fields::new().text("code"), &Page::first(1)).await?;
            Ok(json!(rows.records.first().and_then(rows::id)))
        })
        .await?;
    Ok(found.as_i64())
}

/// The customer's form in Odoo's web client.
fn record_url(odoo: &OdooClient, id: i64) -> String {
    form_url(odoo, "res.partner", id)
}

/// A record's form in Odoo's web client.
pub(crate) fn form_url(odoo: &OdooClient, model: &str, id: i64) -> String {
    let base = odoo.base_url().as_str().trim_end_matches('/');
    if odoo.version().major >= 18 { format!("{base}/odoo/{model}/{id}") } else { format!("{base}/web#id={id}&model={model}&view_type=form") }
}

fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn digits_of(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// One `@`, something before it and a dotted name behind it; no blanks. Whether it exists only a letter can tell.
fn looks_like_email(text: &str) -> bool {
    let Some((user, host)) = text.split_once('@') else { return false };
    !user.is_empty() && !text.contains(char::is_whitespace) && !host.contains('@') && host.split('.').count() >= 2 && host.split('.').all(|part| !part.is_empty())
}

fn is_company_name(name: &str) -> bool {
    // "S.R.L." and "S. A." fold to single letters; put them together again.
    let joined = fold(&name.replace('.', ""));
    let joined = joined.strip_suffix(" S A").map_or(joined.clone(), |head| format!("{head} SA"));
    joined.split(' ').any(|word| COMPANY_WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn company_names_are_told_from_persons() {
        for (name, want) in [
            ("Ferretería Nova SRL", true),
            ("Ferretería Nova S.R.L.", true),
            ("Comercial Díaz, S. A.", true),
            ("Comercial Díaz, S.A.", true),
            ("Juan Pérez", false),
            ("Sara Santana", false),
        ] {
            assert_eq!(is_company_name(name), want, "{name}");
        }
    }

    #[test]
    fn emails_are_checked() {
        for (text, want) in [("a@b.do", true), ("a@b", false), ("a@@b.do", false), ("@b.do", false), ("a b@c.do", false), ("a@b..do", false), ("ab.do", false)] {
            assert_eq!(looks_like_email(text), want, "{text}");
        }
    }
}
