//! One method call on one model, whatever wire it came over: who may, which arguments, what it answers. The wires bind
//! their arguments with `Method::bind_named` (JSON-2) or `Method::bind_positional` (RPC) and then `run`.

mod bind;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::America::Santo_Domingo;
use serde_json::{Value, json};

pub(super) use bind::{Bound, method};

use super::SandboxRights;
use super::compute;
use super::fault::Fault;
use super::read::{self, Page};
use super::sale;
use super::schema::{Model, model};
use super::store::{Row, Store};
use super::write;

/// The only company of a sandbox.
pub(super) const COMPANY: i64 = 1;

/// The records, and on whose behalf and when a call works on them.
pub(super) struct Env<'a> {
    pub(super) store: &'a mut Store,
    pub(super) context: Row,
    pub(super) uid: i64,
    pub(super) rights: SandboxRights,
    pub(super) now: DateTime<Utc>,
}

impl Env<'_> {
    /// Now as Odoo writes it: UTC, no zone.
    pub(super) fn now_text(&self) -> String {
        self.now.format("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// The user's calendar day.
    pub(super) fn today(&self) -> NaiveDate {
        self.now.with_timezone(&Santo_Domingo).date_naive()
    }
}

/// Refuses what the user may not do with a model.
///
/// # Errors
/// `AccessError` with Odoo's text.
pub(super) fn require(of: &Model, operation: &str) -> Result<(), Fault> {
    if of.access.allows(operation) { Ok(()) } else { Err(refusal(of, operation)) }
}

fn refusal(of: &Model, operation: &str) -> Fault {
    let verb = match operation {
        "read" => "acceder a los",
        "write" => "modificar",
        "create" => "crear",
        _ => "eliminar",
    };
    Fault::Access(format!(
        "No puede {verb} registros '{}' ({}).\n\nEsta operación está permitida para los siguientes grupos:\n\t- Role / Administrator\n\nPóngase en contacto con su administrador para solicitar acceso si es \
         necesario.",
        of.label, of.name
    ))
}

/// The model of a call.
///
/// # Errors
/// `NoModel`.
pub(super) fn find_model(name: &str) -> Result<&'static Model, Fault> {
    model(name).ok_or_else(|| Fault::NoModel(name.to_owned()))
}

/// Runs a bound call. What it wrote is kept when it succeeds and taken back when it fails.
///
/// # Errors
/// Whatever Odoo would raise.
pub(super) fn run(env: &mut Env<'_>, of: &'static Model, call: &Bound) -> Result<Value, Fault> {
    let allowed = env.context.get("allowed_company_ids").and_then(Value::as_array);
    if allowed.is_some_and(|companies| companies.iter().any(|company| company.as_i64() != Some(COMPANY))) {
        return Err(Fault::Access("Access to unauthorized or invalid companies.".to_owned()));
    }
    if env.rights == SandboxRights::NoSales && of.name.starts_with("sale.") {
        return match call.method.name {
            "has_access" => Ok(json!(false)),
            "check_access_rights" if call.named.get("raise_exception") == Some(&json!(false)) => Ok(json!(false)),
            "create" | "web_save" => Err(refusal(of, "create")),
            _ => Err(refusal(of, if call.method.writes { "write" } else { "read" })),
        };
    }
    let answer = dispatch(env, of, call);
    if answer.is_ok() && call.method.writes {
        env.store.commit();
    } else {
        env.store.rollback();
    }
    answer
}

fn dispatch(env: &mut Env<'_>, of: &'static Model, call: &Bound) -> Result<Value, Fault> {
    let arguments = &call.named;
    let domain = || arguments.get("domain").cloned().unwrap_or(json!([]));
    match call.method.name {
        "search" => Ok(json!(call.page().cut(&read::search(env, of, &domain(), call.page().order)?))),
        "search_count" => {
            let found = read::search(env, of, &domain(), None)?.len();
            Ok(json!(call.size("limit").map_or(found, |limit| found.min(limit))))
        }
        "search_read" => {
            let ids = call.page().cut(&read::search(env, of, &domain(), call.page().order)?);
            read::classic(env, of, &ids, call.names("fields").as_deref(), true).map(Value::from)
        }
        "read" => read::classic(env, of, &call.ids, call.names("fields").as_deref(), arguments.get("load") != Some(&json!(""))).map(Value::from),
        "web_search_read" => {
            let ids = read::search(env, of, &domain(), call.page().order)?;
            let records = read::web(env, of, &call.page().cut(&ids), &call.object("specification"))?;
            Ok(json!({"length": call.size("count_limit").map_or(ids.len(), |limit| ids.len().min(limit)), "records": records}))
        }
        "web_read" => read::web(env, of, &call.ids, &call.object("specification")).map(Value::from),
        "create" => create(env, of, arguments),
        "write" => write::write(env, of, &call.ids, &call.object("vals")).map(|()| json!(true)),
        "unlink" => write::unlink(env, of, &call.ids).map(|()| json!(true)),
        "web_save" => {
            let ids = match call.ids.as_slice() {
                [] => vec![write::create(env, of, &call.object("vals"))?],
                ids => write::write(env, of, ids, &call.object("vals")).map(|()| ids.to_vec())?,
            };
            read::web(env, of, &ids, &call.object("specification")).map(Value::from)
        }
        "onchange" => sale::onchange::run(env, of, &call.ids, &call.object("values"), &call.names("field_names").unwrap_or_default(), &call.object("fields_spec")),
        "fields_get" => {
            let (wanted, attributes) = (call.names("allfields"), call.names("attributes"));
            let attributes: Option<Vec<&str>> = attributes.as_ref().map(|names| names.iter().map(String::as_str).collect());
            let chosen = of.fields().filter(|field| wanted.as_ref().is_none_or(|names| names.is_empty() || names.iter().any(|name| name == field.name)));
            Ok(chosen.map(|field| (field.name.to_owned(), field.describe(attributes.as_deref()))).collect::<Row>().into())
        }
        "name_search" => name_search(env, of, call),
        "name_create" => {
            let mut values = Row::new();
            values.insert(of.rec_name.to_owned(), arguments.get("name").cloned().unwrap_or_default());
            let id = write::create(env, of, &values)?;
            Ok(json!([id, compute::display_name(env.store, of.name, id)]))
        }
        "default_get" => {
            let defaults = write::defaults(env, of);
            let fields = call.names("fields").unwrap_or_default();
            Ok(defaults.into_iter().filter(|(name, _)| fields.contains(name)).collect::<Row>().into())
        }
        "has_access" => allowed(of, call).map(|answer| json!(answer)),
        "check_access_rights" => {
            let answer = allowed(of, call)?;
            if !answer && arguments.get("raise_exception") != Some(&json!(false)) {
                require(of, call.word("operation"))?;
            }
            Ok(json!(answer))
        }
        "action_archive" => archive(env, of, call, false),
        "action_unarchive" => archive(env, of, call, true),
        "context_get" => Ok(json!({"lang": env.store.raw(of.name, env.uid, "lang"), "tz": env.store.raw(of.name, env.uid, "tz"), "uid": env.uid})),
        other => {
            require(of, "write")?;
            sale::actions::run(env, other, &call.ids, arguments).unwrap_or_else(|| Err(Fault::NoMethod(format!("{}.{other}", of.name))))
        }
    }
}

/// One dict or a list of them; the answer has the same shape over RPC and is always a list over JSON-2 (`json2`).
fn create(env: &mut Env<'_>, of: &'static Model, arguments: &Row) -> Result<Value, Fault> {
    match arguments.get("vals_list") {
        Some(Value::Object(values)) => Ok(json!(write::create(env, of, values)?)),
        Some(Value::Array(list)) => {
            let each = list
                .iter()
                .map(|values| values.as_object().ok_or_else(|| Fault::Python { class: "builtins.AttributeError", message: "'list' object has no attribute 'items'".to_owned() }));
            let each: Vec<&Row> = each.collect::<Result<_, _>>()?;
            Ok(json!(each.into_iter().map(|values| write::create(env, of, values)).collect::<Result<Vec<i64>, _>>()?))
        }
        _ => Err(Fault::Python { class: "builtins.TypeError", message: "vals_list must be a list of dictionaries".to_owned() }),
    }
}

fn name_search(env: &Env<'_>, of: &'static Model, call: &Bound) -> Result<Value, Fault> {
    let operator = if call.word("operator").is_empty() { "ilike" } else { call.word("operator") };
    let mut domain = call.named.get("domain").and_then(Value::as_array).cloned().unwrap_or_default();
    if !call.word("name").is_empty() {
        domain.extend(std::iter::repeat_n(json!("|"), of.search_names.len().saturating_sub(1)));
        domain.extend(of.search_names.iter().map(|field| json!([field, operator, call.word("name")])));
    }
    let page = Page { limit: Some(call.size("limit").unwrap_or(100)), ..Page::default() };
    let ids = page.cut(&read::search(env, of, &json!(domain), None)?);
    Ok(ids.into_iter().map(|id| json!([id, compute::display_name(env.store, of.name, id)])).collect())
}

fn allowed(of: &Model, call: &Bound) -> Result<bool, Fault> {
    match call.word("operation") {
        operation @ ("read" | "write" | "create" | "unlink") => Ok(of.access.allows(operation)),
        _ => Err(Fault::Python { class: "builtins.AssertionError", message: "Invalid access mode".to_owned() }),
    }
}

/// Answers `None`, as Odoo does.
fn archive(env: &mut Env<'_>, of: &'static Model, call: &Bound, active: bool) -> Result<Value, Fault> {
    let mut values = Row::new();
    values.insert("active".into(), json!(active));
    write::write(env, of, &call.ids, &values).map(|()| Value::Null)
}
