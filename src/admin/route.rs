//! One line of the register of pages: path, who may, handlers, place in the menu.

use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use super::error::PageError;
use super::{Portal, guard};
use crate::http::limiter::{self, Limiter};

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody, signed in or not.
    Anyone,
    /// Whoever is signed in. The handler takes `User`.
    SignedIn,
    /// Operators. The handler takes `Operator`.
    Operator,
    /// Who may see the tenant whose id stands in the path as `{id}`: operators and its members; for all others there is none. The handler
    /// takes `TenantAccess`.
    Tenant,
    /// The same, and may change things: not its viewers.
    TenantOwner,
}

/// A place in a menu: `portal.menu.<key>` and an icon of `assets/icons.svg`.
///
/// Pages for operators and whoever is signed in stand in the sidebar; pages of a tenant are the tabs of its page, and the sidebar of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Menu {
    /// The sentence's key.
    pub key: &'static str,
    /// The icon.
    pub icon: &'static str,
}

/// A line of the register.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) who: Who,
    pub(super) menu: Option<Menu>,
    methods: Vec<Method>,
    safe: Option<MethodRouter<Portal>>,
    acting: Option<MethodRouter<Portal>>,
    limited: bool,
    uploads: bool,
}

/// What is counted by address: signing in and the like, and beginning to connect a program.
pub(super) struct Limiters {
    acting: Limiter,
    showing: Limiter,
}

impl Limiters {
    /// So often a minute, as the settings say.
    pub(super) fn new(sign_ins_per_minute: u32, authorizations_per_minute: u32) -> Self {
        Self { acting: Limiter::new(sign_ins_per_minute, refuse), showing: Limiter::new(authorizations_per_minute, refuse) }
    }
}

fn refuse(wait_s: Option<u64>) -> Response {
    wait_s.map_or_else(|| PageError::internal(anyhow::anyhow!("the limiter failed")), PageError::TooMany).into_response()
}

/// What a line says, for menus and tests.
#[derive(Clone, Debug)]
pub struct RouteFacts {
    /// The path, with `{id}` for a tenant's.
    pub path: &'static str,
    /// Who may.
    pub who: Who,
    /// The methods it has.
    pub methods: Vec<Method>,
    /// Its place in a menu.
    pub menu: Option<Menu>,
}

impl Route {
    pub(super) fn new(path: &'static str, who: Who) -> Self {
        Self { path, who, menu: None, methods: Vec::new(), safe: None, acting: None, limited: false, uploads: false }
    }

    /// Shows.
    pub(super) fn get<H: Handler<T, Portal>, T: 'static>(mut self, handler: H) -> Self {
        self.methods.push(Method::GET);
        self.safe = Some(get(handler));
        self
    }

    /// Acts.
    pub(super) fn post<H: Handler<T, Portal>, T: 'static>(mut self, handler: H) -> Self {
        self.methods.push(Method::POST);
        self.acting = Some(post(handler));
        self
    }

    /// Acts for somebody who has not signed in, or, where nothing acts, keeps something for them: so often a minute from one address.
    pub(super) fn limited(mut self) -> Self {
        self.limited = true;
        self
    }

    /// Takes a form with files, as large as its handler lets it be.
    pub(super) fn uploads(mut self) -> Self {
        self.uploads = true;
        self
    }

    /// Stands in a menu.
    pub(super) fn menu(mut self, key: &'static str, icon: &'static str) -> Self {
        self.menu = Some(Menu { key, icon });
        self
    }

    pub(super) fn facts(&self) -> RouteFacts {
        RouteFacts { path: self.path, who: self.who, methods: self.methods.clone(), menu: self.menu }
    }

    /// The handlers behind the check of who may.
    pub(super) fn guarded(self, limiters: &Limiters) -> MethodRouter<Portal> {
        let limit = |method: MethodRouter<Portal>, limiter: &Limiter| method.layer(limiter.layer()).layer(from_fn_with_state(limiter.clone(), limiter::prune_layer));
        let (safe, acting) = match (self.safe, self.acting) {
            (safe, Some(acting)) if self.limited => (safe, Some(limit(acting, &limiters.acting))),
            (Some(safe), None) if self.limited => (Some(limit(safe, &limiters.showing)), None),
            as_they_are => as_they_are,
        };
        let acting = if self.uploads { acting.map(|acting| acting.layer(DefaultBodyLimit::disable())) } else { acting };
        let all = match (safe, acting) {
            (Some(safe), Some(acting)) => safe.merge(acting),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => MethodRouter::new(),
        };
        all.layer(from_fn_with_state(self.who, guard::layer))
    }
}
