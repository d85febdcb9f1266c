//! Records: pages of them, reading, making and changing them, and what their fields are.
//!
//! Which method serves which version is decided here; how a call travels is `client.rs`.

use super::client::{OdooClient, object};
use super::domain::Domain;
use super::error::{OdooError, OdooErrorKind as Kind};
use super::fields::{Fields, Page, Rows};
use serde_json::{Map, Value, json};

/// Attributes that [`OdooClient::fields_get`] asks for. All of them at once make some models of Odoo 19 fail over XML-RPC.
const FIELD_ATTRIBUTES: [&str; 6] = ["type", "string", "required", "readonly", "relation", "selection"];

impl OdooClient {
    /// One page of the records that fit, and how many fit in all. One request on Odoo 17 and later; before, a
    /// second one when the page is full, and one per relation whose fields are wanted.
    ///
    /// # Errors
    /// Any [`OdooError`]; [`Kind::BadArguments`] for a limit of zero or an order that is no list of fields.
    pub async fn search_page(&self, model: &str, domain: &Domain, fields: &Fields, page: &Page) -> Result<Rows, OdooError> {
        if page.limit == 0 || !page.order_is_plain() {
            return Err(OdooError::new(Kind::BadArguments, "A page needs a limit above zero and a plain order", format!("{page:?}")));
        }
        let mut named = object(json!({"domain": domain.to_value(), "limit": page.limit, "offset": page.offset}));
        if let Some(order) = &page.order {
            named.insert("order".to_owned(), json!(order));
        }
        if self.version().has_web_search_read() {
            named.insert("specification".to_owned(), fields.specification());
            let mut answer = self.call_read(model, "web_search_read", None, named).await?;
            let total = answer["length"].as_u64().ok_or_else(|| odd(model, "web_search_read"))?;
            return Ok(Rows { records: records_of(answer["records"].take(), fields).ok_or_else(|| odd(model, "web_search_read"))?, total });
        }
        named.insert("fields".to_owned(), json!(fields.names()));
        let answer = self.call_read(model, "search_read", None, named).await?;
        let mut records = records_of(answer, fields).ok_or_else(|| odd(model, "search_read"))?;
        let found = records.len() as u64;
        let complete = found < u64::from(page.limit) && (found > 0 || page.offset == 0);
        let total = if complete {
            u64::from(page.offset) + found
        } else {
            let count = self.call_read(model, "search_count", None, object(json!({"domain": domain.to_value()}))).await?;
            count.as_u64().ok_or_else(|| odd(model, "search_count"))?
        };
        self.read_related(&mut records, fields).await?;
        Ok(Rows { records, total })
    }

    /// These records. Ids that do not exist are left out silently, as Odoo does.
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn read(&self, model: &str, ids: &[i64], fields: &Fields) -> Result<Vec<Map<String, Value>>, OdooError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        if self.version().has_web_read() {
            let answer = self.call_read(model, "web_read", Some(ids), object(json!({"specification": fields.specification()}))).await?;
            return records_of(answer, fields).ok_or_else(|| odd(model, "web_read"));
        }
        let answer = self.call_read(model, "read", Some(ids), object(json!({"fields": fields.names()}))).await?;
        let mut records = records_of(answer, fields).ok_or_else(|| odd(model, "read"))?;
        self.read_related(&mut records, fields).await?;
        Ok(records)
    }

    /// Makes one record and answers its id.
    ///
    /// # Errors
    /// Any [`OdooError`]; look at [`OdooError::outcome_unknown`] before making it again.
    pub async fn create(&self, model: &str, values: Map<String, Value>) -> Result<i64, OdooError> {
        let answer = self.call_write(model, "create", None, object(json!({"vals_list": [values]}))).await?;
        let id = match &answer {
            Value::Array(ids) => ids.first().and_then(Value::as_i64),
            other => other.as_i64(),
        };
        // It was made; only its id did not come.
        id.ok_or_else(|| OdooError { kind: Kind::ConnectionLost, ..odd(model, "create") })
    }

    /// Changes records.
    ///
    /// # Errors
    /// Any [`OdooError`]; look at [`OdooError::outcome_unknown`] before doing it again.
    pub async fn write(&self, model: &str, ids: &[i64], values: Map<String, Value>) -> Result<(), OdooError> {
        self.call_write(model, "write", Some(ids), object(json!({"vals": values}))).await.map(drop)
    }

    /// The fields of a model, with a bounded set of attributes (type, string, required, readonly, relation, selection).
    ///
    /// # Errors
    /// Any [`OdooError`]. Fields that do not exist are left out by Odoo, not refused.
    pub async fn fields_get(&self, model: &str, fields: Option<&[&str]>) -> Result<Map<String, Value>, OdooError> {
        let mut named = object(json!({"attributes": FIELD_ATTRIBUTES}));
        if let Some(fields) = fields {
            named.insert("allfields".to_owned(), json!(fields));
        }
        match self.call_read(model, "fields_get", None, named).await? {
            Value::Object(found) => Ok(found),
            _ => Err(odd(model, "fields_get")),
        }
    }

    /// Servers before 17 answer only ids (and names): the fields of a relation are read in one request each.
    async fn read_related(&self, records: &mut [Map<String, Value>], fields: &Fields) -> Result<(), OdooError> {
        for relation in fields.relations() {
            let ids = relation.ids(records);
            if ids.is_empty() {
                continue;
            }
            let found = Box::pin(self.read(relation.model, &ids, relation.fields)).await?;
            relation.put(records, &found);
        }
        Ok(())
    }
}

fn records_of(answer: Value, fields: &Fields) -> Option<Vec<Map<String, Value>>> {
    let Value::Array(items) = answer else {
        return None;
    };
    items
        .into_iter()
        .map(|item| match item {
            Value::Object(mut record) => {
                fields.normalize(&mut record);
                Some(record)
            }
            _ => None,
        })
        .collect()
}

fn odd(model: &str, method: &str) -> OdooError {
    OdooError::new(Kind::ServerFault, "Odoo answered something unexpected", format!("{model}.{method}"))
}
