//! The records: one table per model, in memory, with an undo journal so that a failed call leaves nothing behind
//! (and so that a preview can be a real creation that is taken back). No types and no rules here: see `schema`,
//! `write` and `sale`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fault::Fault;

/// The fields of one record, as Odoo would send them unformatted: `false` for empty, ids for relations.
pub(super) type Row = Map<String, Value>;

/// A sandbox is for trying things out; beyond this it says so instead of filling the memory.
const RECORDS_MAX: usize = 20_000;

#[derive(Debug, Default)]
struct Table {
    last_id: i64,
    rows: BTreeMap<i64, Row>,
}

/// What a change replaced: `None` when the record was new.
#[derive(Debug)]
struct Undo {
    model: &'static str,
    id: i64,
    before: Option<Row>,
    last_id: i64,
}

/// All records of one sandbox.
#[derive(Debug, Default)]
pub(super) struct Store {
    tables: BTreeMap<&'static str, Table>,
    journal: Vec<Undo>,
}

impl Store {
    /// A record.
    pub(super) fn get(&self, model: &str, id: i64) -> Option<&Row> {
        self.tables.get(model)?.rows.get(&id)
    }

    /// One stored value of a record; `false` when either is missing.
    pub(super) fn raw(&self, model: &str, id: i64, field: &str) -> &Value {
        self.get(model, id).and_then(|row| row.get(field)).unwrap_or(&Value::Bool(false))
    }

    /// All ids of a model, ascending.
    pub(super) fn ids(&self, model: &str) -> Vec<i64> {
        self.tables.get(model).map(|table| table.rows.keys().copied().collect()).unwrap_or_default()
    }

    /// All records of a model, by ascending id.
    pub(super) fn rows(&self, model: &str) -> impl Iterator<Item = (i64, &Row)> {
        self.tables.get(model).into_iter().flat_map(|table| table.rows.iter().map(|(id, row)| (*id, row)))
    }

    /// Adds a record and gives its id.
    ///
    /// # Errors
    /// `UserError` when the table is full.
    pub(super) fn insert(&mut self, model: &'static str, row: Row) -> Result<i64, Fault> {
        let table = self.tables.entry(model).or_default();
        if table.rows.len() >= RECORDS_MAX {
            return Err(Fault::User(format!("The sandbox holds at most {RECORDS_MAX} records of a model.")));
        }
        self.journal.push(Undo { model, id: table.last_id + 1, before: None, last_id: table.last_id });
        table.last_id += 1;
        table.rows.insert(table.last_id, row);
        Ok(table.last_id)
    }

    /// Sets some values of a record that exists.
    pub(super) fn update(&mut self, model: &'static str, id: i64, changes: Row) {
        let Some(table) = self.tables.get_mut(model) else { return };
        let last_id = table.last_id;
        if let Some(row) = table.rows.get_mut(&id) {
            self.journal.push(Undo { model, id, before: Some(row.clone()), last_id });
            row.extend(changes);
        }
    }

    /// Takes a record out.
    pub(super) fn delete(&mut self, model: &'static str, id: i64) {
        let Some(table) = self.tables.get_mut(model) else { return };
        if let Some(row) = table.rows.remove(&id) {
            self.journal.push(Undo { model, id, before: Some(row), last_id: table.last_id });
        }
    }

    /// Keeps everything since the last `commit`.
    pub(super) fn commit(&mut self) {
        self.journal.clear();
    }

    /// Takes back everything since the last `commit`.
    pub(super) fn rollback(&mut self) {
        self.rollback_to(0);
    }

    /// A point in the journal, for `rollback_to`.
    pub(super) fn savepoint(&self) -> usize {
        self.journal.len()
    }

    /// Takes back everything since `savepoint`.
    pub(super) fn rollback_to(&mut self, savepoint: usize) {
        while self.journal.len() > savepoint {
            let Some(undo) = self.journal.pop() else { return };
            let Some(table) = self.tables.get_mut(undo.model) else { continue };
            match undo.before {
                Some(row) => table.rows.insert(undo.id, row),
                None => table.rows.remove(&undo.id),
            };
            table.last_id = undo.last_id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(name: &str) -> Row {
        json!({"name": name}).as_object().unwrap().clone()
    }

    #[test]
    fn rollback_takes_back_every_kind_of_change() {
        let mut store = Store::default();
        let kept = store.insert("res.partner", row("a")).unwrap();
        let gone = store.insert("res.partner", row("b")).unwrap();
        store.commit();
        store.update("res.partner", kept, row("changed"));
        store.delete("res.partner", gone);
        let new = store.insert("res.partner", row("c")).unwrap();
        store.update("res.partner", new, row("d"));
        store.rollback();
        assert_eq!(store.raw("res.partner", kept, "name"), "a");
        assert_eq!(store.raw("res.partner", gone, "name"), "b");
        assert_eq!(store.ids("res.partner"), [kept, gone]);
        assert_eq!(store.insert("res.partner", row("e")).unwrap(), new, "ids are given again");
    }

    #[test]
    fn a_savepoint_keeps_what_came_before() {
        let mut store = Store::default();
        let first = store.insert("uom.uom", row("a")).unwrap();
        let point = store.savepoint();
        store.update("uom.uom", first, row("b"));
        store.rollback_to(point);
        assert_eq!(store.raw("uom.uom", first, "name"), "a");
        store.rollback();
        assert!(store.ids("uom.uom").is_empty());
    }
}
