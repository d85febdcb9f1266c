//! Which fields to read and what their values mean, so that a record looks the same over every wire and
//! version: an empty text is `null` (Odoo says `false`), a many2one is `{"id", "display_name", …}` or `null`,
//! an x2many is a list of objects.

use serde_json::{Map, Value, json};

/// The fields a caller wants, with their kinds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(pub(super) Vec<(String, Kind)>);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// char, text, html, selection, date, datetime, binary, reference.
    Text,
    /// integer, float, monetary.
    Number,
    Boolean,
    /// Anything else, left as Odoo sends it.
    Raw,
    Many2One(Related),
    X2Many(Related),
}

/// The other side of a relation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Related {
    /// Its model, for servers that cannot read through a relation in one request. `None`: only ids and names there.
    pub(super) model: Option<String>,
    pub(super) fields: Fields,
}

impl Fields {
    /// No field yet; `id` is always read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Texts, selections, dates: `false` becomes `null`.
    #[must_use]
    pub fn text(self, name: &str) -> Self {
        self.with(name, Kind::Text)
    }

    /// Several texts.
    #[must_use]
    pub fn texts(self, names: &[&str]) -> Self {
        names.iter().fold(self, |fields, name| fields.text(name))
    }

    /// Whole numbers, floats, money.
    #[must_use]
    pub fn number(self, name: &str) -> Self {
        self.with(name, Kind::Number)
    }

    /// Several numbers.
    #[must_use]
    pub fn numbers(self, names: &[&str]) -> Self {
        names.iter().fold(self, |fields, name| fields.number(name))
    }

    /// True or false.
    #[must_use]
    pub fn boolean(self, name: &str) -> Self {
        self.with(name, Kind::Boolean)
    }

    /// Left as Odoo sends it (lists of ids, JSON fields).
    #[must_use]
    pub fn raw(self, name: &str) -> Self {
        self.with(name, Kind::Raw)
    }

    /// A record: `id` and `display_name`, and on Odoo 17 and later these further texts of it.
    #[must_use]
    pub fn many2one(self, name: &str, texts: &[&str]) -> Self {
        self.with(name, Kind::Many2One(Related { model: None, fields: Fields::new().texts(texts) }))
    }

    /// A record with fields of its own. `model` is asked in one more request where the server cannot read through.
    #[must_use]
    pub fn many2one_of(self, name: &str, model: &str, fields: Fields) -> Self {
        self.with(name, Kind::Many2One(Related { model: Some(model.to_owned()), fields }))
    }

    /// Records with fields of their own. `model` is asked in one more request where the server cannot read through.
    #[must_use]
    pub fn x2many(self, name: &str, model: &str, fields: Fields) -> Self {
        self.with(name, Kind::X2Many(Related { model: Some(model.to_owned()), fields }))
    }

    fn with(mut self, name: &str, kind: Kind) -> Self {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = kind,
            None => self.0.push((name.to_owned(), kind)),
        }
        self
    }

    /// Names only, for `search_read` and `read`.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The `specification` of `web_read`, `web_search_read`, `web_save`, and the `fields_spec` of `onchange`.
    #[must_use]
    pub fn specification(&self) -> Value {
        let entry = |kind: &Kind| match kind {
            Kind::Many2One(related) => {
                let mut inner = related.fields.specification();
                inner["display_name"] = json!({});
                json!({"fields": inner})
            }
            Kind::X2Many(related) => json!({"fields": related.fields.specification()}),
            Kind::Text | Kind::Number | Kind::Boolean | Kind::Raw => json!({}),
        };
        Value::Object(self.0.iter().map(|(name, kind)| (name.clone(), entry(kind))).collect())
    }

    /// Puts one record, as any wire and method answers it, into the one shape.
    pub fn normalize(&self, record: &mut Map<String, Value>) {
        for (name, kind) in &self.0 {
            if let Some(value) = record.get_mut(name) {
                kind.normalize(value);
            }
        }
        // Older servers add it unasked.
        if let Some(name) = record.get_mut("display_name") {
            Kind::Text.normalize(name);
        }
    }
}

impl Kind {
    fn normalize(&self, value: &mut Value) {
        match self {
            Kind::Text | Kind::Number if *value == Value::Bool(false) => *value = Value::Null,
            Kind::Many2One(related) => *value = one(value.take(), &related.fields),
            Kind::X2Many(related) => *value = many(value.take(), &related.fields),
            // A null cannot be told from false over XML-RPC.
            Kind::Boolean if value.is_null() => *value = Value::Bool(false),
            Kind::Text | Kind::Number | Kind::Boolean | Kind::Raw => {}
        }
    }
}

/// `[5, "Name"]`, `5`, `{"id": 5, …}`, `false` → `{"id": 5, "display_name": "Name"}` or null.
fn one(value: Value, fields: &Fields) -> Value {
    match value {
        Value::Array(pair) => match &pair[..] {
            [id, name] if id.is_i64() => json!({"id": id, "display_name": name}),
            _ => Value::Null,
        },
        Value::Object(mut record) => {
            if !record.get("id").is_some_and(Value::is_i64) {
                return Value::Null;
            }
            fields.normalize(&mut record);
            Value::Object(record)
        }
        Value::Number(id) => json!({"id": id, "display_name": null}),
        Value::Null | Value::Bool(_) | Value::String(_) => Value::Null,
    }
}

/// `[1, 2]`, `[{"id": 1, …}]` → `[{"id": 1, …}]`.
fn many(value: Value, fields: &Fields) -> Value {
    let Value::Array(items) = value else {
        return json!([]);
    };
    let items = items.into_iter().filter_map(|item| match item {
        Value::Object(mut record) => {
            fields.normalize(&mut record);
            Some(Value::Object(record))
        }
        Value::Number(id) => Some(json!({"id": id})),
        _ => None,
    });
    Value::Array(items.collect())
}

/// Which part of the found records is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many records. Zero is not "all" but an error.
    pub limit: u32,
    /// Records to pass over.
    pub offset: u32,
    /// `"name asc, id desc"`; checked before it is sent.
    pub order: Option<String>,
}

impl Page {
    /// The first so many, in the model's own order.
    #[must_use]
    pub fn first(limit: u32) -> Self {
        Self { limit, offset: 0, order: None }
    }

    /// In this order.
    #[must_use]
    pub fn ordered(self, order: &str) -> Self {
        Self { order: Some(order.to_owned()), ..self }
    }

    /// From this one on.
    #[must_use]
    pub fn from(self, offset: u32) -> Self {
        Self { offset, ..self }
    }

    /// Whether `order` is a list of field names with `asc` or `desc`.
    pub(super) fn order_is_plain(&self) -> bool {
        self.order.as_deref().is_none_or(|order| {
            order.len() <= 256
                && order.split(',').all(|part| {
                    let mut words = part.split_whitespace();
                    words.next().is_some_and(super::domain_parse::is_field_path) && matches!(words.next(), None | Some("asc" | "desc" | "ASC" | "DESC")) && words.next().is_none()
                })
        })
    }
}

/// One page of records and how many there are in all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The records, in the one shape that [`Fields`] describes.
    pub records: Vec<Map<String, Value>>,
    /// All records that fit the domain, not only this page's.
    pub total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        Fields::new().text("vat").number("amount").boolean("active").many2one("country_id", &["code"]).x2many("lines", "l", Fields::new().text("name").many2one("tax", &[]))
    }

    #[test]
    fn every_shape_becomes_the_one_shape() {
        let want = json!({"id": 1, "vat": null, "amount": 0.0, "active": false, "country_id": {"id": 61, "display_name": "DO"}, "lines": [{"id": 7}]});
        for from in [
            json!({"id": 1, "vat": false, "amount": 0.0, "active": false, "country_id": [61, "DO"], "lines": [7]}),
            json!({"id": 1, "vat": null, "amount": 0.0, "active": null, "country_id": {"id": 61, "display_name": "DO"}, "lines": [{"id": 7}]}),
        ] {
            let Value::Object(mut record) = from else { unreachable!() };
            fields().normalize(&mut record);
            assert_eq!(Value::Object(record), want);
        }
        let Value::Object(mut record) = json!({"country_id": false, "lines": [{"id": 1, "name": false, "tax": false}], "display_name": false, "vat": "false"}) else {
            unreachable!()
        };
        fields().normalize(&mut record);
        assert_eq!(Value::Object(record), json!({"country_id": null, "lines": [{"id": 1, "name": null, "tax": null}], "display_name": null, "vat": "false"}));
    }

    #[test]
    fn the_specification_names_what_is_read() {
        assert_eq!(
            fields().specification(),
            json!({"vat": {}, "amount": {}, "active": {}, "country_id": {"fields": {"code": {}, "display_name": {}}}, "lines": {"fields": {"name": {}, "tax": {"fields": {"display_name": {}}}}}})
        );
        assert_eq!(fields().names(), ["vat", "amount", "active", "country_id", "lines"]);
        assert_eq!(Fields::new().text("a").number("a").names(), ["a"]);
    }

    #[test]
    fn only_plain_orders_are_sent() {
        for (order, good) in [
            ("name", true),
            ("name asc, id desc", true),
            ("partner_id.name DESC", true),
            ("", false),
            ("name; drop", false),
            ("name asc desc", false),
            ("_x", false),
            ("name,", false),
            ("(select 1)", false),
        ] {
            assert_eq!(Page::first(1).ordered(order).order_is_plain(), good, "{order}");
        }
        assert!(Page::first(1).order_is_plain());
    }
}
