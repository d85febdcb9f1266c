//! Settings in the database and the price list: checked, audited, heard by every process.

use dunet::domain::plans::{PlanError, PlanTerms, plan_add, plan_delete, plan_edit, plan_rows};
use dunet::domain::reports::{AuditFilter, AuditScope};
use dunet::domain::settings::{Fault, Key, SettingsError, SignUp};
use serde_json::json;

use crate::support::{TestApp, actor, until};

#[tokio::test]
async fn settings_are_edited_once_audited_and_heard() {
    TestApp::everywhere(|app| async move {
        let (store, other) = (&app.state.settings, app.another_process().await);
        assert_eq!((store.get().sign_up, store.get().edited_at), (SignUp::Closed, None));
        let edit = [(Key::SignUp, "open".to_owned()), (Key::UsdRate, "62,50".to_owned()), (Key::ItbisPercent, "18".to_owned())];
        other.settings.edit(&edit, None, &actor()).await.unwrap();
        until("the service heard of it", || async { store.get().sign_up == SignUp::Open }).await;
        let seen = store.get().edited_at;
        assert_eq!((store.get().field(Key::UsdRate), seen), ("62.5".to_owned(), Some(app.clock.now())));
        // One bad value, and nothing is changed.
        let bad = [(Key::SignUp, "closed".to_owned()), (Key::PublicMail, "x".to_owned())];
        assert!(matches!(store.edit(&bad, seen, &actor()).await, Err(SettingsError::Invalid { key: Key::PublicMail, fault: Fault::Mail })));
        assert_eq!(store.get().sign_up, SignUp::Open);
        // A stale page is told so; back to the default is an edit too.
        assert!(matches!(store.edit(&[(Key::SignUp, String::new())], None, &actor()).await, Err(SettingsError::Stale)));
        app.clock.advance(chrono::Duration::seconds(1));
        store.edit(&[(Key::SignUp, String::new())], seen, &actor()).await.unwrap();
        assert_eq!((store.get().sign_up, store.get().edited_at), (SignUp::Closed, Some(app.clock.now())));
        store.edit(&[(Key::SignUp, "closed".to_owned())], store.get().edited_at, &actor()).await.unwrap();
        let audit = app.state.reports.audit_page(&AuditFilter { scope: AuditScope::Service, ..AuditFilter::default() }, None, 10).await.unwrap();
        let changes: Vec<_> = audit.rows.iter().map(|row| (row.action.as_str(), row.before.clone().unwrap(), row.after.clone().unwrap())).collect();
        assert_eq!(
            changes,
            [
                ("settings.edit", json!({ "sign_up": "open" }), json!({ "sign_up": "closed" })),
                ("settings.edit", json!({ "sign_up": "closed", "usd_rate": "" }), json!({ "sign_up": "open", "usd_rate": "62.5" })),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn plans_are_edited_and_what_is_in_use_stays() {
    TestApp::everywhere(|app| async move {
        app.padron(3).await;
        let tenant = app.tenant("Uno").await;
        let client = app.client(&tenant.token);
        client.call("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await;
        let (db, clock) = (&app.state.db, &app.clock);
        let pro = plan_rows(db).await.unwrap().into_iter().find(|plan| plan.code == "pro").unwrap();
        assert_eq!((pro.clients, pro.version, pro.terms.price_usd_cents), (1, 1, 5_000));
        let terms = PlanTerms { name: " Pro 2 ".to_owned(), calls_per_month: Some(1), ..pro.terms.clone() };
        assert_eq!(plan_edit(db, clock, "pro", 1, terms.clone(), &actor()).await.unwrap(), 2);
        assert!(matches!(plan_edit(db, clock, "pro", 1, terms.clone(), &actor()).await, Err(PlanError::Stale { version: 2, .. })));
        assert!(matches!(plan_edit(db, clock, "no", 1, terms.clone(), &actor()).await, Err(PlanError::Unknown(_))));
        assert!(matches!(plan_edit(db, clock, "pro", 2, PlanTerms { name: " ".to_owned(), ..terms.clone() }, &actor()).await, Err(PlanError::Invalid("name"))));
        // The running service follows: the one call of the month was made.
        until("the plan's new limit counts", || async { client.call_result("consultar_rnc_dgii", json!({ "rnc": "131793916" })).await["isError"] == true }).await;

        assert!(matches!(plan_delete(db, clock, "pro", &actor()).await, Err(PlanError::InUse { clients: 1, .. })));
        assert!(matches!(plan_add(db, clock, "pro", terms.clone(), &actor()).await, Err(PlanError::Exists(_))));
        assert!(matches!(plan_add(db, clock, "Voz y más", terms.clone(), &actor()).await, Err(PlanError::Invalid("code"))));
        plan_add(db, clock, "voz", terms, &actor()).await.unwrap();
        plan_delete(db, clock, "voz", &actor()).await.unwrap();
        assert_eq!(plan_rows(db).await.unwrap().iter().map(|plan| plan.code.as_str()).collect::<Vec<_>>(), ["gratis", "basic", "pro"]);
        let audit = app.state.reports.audit_page(&AuditFilter { scope: AuditScope::Service, ..AuditFilter::default() }, None, 10).await.unwrap();
        assert_eq!(audit.rows.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(), ["plan.delete", "plan.add", "plan.edit"]);
        assert_eq!(dunet::domain::audit::chain_verify(db, None).await.unwrap(), Ok(3));
    })
    .await;
}
