//! Relations of records that were read without their fields, for servers that cannot read through them.

use super::fields::{Fields, Kind, Related};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// One relation whose fields are wanted.
pub(super) struct Relation<'a> {
    name: &'a str,
    pub(super) model: &'a str,
    pub(super) fields: &'a Fields,
}

impl Fields {
    /// Relations that name their model and want fields of it.
    pub(super) fn relations(&self) -> impl Iterator<Item = Relation<'_>> {
        self.0.iter().filter_map(|(name, kind)| match kind {
            Kind::Many2One(Related { model: Some(model), fields }) | Kind::X2Many(Related { model: Some(model), fields }) if !fields.0.is_empty() => {
                Some(Relation { name, model, fields })
            }
            _ => None,
        })
    }
}

impl Relation<'_> {
    /// The ids on the other side, each once.
    pub(super) fn ids(&self, records: &[Map<String, Value>]) -> Vec<i64> {
        let mut ids: Vec<i64> = records.iter().flat_map(|record| self.sides(record)).filter_map(|side| side.get("id")?.as_i64()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn sides<'r>(&self, record: &'r Map<String, Value>) -> Vec<&'r Value> {
        match record.get(self.name) {
            Some(Value::Array(items)) => items.iter().collect(),
            Some(one @ Value::Object(_)) => vec![one],
            _ => Vec::new(),
        }
    }

    /// Puts what was read into the records.
    pub(super) fn put(&self, records: &mut [Map<String, Value>], found: &[Map<String, Value>]) {
        let by_id: HashMap<i64, &Map<String, Value>> = found.iter().filter_map(|record| Some((record.get("id")?.as_i64()?, record))).collect();
        let fill = |side: &mut Value| {
            let known = side.get("id").and_then(Value::as_i64).and_then(|id| by_id.get(&id));
            if let (Value::Object(side), Some(known)) = (side, known) {
                side.extend(known.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        };
        for record in records {
            match record.get_mut(self.name) {
                Some(Value::Array(items)) => items.iter_mut().for_each(fill),
                Some(one) => fill(one),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_read_is_put_where_it_belongs() {
        let fields = Fields::new().x2many("lines", "l", Fields::new().text("name")).many2one_of("tax", "t", Fields::new().number("amount")).many2one("other", &["x"]);
        let mut records: Vec<Map<String, Value>> =
            serde_json::from_value(json!([{"lines": [{"id": 2}, {"id": 1}], "tax": {"id": 9, "display_name": "T"}}, {"lines": [{"id": 1}], "tax": null}])).unwrap();
        let relations: Vec<Relation<'_>> = fields.relations().collect();
        assert_eq!(relations.len(), 2);
        assert_eq!(relations[0].ids(&records), [1, 2]);
        assert_eq!(relations[1].ids(&records), [9]);
        relations[0].put(&mut records, &serde_json::from_value::<Vec<Map<String, Value>>>(json!([{"id": 1, "name": "a"}])).unwrap());
        relations[1].put(&mut records, &serde_json::from_value::<Vec<Map<String, Value>>>(json!([{"id": 9, "amount": 18.0}])).unwrap());
        assert_eq!(
            json!(records),
            json!([{"lines": [{"id": 2}, {"id": 1, "name": "a"}], "tax": {"id": 9, "display_name": "T", "amount": 18.0}}, {"lines": [{"id": 1, "name": "a"}], "tax": null}])
        );
    }
}
