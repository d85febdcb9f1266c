//! Authentication: the bearer token becomes a [`Caller`], or a 401 with the challenge. Tokens that are nobody's are limited by address; nothing else is,
//! since hosted agents of many tenants share a few addresses. Then the tenant's own rate.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use governor::middleware::NoOpMiddleware;
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use tower::{Service, ServiceExt};
use tower_governor::governor::{Governor, GovernorConfig, GovernorConfigBuilder, SharedRateLimiter};
use tower_governor::{GovernorError, GovernorLayer};

use super::json_rpc;
use crate::domain::limits::{Limits, Refused};
use crate::domain::tokens::{Caller, TokenRefusal, Tokens};
use crate::http::client_address::ByAddress;
use crate::http::middleware::{Middleware, Next};
use crate::http::places::{self, Places};
use crate::metrics::{AuthRefusal, Metrics};
use crate::tools::tool::PACKS;

/// The longest Authorization header looked at, bytes.
const HEADER_BYTES_MAX: usize = 4096;

/// The body of a refused request is read so far, and for so long.
const DRAINED_BYTES_MAX: usize = 64 * 1_024;
const DRAINED_WITHIN: Duration = Duration::from_secs(1);
/// The limiter of refusals is pruned this often.
const PRUNE_EVERY_REFUSALS: u64 = 1_024;

/// Checks tokens.
pub(super) struct Authenticator {
    tokens: Tokens,
    refusals: Refusals,
    challenges: Arc<Challenges>,
    limiter: SharedRateLimiter<IpAddr, NoOpMiddleware>,
    refused: AtomicU64,
    metrics: Metrics,
    /// What access tokens must be made for.
    resource: String,
}

type Refusals = Governor<ByAddress, NoOpMiddleware, tower::util::BoxCloneSyncService<Request, Response, std::convert::Infallible>, Body>;

impl Authenticator {
    /// `failed_per_minute` refusals of one address are answered with their reason; more have to wait.
    pub(super) fn new(tokens: Tokens, places: &Places, failed_per_minute: u32, metrics: Metrics) -> Self {
        let per_minute = failed_per_minute.max(1);
        let mut builder = GovernorConfigBuilder::default().key_extractor(ByAddress);
        builder.period(Duration::from_secs(60) / per_minute).burst_size(per_minute);
        let config: Arc<GovernorConfig<ByAddress, NoOpMiddleware>> = Arc::new(builder.finish().expect("period and burst are at least one"));
        let limiter = Arc::clone(config.limiter());
        let layer = GovernorLayer::new(config).error_handler(too_many);
        // The service behind the limiter does one thing: it says why a token was refused.
        let challenges = Arc::new(Challenges::new(places));
        let of_service = Arc::clone(&challenges);
        let answer = tower::service_fn(move |request: Request| {
            let challenges = Arc::clone(&of_service);
            async move { Ok(challenges.answer(&request)) }
        });
        let refusals = tower::Layer::layer(&layer, tower::util::BoxCloneSyncService::new(answer));
        Self { tokens, refusals, challenges, limiter, refused: AtomicU64::new(0), metrics, resource: places.resource().to_owned() }
    }

    async fn refuse(&self, mut request: Request, reason: AuthRefusal) -> Response {
        // A client that sends its body after its head would find the connection closed: every program that signs in begins with such a refusal.
        drain(std::mem::take(request.body_mut())).await;
        if matches!(reason, AuthRefusal::Missing | AuthRefusal::Expired) {
            // Nothing was guessed: every program that signs in begins without a token, and hosted agents of many people share a few addresses.
            request.extensions_mut().insert(if reason == AuthRefusal::Missing { Refusal::Missing } else { Refusal::Bad });
            self.metrics.auth_refused(reason);
            return self.challenges.answer(&request);
        }
        if self.refused.fetch_add(1, Ordering::Relaxed) % PRUNE_EVERY_REFUSALS == PRUNE_EVERY_REFUSALS - 1 {
            // Addresses that have been quiet for a minute are forgotten, so that the map stays as small as the attack is.
            self.limiter.retain_recent();
        }
        request.extensions_mut().insert(Refusal::Bad);
        let mut service = self.refusals.clone();
        let response = match service.ready().await {
            Ok(ready) => match ready.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Err(never) => match never {},
        };
        self.metrics.auth_refused(if response.status() == StatusCode::TOO_MANY_REQUESTS { AuthRefusal::Limited } else { reason });
        response
    }
}

/// Why a request is refused, on its way through the limiter.
#[derive(Clone, Copy)]
enum Refusal {
    Missing,
    Bad,
}

impl Middleware for Authenticator {
    /// Lets requests with a good token pass, with their [`Caller`] in the extensions and without the token.
    async fn handle(&self, mut request: Request, next: impl Next) -> Response {
        let Some(header) = request.headers().get(header::AUTHORIZATION) else {
            return self.refuse(request, AuthRefusal::Missing).await;
        };
        let token = header.to_str().ok().filter(|text| text.len() <= HEADER_BYTES_MAX).and_then(bearer);
        let verified = match token {
            // An access token is for the general address; the other takes API tokens only.
            Some(token) if request.uri().path() == places::MCP => self.tokens.verify_for(token, &self.resource).await,
            Some(token) => self.tokens.verify(token).await,
            None => Err(TokenRefusal::Malformed),
        };
        match verified {
            Ok(caller) => {
                tracing::Span::current().record("tenant.id", tracing::field::display(caller.tenant().id));
                // rmcp clones the request's head into the handler's context: the token must not travel along.
                request.headers_mut().remove(header::AUTHORIZATION);
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            Err(TokenRefusal::Suspended) => {
                self.metrics.auth_refused(AuthRefusal::Suspended);
                let message = "La cuenta está suspendida: comuníquese con quien le da el servicio. / This account is suspended: contact your provider.";
                json_rpc::error(StatusCode::FORBIDDEN, &Value::Null, json_rpc::FORBIDDEN, message, None)
            }
            Err(TokenRefusal::Unavailable(cause)) => {
                self.metrics.auth_refused(AuthRefusal::Unavailable);
                tracing::error!(%cause, "a token could not be checked");
                let mut response =
                    json_rpc::error(StatusCode::SERVICE_UNAVAILABLE, &Value::Null, json_rpc::UNAVAILABLE, "tokens cannot be checked now: try again in a moment", None);
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
                response
            }
            Err(refusal @ (TokenRefusal::Malformed | TokenRefusal::Unknown | TokenRefusal::Expired | TokenRefusal::Revoked | TokenRefusal::Audience)) => {
                tracing::debug!(%refusal, "a token was refused");
                let reason = match refusal {
                    TokenRefusal::Unknown => AuthRefusal::Unknown,
                    TokenRefusal::Expired => AuthRefusal::Expired,
                    TokenRefusal::Revoked => AuthRefusal::Revoked,
                    TokenRefusal::Audience => AuthRefusal::Audience,
                    TokenRefusal::Malformed | TokenRefusal::Suspended | TokenRefusal::Unavailable(_) => AuthRefusal::Malformed,
                };
                self.refuse(request, reason).await
            }
        }
    }
}

/// Reads what a refused request still sends, as far as it is small and comes soon.
async fn drain(body: Body) {
    let rest = Limited::new(body, DRAINED_BYTES_MAX).collect();
    drop(tokio::time::timeout(DRAINED_WITHIN, rest).await);
}

/// The tenant's own rate: one request more, or 429.
pub(super) struct TenantRate {
    limits: Limits,
}

impl TenantRate {
    /// Counted in these limits.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits }
    }
}

impl Middleware for TenantRate {
    async fn handle(&self, request: Request, next: impl Next) -> Response {
        let Some(caller) = request.extensions().get::<Caller>() else {
            tracing::error!("the rate layer stands before authentication");
            return json_rpc::error(StatusCode::INTERNAL_SERVER_ERROR, &Value::Null, json_rpc::UNAVAILABLE, "internal error", None);
        };
        match self.limits.tenant_take(caller.tenant().id).await {
            Ok(()) => next.run(request).await,
            Err(Refused { limit, wait_s }) => {
                wait(wait_s, &format!("límite de {limit} llamadas por minuto de esta empresa: espere {wait_s} s / this company's limit of {limit} calls a minute: wait {wait_s} s"))
            }
        }
    }
}

/// The token of an Authorization header; the scheme's case does not matter (RFC 9110 §11.1).
pub(super) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// `resource_metadata="…"`: where a client finds out how to get a token (RFC 9728 §5.1).
pub(super) fn pointer(places: &Places) -> String {
    format!("resource_metadata=\"{}\"", places.at(places::RESOURCE_METADATA))
}

/// The challenges of a 401, made once. At the general address they say where to sign in, and for what; at the other they do not.
struct Challenges {
    general: [HeaderValue; 2],
    tokens_only: [HeaderValue; 2],
}

impl Challenges {
    fn new(places: &Places) -> Self {
        // RFC 6750 §3.1: no error code when no credentials were sent.
        let bad = ", error=\"invalid_token\", error_description=\"unknown, mistyped, expired or revoked token\"";
        let header = |text: String| HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Bearer realm=\"dunet\""));
        let more = format!(", {}, scope=\"{}\"", pointer(places), PACKS.join(" "));
        Self {
            general: [header(format!("Bearer realm=\"dunet\"{more}")), header(format!("Bearer realm=\"dunet\"{bad}{more}"))],
            tokens_only: [header("Bearer realm=\"dunet\"".to_owned()), header(format!("Bearer realm=\"dunet\"{bad}"))],
        }
    }

    fn answer(&self, request: &Request) -> Response {
        let of = if request.uri().path() == places::MCP { &self.general } else { &self.tokens_only };
        let (header, message) = match request.extensions().get::<Refusal>() {
            Some(Refusal::Missing) | None => (&of[0], "send the API token as `Authorization: Bearer dunet_live_…`"),
            Some(Refusal::Bad) => (&of[1], "this token is unknown, mistyped, expired or revoked: ask for a new one"),
        };
        let mut response = json_rpc::error(StatusCode::UNAUTHORIZED, &Value::Null, json_rpc::UNAUTHENTICATED, message, None);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, header.clone());
        response
    }
}

fn too_many(error: GovernorError) -> Response<Body> {
    match error {
        GovernorError::TooManyRequests { wait_time, .. } => wait(wait_time.max(1), "too many refused tokens from this address"),
        other => {
            tracing::error!(%other, "the limiter of refusals failed");
            json_rpc::error(StatusCode::UNAUTHORIZED, &Value::Null, json_rpc::UNAUTHENTICATED, "unauthenticated", None)
        }
    }
}

fn wait(seconds: u64, message: &str) -> Response {
    let mut response = json_rpc::error(StatusCode::TOO_MANY_REQUESTS, &Value::Null, json_rpc::TOO_MANY, message, Some(json!({ "retry_after_s": seconds })));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for bad in ["abc", "Basic abc", "Bearer", "Bearer ", "", "Bearerabc"] {
            assert_eq!(bearer(bad), None, "{bad}");
        }
    }
}
