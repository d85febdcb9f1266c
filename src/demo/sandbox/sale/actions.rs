//! The buttons of an order: sent, confirm, cancel, back to draft, and its address in the customer's portal.

use serde_json::{Value, json};

use super::{ORDER, row_of};
use crate::demo::sandbox::call::Env;
use crate::demo::sandbox::compute::text;
use crate::demo::sandbox::fault::Fault;
use crate::demo::sandbox::store::Row;

/// Runs a method of `sale.order`; `None` when there is no such one.
///
/// # Errors
/// A record that is not there, a state that does not allow it.
pub(in crate::demo::sandbox) fn run(env: &mut Env<'_>, method: &str, ids: &[i64], named: &Row) -> Option<Result<Value, Fault>> {
    Some(match method {
        "action_confirm" => confirm(env, ids),
        "action_quotation_sent" => sent(env, ids),
        "action_cancel" => set_all(env, ids, &json!({"state": "cancel"})).map(|()| json!(true)),
        // Odoo writes on those that are cancelled or sent, and answers with what `write` gives.
        "action_draft" => set_all(env, ids, &json!({"state": "draft"})).map(|()| json!(true)),
        "get_portal_url" => portal_url(env, ids, named).map(|url| json!(url)),
        "action_preview_sale_order" => portal_url(env, ids, &Row::new()).map(|url| json!({"type": "ir.actions.act_url", "target": "self", "url": url})),
        _ => return None,
    })
}

fn states(env: &Env<'_>, ids: &[i64]) -> Result<Vec<String>, Fault> {
    ids.iter().map(|id| env.store.get(ORDER, *id).map(|row| text(row, "state").to_owned()).ok_or_else(|| Fault::missing(ORDER, *id, env.uid))).collect()
}

fn set_all(env: &mut Env<'_>, ids: &[i64], changes: &Value) -> Result<(), Fault> {
    states(env, ids)?;
    let mut changes = row_of(changes);
    changes.insert("write_date".into(), json!(env.now_text()));
    for id in ids {
        env.store.update(ORDER, *id, changes.clone());
    }
    Ok(())
}

fn confirm(env: &mut Env<'_>, ids: &[i64]) -> Result<Value, Fault> {
    if states(env, ids)?.iter().any(|state| !matches!(state.as_str(), "draft" | "sent")) {
        return Err(Fault::User("Algunas órdenes no se encuentran en un estado que necesite confirmación.".to_owned()));
    }
    let changes = json!({"state": "sale", "date_order": env.now_text(), "invoice_status": "to invoice"});
    set_all(env, ids, &changes)?;
    Ok(json!(true))
}

/// Answers `None`, which XML-RPC cannot carry: the caller sees a fault though it is done, as in Odoo.
fn sent(env: &mut Env<'_>, ids: &[i64]) -> Result<Value, Fault> {
    if states(env, ids)?.iter().any(|state| state != "draft") {
        return Err(Fault::User("Solo se pueden marcar directamente como enviadas las órdenes en borrador.".to_owned()));
    }
    set_all(env, ids, &json!({"state": "sent"}))?;
    Ok(Value::Null)
}

fn portal_url(env: &Env<'_>, ids: &[i64], named: &Row) -> Result<String, Fault> {
    let [id] = ids else {
        let shown: Vec<String> = ids.iter().map(|id| format!("{id}, ")).collect();
        return Err(Fault::value(format!("Expected singleton: {ORDER}({})", shown.concat().trim_end())));
    };
    let row = env.store.get(ORDER, *id).ok_or_else(|| Fault::missing(ORDER, *id, env.uid))?;
    let word = |name: &str| named.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let token = text(row, "access_token");
    let suffix = word("suffix").unwrap_or_default();
    let report = word("report_type").map(|kind| format!("&report_type={kind}")).unwrap_or_default();
    let download = if named.get("download") == Some(&json!(true)) { "&download=true" } else { "" };
    let query = word("query_string").unwrap_or_default();
    let anchor = word("anchor").map(|anchor| format!("#{anchor}")).unwrap_or_default();
    Ok(format!("/my/orders/{id}{suffix}?access_token={token}{report}{download}{query}{anchor}"))
}
