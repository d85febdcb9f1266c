//! Door 2: people. Pages under `/admin`, their files under `/assets`, and the operators' API under `/admin/api`.
//!
//! The stack, outermost first: security headers, our names only, session (the cookie becomes a [`Cx`]), error pages, panic guard, time limit,
//! CSRF (and with it the limit of a form's size), one act per form, then for each route who may (`guard.rs`), the handler. The register of
//! routes is `pages/mod.rs`: a page is a file there, its template and its line.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::any;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;

use crate::http::middleware::Around;
use crate::http::{self, HttpSettings};
use crate::state::AppState;

mod agents;
mod api;
mod assets;
mod browsers;
mod cookies;
mod csrf;
mod cx;
mod error;
mod figures;
mod forms;
mod guard;
mod live;
mod log_row;
mod metrics_csv;
mod odoo_typed;
mod once;
mod pages;
mod render;
mod route;
mod session;
mod steps;
mod upload;
mod watchers;

pub use api::document;
pub use cx::Cx;
pub use pages::routes;
pub use route::{Menu, RouteFacts, Who};

use agents::Agents;
use cookies::CookieNames;
use http::names::Allowed;
use http::places::{self, Places};
use live::Streams;
use once::{Once, Reveals};
use render::Renderer;
use watchers::Watchers;

/// Where the portal begins.
pub const PATH: &str = "/admin";
/// Where one signs in.
pub const SIGN_IN_PATH: &str = "/admin/entrar";

/// Pages run no script and load nothing that is not ours.
/// The word in it that a page which sends its form's answer elsewhere replaces.
const FORM_ACTION: &str = "form-action 'self'";
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What every page can use. Cheap to clone.
#[derive(Clone)]
pub struct Portal {
    inner: Arc<PortalInner>,
}

struct PortalInner {
    state: AppState,
    renderer: Renderer,
    names: Allowed,
    cookies: CookieNames,
    /// `https` or `http`: what a browser sees.
    scheme: String,
    public_url: url::Url,
    places: Places,
    once: Once,
    reveals: Reveals,
    agents: Agents,
    streams: Streams,
    watchers: Watchers,
    /// Cancelled when the service begins to stop: answers that go on end then.
    stopping: CancellationToken,
}

impl Portal {
    fn new(state: &AppState, settings: &HttpSettings, agents: Router) -> Self {
        let scheme = settings.public_url.scheme().to_owned();
        let inner = PortalInner {
            state: state.clone(),
            renderer: Renderer::new(),
            names: Allowed::new(settings),
            cookies: CookieNames::new(scheme == "https"),
            scheme,
            public_url: settings.public_url.clone(),
            places: Places::new(settings),
            once: Once::new(),
            reveals: Reveals::new(),
            agents: Agents::new(agents, &settings.public_url),
            streams: Streams::default(),
            watchers: Watchers::default(),
            stopping: settings.stopping.clone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The handles.
    fn state(&self) -> &AppState {
        &self.inner.state
    }
}

/// The routes of this door. `agents` is the other one, for the pages that try a token.
pub fn router(state: &AppState, settings: &HttpSettings, agents: Router) -> Router {
    let portal = Portal::new(state, settings, agents);
    let limits = TimeLimits { page: settings.request_timeout, upload: Duration::from_millis(state.config.limits.upload_timeout_ms) };
    let stack = ServiceBuilder::new()
        .layer(from_fn_with_state(portal.clone(), headers_layer))
        .layer(from_fn_with_state(portal.clone(), session::layer))
        .layer(from_fn(error::layer))
        .layer(Around::new(http::PanicGuard(error::panicked)))
        .layer(from_fn_with_state(limits, time_limit_layer))
        .layer(from_fn_with_state(portal.clone(), csrf::layer))
        .layer(from_fn_with_state(portal.clone(), once::layer));
    let limiters = route::Limiters::new(state.config.limits.sign_ins_per_minute, state.config.limits.oauth_authorizations_per_minute);
    let mut pages = Router::new();
    for route in pages::register() {
        pages = pages.route(route.path, route.guarded(&limiters));
    }
    // Whatever is not a page is told so as a page.
    let pages = pages.route("/admin/{*rest}", any(error::not_found)).layer(stack);
    let api = api::router(&portal, settings);
    pages.with_state(portal).merge(api).route("/assets/{*file}", axum::routing::get(assets::serve))
}

/// The longest time until an answer begins.
#[derive(Clone, Copy)]
struct TimeLimits {
    page: Duration,
    /// Of a form with files, which may come over a slow line.
    upload: Duration,
}

async fn time_limit_layer(State(limits): State<TimeLimits>, request: Request, next: Next) -> Response {
    let longest = if csrf::is_upload(request.headers()) { limits.upload } else { limits.page };
    tokio::time::timeout(longest, next.run(request)).await.unwrap_or_else(|_| error::too_slow())
}

/// What every page's answer carries besides what all answers do. The policy on referrers replaces the general one: with `no-referrer` a browser
/// sends `Origin: null` with our own forms.
const HEADERS: [(&str, &str); 5] = [
    ("content-security-policy", POLICY),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// A program may open the way to its consent in a window of its own, and wait for that window to come back: on that way the window stays its own.
const OPENER: (HeaderName, HeaderValue) = (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("unsafe-none"));

async fn headers_layer(State(portal): State<Portal>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let at_the_door = path.starts_with(SIGN_IN_PATH) && cookies::find(request.headers(), portal.inner.cookies.connect).is_some();
    let connecting = path.starts_with(places::AUTHORIZE) || at_the_door;
    let mut response = next.run(request).await;
    if connecting {
        let (name, value) = OPENER;
        response.headers_mut().insert(name, value);
    }
    for (name, value) in HEADERS {
        response.headers_mut().entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// The portal's address of a one-time link.
#[must_use]
pub fn link_url(public_url: &url::Url, secret: &secrecy::SecretString) -> secrecy::SecretString {
    use secrecy::ExposeSecret;
    let base = public_url.as_str().trim_end_matches('/');
    secrecy::SecretString::from(format!("{base}{}/{}", pages::LINK_PATH, secret.expose_secret()))
}
