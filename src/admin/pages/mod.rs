//! The register of pages: a page is a file here, its template and its line. Who may is checked by the line; menus derive from it, and so do the
//! tests of the whole set (`tests/it/portal_door.rs`).

use std::sync::LazyLock;

use super::Cx;
use super::route::{Menu, Route, RouteFacts, Who};

mod agents;
mod alerts;
mod api;
mod approvals;
mod audit;
mod authorize;
mod billing;
mod client;
mod client_danger;
mod client_form;
mod client_odoo;
mod clients;
mod configs;
mod connect;
mod connector;
mod filters;
mod forgot;
mod home;
mod link;
mod logs;
mod members;
mod metrics;
pub(super) mod onboarding;
mod padron;
mod panel;
mod people;
mod plan;
mod plans;
mod profile;
pub(super) mod second_factor;
mod sign_in;
mod sign_up;
mod sign_ups;
mod statement;
mod tokens;
mod tools;
mod usage;

pub(super) use configs::fault_key as setting_fault;
pub(super) use statement::invoice_fault;

/// Where one-time links lead, before their text.
pub(super) const LINK_PATH: &str = "/admin/enlace";

/// The place in a tenant's menu that shows how many writes wait for an owner.
pub(super) const APPROVALS: &str = "approvals";

/// Every route of the portal, in the order of the menus.
pub(super) fn register() -> Vec<Route> {
    vec![
        Route::new("/admin/entrar", Who::Anyone).get(sign_in::show).post(sign_in::act).limited(),
        Route::new("/admin/entrar/codigo", Who::Anyone).get(second_factor::ask).post(second_factor::pass).limited(),
        Route::new("/admin/olvido", Who::Anyone).get(forgot::show).post(forgot::act).limited(),
        Route::new("/admin/registro", Who::Anyone).get(sign_up::show).post(sign_up::act).limited(),
        Route::new("/admin/registro/recibido", Who::Anyone).get(sign_up::done),
        Route::new("/admin/salir", Who::SignedIn).post(sign_in::out),
        Route::new("/admin/enlace/{link}", Who::Anyone).get(link::show).post(link::act).limited(),
        Route::new(authorize::PATH, Who::Anyone).get(authorize::begin).limited(),
        Route::new("/admin/autorizar/{request}", Who::SignedIn).get(authorize::show).post(authorize::act),
        Route::new("/admin", Who::SignedIn).get(home::show).menu("panel", "gauge"),
        Route::new("/admin/clients", Who::Operator).get(clients::list).menu("clients", "building-2"),
        Route::new("/admin/clients/new", Who::Operator).get(client_form::blank).post(client_form::add),
        Route::new("/admin/logs", Who::Operator).get(logs::live_all).menu("logs", "scroll-text"),
        Route::new("/admin/logs/history", Who::Operator).get(logs::history_all),
        Route::new("/admin/logs/csv", Who::Operator).get(logs::csv_all),
        Route::new("/admin/metrics", Who::Operator).get(metrics::show_all).menu("metrics", "activity"),
        Route::new("/admin/metrics/csv", Who::Operator).get(metrics::csv_all),
        Route::new("/admin/billing", Who::Operator).get(billing::show).menu("billing", "receipt-text"),
        Route::new("/admin/billing/close", Who::Operator).get(billing::close_ask).post(billing::close),
        Route::new("/admin/billing/csv", Who::Operator).get(billing::csv),
        Route::new("/admin/billing/plan", Who::Operator).get(plans::show).post(plans::save),
        Route::new("/admin/billing/plan/delete", Who::Operator).post(plans::delete),
        Route::new("/admin/padron", Who::Operator).get(padron::show).menu("padron", "book-open"),
        Route::new("/admin/padron/import", Who::Operator).post(padron::import).uploads(),
        Route::new("/admin/padron/progress", Who::Operator).get(padron::progress),
        Route::new("/admin/padron/rollback", Who::Operator).get(padron::rollback_ask).post(padron::rollback),
        Route::new("/admin/sign-ups", Who::Operator).get(sign_ups::list).menu("sign_ups", "inbox"),
        Route::new("/admin/sign-ups/approve", Who::Operator).post(sign_ups::approve),
        Route::new("/admin/sign-ups/refuse", Who::Operator).post(sign_ups::refuse),
        Route::new("/admin/agents", Who::Operator).get(agents::show_all).menu("agents", "bot"),
        Route::new("/admin/connector", Who::Operator).get(connector::show).menu("connector", "plug"),
        Route::new("/admin/connector/test", Who::Operator).post(connector::test).limited(),
        Route::new("/admin/people", Who::Operator).get(people::list).menu("people", "users"),
        Route::new("/admin/people/invite", Who::Operator).post(people::invite),
        Route::new("/admin/people/link", Who::Operator).post(people::link),
        Route::new("/admin/people/disable", Who::Operator).post(people::disable),
        Route::new("/admin/people/enable", Who::Operator).post(people::enable),
        Route::new("/admin/people/sign-out", Who::Operator).post(people::sign_out),
        Route::new("/admin/people/second-factor", Who::Operator).post(people::second_factor),
        Route::new("/admin/audit", Who::Operator).get(audit::all).menu("audit", "history"),
        Route::new("/admin/audit/verify", Who::Operator).post(audit::verify_all),
        Route::new("/admin/alerts", Who::Operator).get(alerts::show_service).post(alerts::save_service).menu("alerts", "bell"),
        Route::new("/admin/alerts/secret", Who::Operator).post(alerts::secret_service),
        Route::new("/admin/alerts/test", Who::Operator).post(alerts::test_service).limited(),
        Route::new("/admin/configs", Who::Operator).get(configs::show).post(configs::save).menu("configs", "settings"),
        Route::new("/admin/configs/mail", Who::Operator).post(configs::mail_test).limited(),
        Route::new("/admin/clients/{id}", Who::Tenant).get(client::show).menu("summary", "gauge"),
        Route::new("/admin/clients/{id}/onboarding", Who::Tenant).get(onboarding::show).menu("onboarding", "list-checks"),
        Route::new("/admin/clients/{id}/odoo", Who::Tenant).get(client_odoo::show).menu("odoo", "plug"),
        Route::new("/admin/clients/{id}/odoo", Who::TenantOwner).post(client_odoo::save),
        Route::new("/admin/clients/{id}/odoo/test", Who::TenantOwner).post(client_odoo::test).limited(),
        Route::new("/admin/clients/{id}/odoo/key", Who::TenantOwner).post(client_odoo::key::save),
        Route::new("/admin/clients/{id}/odoo/key/renew", Who::TenantOwner).post(client_odoo::key::renew).limited(),
        Route::new("/admin/clients/{id}/odoo/mine", Who::Tenant).get(client_odoo::own::show).post(client_odoo::own::save),
        Route::new("/admin/clients/{id}/odoo/mine/test", Who::Tenant).post(client_odoo::own::test).limited(),
        Route::new("/admin/clients/{id}/odoo/mine/remove", Who::Tenant).post(client_odoo::own::remove),
        Route::new("/admin/clients/{id}/tools", Who::Tenant).get(tools::show).menu("tools", "wrench"),
        Route::new("/admin/clients/{id}/tools", Who::TenantOwner).post(tools::save),
        Route::new("/admin/clients/{id}/approvals", Who::Tenant).get(approvals::show).menu(APPROVALS, "shield-check"),
        Route::new("/admin/clients/{id}/approvals/approve", Who::TenantOwner).post(approvals::approve),
        Route::new("/admin/clients/{id}/approvals/refuse", Who::TenantOwner).post(approvals::refuse),
        Route::new("/admin/clients/{id}/tokens", Who::Tenant).get(tokens::list).menu("tokens", "key-round"),
        Route::new("/admin/clients/{id}/tokens", Who::TenantOwner).post(tokens::issue),
        Route::new("/admin/clients/{id}/tokens/rotate", Who::TenantOwner).post(tokens::rotate),
        Route::new("/admin/clients/{id}/tokens/revoke", Who::TenantOwner).post(tokens::revoke),
        Route::new("/admin/clients/{id}/connect", Who::Tenant).get(connect::show).post(connect::test).menu("connect", "terminal"),
        Route::new("/admin/clients/{id}/edit", Who::Operator).get(client_form::show).post(client_form::save),
        Route::new("/admin/clients/{id}/status", Who::Operator).post(client_danger::status),
        Route::new("/admin/clients/{id}/danger", Who::Operator).get(client_danger::show),
        Route::new("/admin/clients/{id}/delete", Who::Operator).post(client_danger::delete),
        Route::new("/admin/clients/{id}/agents", Who::Tenant).get(agents::show).menu("agents", "bot"),
        Route::new("/admin/clients/{id}/agents/revoke", Who::Tenant).post(agents::revoke),
        Route::new("/admin/clients/{id}/metrics", Who::Tenant).get(metrics::show_own).menu("metrics", "activity"),
        Route::new("/admin/clients/{id}/metrics/csv", Who::Tenant).get(metrics::csv_own),
        Route::new("/admin/clients/{id}/logs", Who::Tenant).get(logs::live_own).menu("log", "scroll-text"),
        Route::new("/admin/clients/{id}/logs/history", Who::Tenant).get(logs::history_own),
        Route::new("/admin/clients/{id}/logs/csv", Who::Tenant).get(logs::csv_own),
        Route::new("/admin/clients/{id}/members", Who::Tenant).get(members::show).menu("members", "users-round"),
        Route::new("/admin/clients/{id}/members", Who::TenantOwner).post(members::invite),
        Route::new("/admin/clients/{id}/members/remove", Who::TenantOwner).post(members::remove),
        Route::new("/admin/clients/{id}/alerts", Who::Tenant).get(alerts::show).menu("alerts", "bell"),
        Route::new("/admin/clients/{id}/alerts", Who::TenantOwner).post(alerts::save),
        Route::new("/admin/clients/{id}/alerts/secret", Who::TenantOwner).post(alerts::secret),
        Route::new("/admin/clients/{id}/alerts/test", Who::TenantOwner).post(alerts::test).limited(),
        Route::new("/admin/clients/{id}/usage", Who::Tenant).get(usage::show).menu("usage", "receipt-text"),
        Route::new("/admin/clients/{id}/usage/statement", Who::Tenant).get(statement::show),
        Route::new("/admin/clients/{id}/usage/statement/close", Who::Operator).post(statement::close),
        Route::new("/admin/clients/{id}/usage/statement/correct", Who::Operator).post(statement::correct),
        Route::new("/admin/clients/{id}/usage/statement/invoice", Who::Operator).post(statement::invoice),
        Route::new("/admin/clients/{id}/usage/statement/invoice/check", Who::Operator).post(statement::invoice_check),
        Route::new("/admin/clients/{id}/plan", Who::Tenant).get(plan::show).menu("plan", "wallet"),
        Route::new("/admin/clients/{id}/plan", Who::TenantOwner).post(plan::ask),
        Route::new("/admin/clients/{id}/plan/answered", Who::Operator).post(plan::answered),
        Route::new("/admin/clients/{id}/audit", Who::Tenant).get(audit::of_client).menu("audit", "history"),
        Route::new("/admin/clients/{id}/audit/verify", Who::Tenant).post(audit::verify_one),
        Route::new("/admin/profile", Who::SignedIn).get(profile::show).post(profile::save),
        Route::new("/admin/profile/password", Who::SignedIn).post(profile::password),
        Route::new("/admin/profile/sessions", Who::SignedIn).post(profile::session_end),
        Route::new("/admin/profile/sessions/others", Who::SignedIn).post(profile::session_end_others),
        Route::new("/admin/profile/agents", Who::SignedIn).post(profile::agent_revoke),
        Route::new("/admin/profile/email", Who::SignedIn).post(profile::email),
        Route::new("/admin/profile/second-factor", Who::SignedIn).get(second_factor::show).post(second_factor::begin),
        Route::new("/admin/profile/second-factor/confirm", Who::SignedIn).post(second_factor::confirm),
        Route::new("/admin/profile/second-factor/codes", Who::SignedIn).post(second_factor::codes),
        Route::new("/admin/profile/second-factor/off", Who::SignedIn).post(second_factor::off),
        Route::new("/admin/api-docs", Who::Operator).get(api::show).menu("api", "webhook"),
    ]
}

static ROUTES: LazyLock<Vec<RouteFacts>> = LazyLock::new(|| register().iter().map(Route::facts).collect());

/// What the register says, for menus and tests.
#[must_use]
pub fn routes() -> &'static [RouteFacts] {
    &ROUTES
}

/// Which menu.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// The operator's sidebar.
    Operator,
    /// A tenant's tabs, and the sidebar of its members.
    Tenant,
}

/// The lines of a menu, in order.
pub(super) fn menu(group: Group) -> impl Iterator<Item = (&'static RouteFacts, Menu)> {
    ROUTES.iter().filter_map(move |route| {
        let belongs = match route.who {
            Who::Operator | Who::SignedIn => group == Group::Operator,
            Who::Tenant | Who::TenantOwner => group == Group::Tenant,
            Who::Anyone => false,
        };
        route.menu.filter(|_| belongs).map(|menu| (route, menu))
    })
}

/// Who did something, as pages call them: people by their address, the shell and the service by a word.
fn actor_name(cx: &Cx, actor: &str) -> String {
    match actor {
        "shell" => cx.t("portal.actors.shell"),
        "dunet" => cx.t("portal.actors.service"),
        other => other.to_owned(),
    }
}
