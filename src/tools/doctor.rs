//! The doctor: a tenant's Odoo, step by step: name, address, connection, version, database, login, rights per tool, latency, the key's end. The command and
//! the portal's page show the same steps; what to do about a failure differs ([`Place`]).

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde_json::{Map, json};

use super::TOOLS;
use super::error::{Code, ToolError};
use crate::clock::instant;
use crate::domain::odoo_keys::ours;
use crate::domain::tenants::Tenant;
use crate::odoo::keys::is_api_key;
use crate::odoo::probe::probe_each;
use crate::odoo::{Found, OdooClient, OdooConfig, OdooError, OdooErrorKind, ProbeStep};
use crate::text::{Language, fill, text};

/// Calls timed for the latency step.
const LATENCY_CALLS: u32 = 5;

/// One step as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// A word of `doctor.pasos`: the same in both languages, for whoever reads JSON.
    pub name: &'static str,
    /// The tool whose rights were looked at.
    pub tool: Option<&'static str>,
    /// Whether it went well.
    pub ok: bool,
    /// What was found, or what went wrong.
    pub detail: String,
    /// Milliseconds.
    pub took_ms: u64,
    /// What to do; only of a failure.
    pub remedy: Option<String>,
}

impl Step {
    /// Its name in the reader's language, with the tool.
    #[must_use]
    pub fn title(&self, language: Language) -> String {
        titled(&text(language, &format!("doctor.pasos.{}", self.name)), self.tool)
    }

    /// Its name for programs, with the tool.
    #[must_use]
    pub fn code(&self) -> String {
        titled(self.name, self.tool)
    }
}

fn titled(name: &str, tool: Option<&str>) -> String {
    tool.map_or_else(|| name.to_owned(), |tool| format!("{name}: {tool}"))
}

/// Most steps that one examination has.
#[must_use]
pub fn steps_max() -> usize {
    9 + TOOLS.len()
}

/// Goes through the steps and gives each as it ends; stops where nothing more can be learnt. Whether all went well.
pub async fn examine(config: OdooConfig, tenant: &Tenant, reader: &Reader, each: &mut (dyn FnMut(Step) + Send)) -> bool {
    let mut all_well = true;
    let mut each = |step: Step| {
        all_well &= step.ok;
        each(step);
    };
    let is_key = is_api_key(&config.secret);
    let client = probe_each(config, &mut |step| each(reader.probed(step))).await;
    if let Some(client) = client {
        rights(&client, tenant, reader, &mut each).await;
        each(latency(&client, reader).await);
        if is_key {
            each(key_end(&client, reader).await);
        }
    }
    all_well
}

/// The rights that each permitted tool needs of the Odoo user.
async fn rights(client: &OdooClient, tenant: &Tenant, reader: &Reader, each: &mut (dyn FnMut(Step) + Send)) {
    let mut known: HashMap<(&str, &str), Result<bool, OdooError>> = HashMap::new();
    for facts in TOOLS.iter().map(|tool| tool.facts()).filter(|facts| tenant.permit(facts.name).is_some()) {
        let began = instant();
        let (mut missing, mut groups, mut remedies) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for (model, operation) in facts.needs {
            if !known.contains_key(&(*model, *operation)) {
                known.insert((model, operation), may(client, model, operation).await);
            }
            match &known[&(*model, *operation)] {
                Ok(true) => {}
                Ok(false) => {
                    missing.push(format!("{operation} {model}"));
                    groups.insert(text(reader.language, &format!("doctor.grupos.{}", group(model))));
                }
                Err(error) => {
                    missing.push(format!("{operation} {model}: {}", error.message));
                    remedies.insert(reader.remedy(&error.kind));
                }
            }
        }
        let ok = missing.is_empty();
        let detail = if ok { reader.say("hallado.rights", &[]) } else { reader.say("hallado.missing", &[("detalle", &missing.join(", "))]) };
        if !groups.is_empty() {
            remedies.insert(reader.advise("rights", &[("grupos", &groups.into_iter().collect::<Vec<_>>().join("; "))]));
        }
        let remedy = (!ok).then(|| remedies.into_iter().collect::<Vec<_>>().join(" "));
        each(Step { name: "rights", tool: Some(facts.name), ok, detail, took_ms: millis(began), remedy });
    }
}

/// Which of Odoo's groups gives the rights to a model that our tools need, as a word of `doctor.grupos`.
fn group(model: &str) -> &'static str {
    match model {
        "sale.order" | "sale.order.line" => "sales",
        "res.partner" => "contacts",
        // Companies, users, countries, products: every internal user may read them.
        _ => "internal",
    }
}

async fn may(client: &OdooClient, model: &str, operation: &str) -> Result<bool, OdooError> {
    let mut named = Map::new();
    named.insert("operation".to_owned(), json!(operation));
    let answer = if client.version().has_has_access() {
        client.call_read(model, "has_access", Some(&[]), named).await?
    } else {
        named.insert("raise_exception".to_owned(), json!(false));
        client.call_read(model, "check_access_rights", None, named).await?
    };
    Ok(answer.as_bool().unwrap_or(false))
}

async fn latency(client: &OdooClient, reader: &Reader) -> Step {
    let mut times = Vec::new();
    for _ in 0..LATENCY_CALLS {
        let began = instant();
        if let Err(error) = client.call_read("res.users", "context_get", None, Map::new()).await {
            return reader.failed("latency", error, millis(began));
        }
        times.push(millis(began));
    }
    times.sort_unstable();
    let middle = times[times.len() / 2];
    let detail = reader.say("hallado.latency", &[("ms", &middle.to_string()), ("llamadas", &LATENCY_CALLS.to_string())]);
    Step { name: "latency", tool: None, ok: true, detail, took_ms: middle, remedy: None }
}

/// When the key ends, as far as Odoo tells. Not to know it is no failure.
async fn key_end(client: &OdooClient, reader: &Reader) -> Step {
    let began = instant();
    let keys = client.own_keys().await;
    // Whatever has ended is not among them for long: Odoo sweeps every day, and this key has just worked.
    let detail = match &keys {
        Ok(None) => reader.say("hallado.key_never", &[]),
        Ok(Some(keys)) => match ours(keys, None, DateTime::<Utc>::MIN_UTC) {
            Some(key) => key.expires_at.map_or_else(|| reader.say("hallado.key_never", &[]), |ends| reader.say("hallado.key_ends", &[("dia", &ends.date_naive().to_string())])),
            None => reader.say("hallado.key_several", &[("cantidad", &keys.len().to_string())]),
        },
        Err(_) => reader.say("hallado.key_unknown", &[]),
    };
    Step { name: "key", tool: None, ok: true, detail, took_ms: millis(began), remedy: None }
}

fn millis(began: tokio::time::Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What a reader can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Run a command: sentences of `doctor`.
    Shell,
    /// Change a form of the portal, or ask somebody: sentences of `portal.doctor`.
    Page,
    /// The same, about an Odoo user of the reader's own.
    OwnPage,
}

/// Who reads, and about whom.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Their language.
    pub language: Language,
    /// Where they read.
    pub place: Place,
    /// The tenant's id.
    pub tenant: String,
    /// The Odoo user.
    pub user: String,
}

impl Reader {
    fn probed(&self, step: ProbeStep) -> Step {
        match (step.error, step.found) {
            (Some(error), _) => self.failed(step.name, error, step.took_ms),
            (None, found) => {
                let detail = found.map_or(step.detail, |found| self.found(&found));
                Step { name: step.name, tool: None, ok: step.ok, detail, took_ms: step.took_ms, remedy: None }
            }
        }
    }

    /// What happened in the reader's language, and Odoo's (or the network's) own words behind it.
    fn failed(&self, name: &'static str, error: OdooError, took_ms: u64) -> Step {
        let (remedy, own) = (self.remedy(&error.kind), error.message.clone());
        let code = match ToolError::from(error).code {
            Code::OdooCredenciales if self.place == Place::OwnPage => Code::OdooPropioRechazado,
            code => code,
        };
        let what = fill(self.language, &format!("errores.{}.mensaje", code.as_str()), &[("detalle", &own)]);
        let detail = if what.contains(&own) { what } else { format!("{what} ({own})") };
        Step { name, tool: None, ok: false, detail, took_ms, remedy: Some(remedy) }
    }

    fn found(&self, found: &Found) -> String {
        match found {
            Found::Addresses { host, count } => self.say("hallado.addresses", &[("host", host), ("cantidad", &count.to_string())]),
            Found::Tls => self.say("hallado.tls", &[]),
            Found::Plain => self.say("hallado.plain", &[]),
            Found::Something => self.say("hallado.something", &[]),
            Found::User { uid, protocol } => self.say("hallado.user", &[("uid", &uid.to_string()), ("protocolo", &protocol.to_string())]),
            Found::Allowed(_) | Found::Version(_) | Found::Database(_) => found.to_string(),
        }
    }

    fn remedy(&self, kind: &OdooErrorKind) -> String {
        self.advise(key(kind), &[])
    }

    /// What to do, where the reader is.
    fn advise(&self, key: &str, facts: &[(&str, &str)]) -> String {
        self.sentence(&format!("{}.{key}", if self.place == Place::Shell { "doctor" } else { "portal.doctor" }), facts)
    }

    /// A sentence under `doctor.`.
    fn say(&self, key: &str, facts: &[(&str, &str)]) -> String {
        self.sentence(&format!("doctor.{key}"), facts)
    }

    fn sentence(&self, key: &str, facts: &[(&str, &str)]) -> String {
        let mut all = vec![("id", self.tenant.as_str()), ("usuario", self.user.as_str())];
        all.extend_from_slice(facts);
        fill(self.language, key, &all)
    }
}

/// The remedy's name in `locales/`.
fn key(kind: &OdooErrorKind) -> &'static str {
    match kind {
        OdooErrorKind::BadCredentials => "bad_credentials",
        OdooErrorKind::AccessDenied => "access_denied",
        OdooErrorKind::UnknownModel | OdooErrorKind::UnknownField | OdooErrorKind::UnknownMethod => "unknown_part",
        OdooErrorKind::DatabaseNotFound => "database_not_found",
        OdooErrorKind::ApiNotInPlan => "api_not_in_plan",
        OdooErrorKind::Busy { .. } | OdooErrorKind::Crowded { .. } | OdooErrorKind::Paused { .. } => "busy",
        OdooErrorKind::TimedOut { .. } => "timed_out",
        OdooErrorKind::Unreachable => "unreachable",
        OdooErrorKind::AddressRefused => "address_refused",
        OdooErrorKind::TlsFailed => "tls_failed",
        OdooErrorKind::NotOdoo => "not_odoo",
        OdooErrorKind::AnswerTooLarge => "answer_too_large",
        OdooErrorKind::VersionNotSupported => "version_not_supported",
        OdooErrorKind::ConnectionLost => "connection_lost",
        // What the doctor asks is always of the right form: a refusal of it is a fault of that Odoo.
        OdooErrorKind::ServerFault | OdooErrorKind::RecordMissing | OdooErrorKind::Validation | OdooErrorKind::BadArguments => "server_fault",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [OdooErrorKind; 20] = [
        OdooErrorKind::BadCredentials,
        OdooErrorKind::AccessDenied,
        OdooErrorKind::RecordMissing,
        OdooErrorKind::Validation,
        OdooErrorKind::UnknownModel,
        OdooErrorKind::UnknownField,
        OdooErrorKind::UnknownMethod,
        OdooErrorKind::BadArguments,
        OdooErrorKind::DatabaseNotFound,
        OdooErrorKind::ApiNotInPlan,
        OdooErrorKind::Busy { retry_after_s: None },
        OdooErrorKind::TimedOut { sent: true },
        OdooErrorKind::Unreachable,
        OdooErrorKind::AddressRefused,
        OdooErrorKind::TlsFailed,
        OdooErrorKind::NotOdoo,
        OdooErrorKind::AnswerTooLarge,
        OdooErrorKind::VersionNotSupported,
        OdooErrorKind::ServerFault,
        OdooErrorKind::ConnectionLost,
    ];

    fn reader(language: Language) -> Reader {
        Reader { language, place: Place::Shell, tenant: "0199-id".to_owned(), user: "agente".to_owned() }
    }

    #[test]
    fn every_failure_tells_the_reader_of_a_page_what_to_do() {
        for language in [Language::Es, Language::En] {
            let reader = Reader { place: Place::Page, ..reader(language) };
            for kind in KINDS {
                let remedy = reader.remedy(&kind);
                assert!(remedy.len() > 20 && !["dunet ", "%{", "portal.", "0199-id", "DUNET_"].iter().any(|word| remedy.contains(word)), "{kind:?}: {remedy}");
            }
            let rights = reader.advise("rights", &[("grupos", "Ventas")]);
            assert!(rights.contains("Ventas") && rights.contains("agente") && !rights.contains("%{"), "{rights}");
        }
    }

    #[test]
    fn every_failure_tells_the_operator_what_to_run() {
        for language in [Language::Es, Language::En] {
            for kind in KINDS {
                let step = reader(language).failed("login", OdooError::new(kind.clone(), "In Odoo's words", ""), 1);
                let remedy = step.remedy.expect("a failure has one");
                assert!(remedy.contains("dunet ") && remedy.contains("0199-id"), "{kind:?}: {remedy}");
                // The operator is the one who gets told elsewhere.
                for word in ["%{", "doctor.", "administrador", "administrator", "repita la", "odoo_contexto"] {
                    assert!(!remedy.contains(word), "{kind:?}: {remedy}");
                }
                assert!(step.detail.contains("In Odoo's words") && !step.detail.contains("%{"), "{kind:?}: {}", step.detail);
            }
        }
        for (kind, option) in [
            (OdooErrorKind::BadCredentials, "--odoo-secret-file"),
            (OdooErrorKind::BadCredentials, "--odoo-user"),
            (OdooErrorKind::DatabaseNotFound, "--odoo-db"),
            (OdooErrorKind::NotOdoo, "--odoo-url"),
            (OdooErrorKind::VersionNotSupported, "--odoo-protocol"),
            (OdooErrorKind::AddressRefused, "DUNET_ALLOW_PRIVATE_ODOO"),
        ] {
            assert!(reader(Language::Es).remedy(&kind).contains(option), "{kind:?}");
        }
    }

    #[test]
    fn what_is_found_is_said_in_the_readers_language() {
        for (found, es, en) in [
            (Found::Plain, "responde HTTP, sin TLS", "HTTP answers, without TLS"),
            (Found::User { uid: 7, protocol: crate::odoo::Protocol::Json2 }, "usuario 7 por json2", "user 7 over json2"),
            (Found::Addresses { host: "a.do".to_owned(), count: 2 }, "a.do: 2 dirección(es)", "a.do: 2 address(es)"),
            (Found::Version("19.0".to_owned()), "Odoo 19.0", "Odoo 19.0"),
        ] {
            assert_eq!((reader(Language::Es).found(&found), reader(Language::En).found(&found)), (es.to_owned(), en.to_owned()));
        }
        for step in ["name", "address", "connection", "version", "database", "login", "rights", "latency", "key"] {
            let key = format!("doctor.pasos.{step}");
            assert_ne!(text(Language::Es, &key), key);
        }
        for tool in TOOLS.iter() {
            for (model, _) in tool.facts().needs {
                let key = format!("doctor.grupos.{}", group(model));
                assert_ne!(text(Language::En, &key), key);
            }
        }
    }
}
