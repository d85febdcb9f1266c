//! Which methods there are, and how arguments reach them: by name only over JSON-2, by position and name over RPC. What
//! does not fit fails as Python would fail, in the words of each wire.

use serde_json::{Value, json};

use crate::demo::sandbox::fault::Fault;
use crate::demo::sandbox::read::Page;
use crate::demo::sandbox::schema::Model;
use crate::demo::sandbox::store::Row;

/// A method that can be called from outside.
#[derive(Debug)]
pub(in crate::demo::sandbox) struct Method {
    pub(in crate::demo::sandbox) name: &'static str,
    /// Works on records (`ids`); otherwise `@api.model`.
    on_records: bool,
    /// May change something.
    pub(in crate::demo::sandbox) writes: bool,
    /// Names in order; a leading `!` marks those without a default.
    parameters: &'static [&'static str],
    /// The class Python names in its messages.
    class: &'static str,
    /// The models that have it; empty for all.
    models: &'static [&'static str],
}

const fn reads(name: &'static str, on_records: bool, parameters: &'static [&'static str]) -> Method {
    Method { name, on_records, writes: false, parameters, class: "BaseModel", models: &[] }
}

const fn changes(name: &'static str, on_records: bool, parameters: &'static [&'static str]) -> Method {
    Method { writes: true, ..reads(name, on_records, parameters) }
}

const fn order(name: &'static str, writes: bool, parameters: &'static [&'static str]) -> Method {
    Method { writes, class: "SaleOrder", models: &["sale.order"], ..reads(name, true, parameters) }
}

static METHODS: &[Method] = &[
    reads("search", false, &["!domain", "offset", "limit", "order"]),
    reads("search_count", false, &["!domain", "limit"]),
    reads("search_read", false, &["domain", "fields", "offset", "limit", "order"]),
    reads("read", true, &["fields", "load"]),
    Method { class: "Base", ..reads("web_search_read", false, &["!domain", "!specification", "offset", "limit", "order", "count_limit"]) },
    Method { class: "Base", ..reads("web_read", true, &["!specification"]) },
    changes("create", false, &["!vals_list"]),
    changes("write", true, &["!vals"]),
    changes("unlink", true, &[]),
    Method { class: "Base", ..changes("web_save", true, &["!vals", "!specification", "next_id"]) },
    Method { class: "Base", ..reads("onchange", true, &["!values", "!field_names", "!fields_spec"]) },
    reads("fields_get", false, &["allfields", "attributes"]),
    reads("name_search", false, &["name", "domain", "operator", "limit"]),
    changes("name_create", false, &["!name"]),
    reads("default_get", false, &["!fields"]),
    reads("has_access", true, &["!operation"]),
    reads("check_access_rights", false, &["!operation", "raise_exception"]),
    changes("action_archive", true, &[]),
    changes("action_unarchive", true, &[]),
    Method { class: "ResUsers", models: &["res.users"], ..reads("context_get", false, &[]) },
    order("action_confirm", true, &[]),
    order("action_quotation_sent", true, &[]),
    order("action_cancel", true, &[]),
    order("action_draft", true, &[]),
    order("get_portal_url", false, &["suffix", "report_type", "download", "query_string", "anchor"]),
    order("action_preview_sale_order", false, &[]),
];

/// The method `name` of a model.
///
/// # Errors
/// Private methods are an `AccessError`, unknown ones `NoMethod`.
pub(in crate::demo::sandbox) fn method(of: &Model, name: &str) -> Result<&'static Method, Fault> {
    if name.starts_with('_') {
        return Err(Fault::Access(format!("Private methods (such as '{}.{name}') cannot be called remotely.", of.name)));
    }
    let known = METHODS.iter().find(|method| method.name == name && (method.models.is_empty() || method.models.contains(&of.name)));
    known.ok_or_else(|| Fault::NoMethod(format!("{}.{name}", of.name)))
}

/// A call with its arguments in place.
#[derive(Debug)]
pub(in crate::demo::sandbox) struct Bound {
    pub(in crate::demo::sandbox) method: &'static Method,
    pub(in crate::demo::sandbox) ids: Vec<i64>,
    pub(in crate::demo::sandbox) named: Row,
}

impl Method {
    /// Binds the body of a JSON-2 request, `context` already taken out.
    ///
    /// # Errors
    /// A missing or unknown argument, `ids` where there are no records.
    pub(in crate::demo::sandbox) fn bind_named(&'static self, of: &Model, mut body: Row) -> Result<Bound, Fault> {
        let both = |text: String| Fault::Arguments { json2: text.clone(), python: text };
        let ids = match body.shift_remove("ids") {
            Some(ids) if self.on_records => record_ids(&ids)?,
            Some(Value::Array(ids)) if ids.is_empty() => Vec::new(),
            Some(_) => return Err(both(format!("cannot call {}.{} with ids", of.name, self.name))),
            None => Vec::new(),
        };
        if let Some(missing) = self.required().find(|name| !body.contains_key(*name)) {
            return Err(both(format!("missing a required argument: '{missing}'")));
        }
        if let Some(unknown) = body.keys().find(|name| !self.knows(name)) {
            return Err(self.unexpected(unknown));
        }
        Ok(Bound { method: self, ids, named: body })
    }

    /// Binds the positional and keyword arguments of an `execute_kw`, `context` already taken out.
    ///
    /// # Errors
    /// As Python's own: too few, too many, unknown.
    pub(in crate::demo::sandbox) fn bind_positional(&'static self, arguments: Vec<Value>, keywords: Row) -> Result<Bound, Fault> {
        let mut positional = arguments.into_iter();
        let ids = if self.on_records {
            let first = positional.next().ok_or(Fault::Python { class: "builtins.IndexError", message: "list index out of range".to_owned() })?;
            record_ids(&first)?
        } else {
            Vec::new()
        };
        let rest: Vec<Value> = positional.collect();
        if rest.len() > self.parameters.len() {
            let (fewest, most, given) = (self.required().count() + 1, self.parameters.len() + 1, rest.len() + 1);
            let takes = if fewest == most { format!("{most}") } else { format!("from {fewest} to {most}") };
            return Err(self.python(format!("takes {takes} positional arguments but {given} were given")));
        }
        if let Some(unknown) = keywords.keys().find(|name| !self.knows(name)) {
            return Err(self.unexpected(unknown));
        }
        let mut named: Row = self.parameters.iter().zip(rest).map(|(name, value)| (plain(name).to_owned(), value)).collect();
        if let Some(twice) = keywords.keys().find(|name| named.contains_key(*name)) {
            return Err(self.python(format!("got multiple values for argument '{twice}'")));
        }
        named.extend(keywords);
        let missing: Vec<String> = self.required().filter(|name| !named.contains_key(*name)).map(|name| format!("'{name}'")).collect();
        match missing.as_slice() {
            [] => Ok(Bound { method: self, ids, named }),
            [one] => Err(self.python(format!("missing 1 required positional argument: {one}"))),
            several => Err(self.python(format!("missing {} required positional arguments: {}", several.len(), several.join(" and ")))),
        }
    }

    fn required(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.parameters.iter().filter_map(|name| name.strip_prefix('!'))
    }

    fn knows(&self, name: &str) -> bool {
        self.parameters.iter().any(|known| plain(known) == name)
    }

    fn python(&self, problem: String) -> Fault {
        let text = format!("{}.{}() {problem}", self.class, self.name);
        Fault::Arguments { json2: problem, python: text }
    }

    fn unexpected(&self, name: &str) -> Fault {
        if self.name == "search_read" {
            // It takes anything and passes it on: the failure comes from further inside, with another status.
            return Fault::Python { class: "builtins.TypeError", message: format!("BaseModel._read_format() got an unexpected keyword argument '{name}'") };
        }
        self.python(format!("got an unexpected keyword argument '{name}'"))
    }
}

fn plain(parameter: &'static str) -> &'static str {
    parameter.strip_prefix('!').unwrap_or(parameter)
}

/// One id, a list of ids, or nothing.
fn record_ids(value: &Value) -> Result<Vec<i64>, Fault> {
    let not_an_id = |other: &Value| Fault::Python {
        class: "psycopg2.errors.InvalidTextRepresentation",
        message: format!("invalid input syntax for type integer: \"{}\"\n", other.as_str().map_or_else(|| other.to_string(), str::to_owned)),
    };
    match value {
        Value::Null | Value::Bool(false) => Ok(Vec::new()),
        Value::Array(items) => items.iter().filter(|item| **item != json!(false)).map(|item| item.as_i64().ok_or_else(|| not_an_id(item))).collect(),
        other => other.as_i64().map(|id| vec![id]).ok_or_else(|| not_an_id(other)),
    }
}

impl Bound {
    /// A text argument; "" when it is not given.
    pub(super) fn word(&self, name: &str) -> &str {
        self.named.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A count; `None` when it is not given, or 0 (which Odoo takes as no limit).
    pub(super) fn size(&self, name: &str) -> Option<usize> {
        self.named.get(name).and_then(Value::as_u64).filter(|size| *size > 0).and_then(|size| usize::try_from(size).ok())
    }

    /// A list of names; `None` when it is not given.
    pub(super) fn names(&self, name: &str) -> Option<Vec<String>> {
        let items = self.named.get(name)?.as_array()?;
        Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// A dictionary; empty when it is not given.
    pub(super) fn object(&self, name: &str) -> Row {
        self.named.get(name).and_then(Value::as_object).cloned().unwrap_or_default()
    }

    /// `offset`, `limit` and `order`.
    pub(super) fn page(&self) -> Page<'_> {
        Page { offset: self.size("offset").unwrap_or(0), limit: self.size("limit"), order: Some(self.word("order")).filter(|order| !order.is_empty()) }
    }
}
