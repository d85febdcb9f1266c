//! The shape of a model: its fields, their types, who may change it. The tables themselves are in `models`.

mod models;

use serde_json::{Map, Value, json};

/// What a field holds. Relations name the other model; a `One2many` also names the field that points back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Integer,
    Float,
    Monetary,
    Boolean,
    Char,
    Text,
    Html,
    Date,
    Datetime,
    Selection(&'static [(&'static str, &'static str)]),
    Many2one(&'static str),
    One2many(&'static str, &'static str),
    Many2many(&'static str),
}

impl Kind {
    /// The model at the other end of a relation.
    pub(super) fn relation(self) -> Option<&'static str> {
        match self {
            Kind::Many2one(model) | Kind::One2many(model, _) | Kind::Many2many(model) => Some(model),
            _ => None,
        }
    }

    /// A relation to several records.
    pub(super) fn is_x2many(self) -> bool {
        matches!(self, Kind::One2many(..) | Kind::Many2many(_))
    }

    /// What an untouched field of this type holds; Odoo says `false` where SQL says NULL.
    pub(super) fn empty(self) -> Value {
        match self {
            Kind::Integer => json!(0),
            Kind::Float | Kind::Monetary => json!(0.0),
            kind if kind.is_x2many() => json!([]),
            _ => json!(false),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Integer => "integer",
            Kind::Float => "float",
            Kind::Monetary => "monetary",
            Kind::Boolean => "boolean",
            Kind::Char => "char",
            Kind::Text => "text",
            Kind::Html => "html",
            Kind::Date => "date",
            Kind::Datetime => "datetime",
            Kind::Selection(_) => "selection",
            Kind::Many2one(_) => "many2one",
            Kind::One2many(..) => "one2many",
            Kind::Many2many(_) => "many2many",
        }
    }
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    /// Worked out from other fields at every read (`compute`); writing it is ignored, as in Odoo.
    pub(super) computed: bool,
}

const fn field(name: &'static str, label: &'static str, kind: Kind) -> Field {
    Field { name, label, kind, required: false, computed: false }
}

impl Field {
    const fn required(mut self) -> Field {
        self.required = true;
        self
    }

    const fn computed(mut self) -> Field {
        self.computed = true;
        self
    }

    /// One entry of `fields_get`, limited to `attributes` when the caller names some.
    pub(super) fn describe(&self, attributes: Option<&[&str]>) -> Value {
        let mut all = Map::new();
        all.insert("name".into(), json!(self.name));
        all.insert("type".into(), json!(self.kind.name()));
        all.insert("string".into(), json!(self.label));
        all.insert("required".into(), json!(self.required));
        all.insert("readonly".into(), json!(self.computed || self.name == "id"));
        all.insert("store".into(), json!(!self.computed));
        all.insert("searchable".into(), json!(true));
        all.insert("sortable".into(), json!(!self.computed && !self.kind.is_x2many()));
        if let Some(model) = self.kind.relation() {
            all.insert("relation".into(), json!(model));
        }
        if let Kind::One2many(_, inverse) = self.kind {
            all.insert("relation_field".into(), json!(inverse));
        }
        if let Kind::Selection(options) = self.kind {
            all.insert("selection".into(), json!(options));
        }
        if let Some(wanted) = attributes {
            all.retain(|key, _| wanted.contains(&key.as_str()));
        }
        Value::Object(all)
    }
}

/// What the sandbox's only user may do with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Full,
    Read,
    None,
}

impl Access {
    /// `operation` is one of Odoo's four: `read`, `write`, `create`, `unlink`.
    pub(super) fn allows(self, operation: &str) -> bool {
        match self {
            Access::Full => true,
            Access::Read => operation == "read",
            Access::None => false,
        }
    }
}

/// One model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// Default order, in Odoo's syntax.
    pub(super) order: &'static str,
    /// The field that names a record where `compute::display_name` has no better idea.
    pub(super) rec_name: &'static str,
    /// Where `name_search` looks.
    pub(super) search_names: &'static [&'static str],
    pub(super) access: Access,
    fields: &'static [Field],
}

/// Every model has these; `display_name` is worked out by `compute`.
static COMMON: &[Field] = &[
    field("id", "ID", Kind::Integer),
    field("display_name", "Display Name", Kind::Char).computed(),
    field("create_date", "Created on", Kind::Datetime),
    field("create_uid", "Created by", Kind::Many2one("res.users")),
    field("write_date", "Last Updated on", Kind::Datetime),
    field("write_uid", "Last Updated by", Kind::Many2one("res.users")),
];

impl Model {
    /// All fields, the common ones first.
    pub(super) fn fields(&self) -> impl Iterator<Item = &'static Field> + use<> {
        COMMON.iter().chain(self.fields.iter())
    }

    /// A field by name.
    pub(super) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields().find(|field| field.name == name)
    }
}

/// A model by name.
pub(super) fn model(name: &str) -> Option<&'static Model> {
    models::MODELS.iter().find(|model| model.name == name)
}

/// All models.
#[cfg(test)]
pub(super) fn models() -> &'static [Model] {
    models::MODELS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_lead_somewhere() {
        for model_ in models() {
            for field in model_.fields() {
                if let Some(other) = field.kind.relation() {
                    let other_model = model(other).unwrap_or_else(|| panic!("{}.{} leads to {other}", model_.name, field.name));
                    if let Kind::One2many(_, inverse) = field.kind {
                        assert_eq!(other_model.field(inverse).unwrap().kind, Kind::Many2one(model_.name), "{}.{}", model_.name, field.name);
                    }
                }
            }
            assert!(model_.field(model_.rec_name).is_some(), "{}", model_.name);
            assert!(model_.search_names.iter().all(|name| model_.field(name).is_some()), "{}", model_.name);
        }
    }

    #[test]
    fn fields_get_shape_is_bounded_by_attributes() {
        let vat = model("res.partner").unwrap().field("vat").unwrap();
        assert_eq!(vat.describe(Some(&["type", "required", "string"])), json!({"type": "char", "string": "Tax ID", "required": false}));
    }
}
