//! `/admin`: the operator's panel; a member is sent to their tenant, or chooses among several.

use serde::Serialize;

use crate::admin::Cx;
use crate::admin::cx::{Answer, home, tenant_path};
use crate::domain::users::User;

#[derive(Serialize)]
struct Choice<'a> {
    tenants: Vec<Place<'a>>,
}

#[derive(Serialize)]
struct Place<'a> {
    href: String,
    name: &'a str,
    level: &'static str,
}

pub(super) async fn show(cx: Cx, user: User) -> Answer {
    if let Some(operator) = user.operator() {
        return super::panel::show(&cx, &operator).await;
    }
    if user.memberships().len() == 1 {
        return cx.redirect(&home(&user));
    }
    let tenants = user.memberships().iter().map(|membership| Place { href: tenant_path(membership.tenant), name: &membership.tenant_name, level: membership.level.as_str() });
    cx.page("pages/choose.html", Choice { tenants: tenants.collect() })
}
