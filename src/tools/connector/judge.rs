//! What an answer means: each function looks at one step's answer and finds it good, or names the fault.

use serde_json::Value;
use url::Url;

use super::{Program, State};
use crate::odoo::asking::{Reply, Unanswered};

/// So much of a text of theirs is shown, characters.
const SHOWN_CHARS_MAX: usize = 160;

/// What a step found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) state: State,
    /// A word of `connector.hallado`, or of `connector.faltas`.
    pub(super) word: &'static str,
    pub(super) facts: Vec<(&'static str, String)>,
    /// Who gets no further.
    pub(super) stops: &'static [Program],
}

/// Nobody gets further.
pub(super) const ALL: &[Program] = &super::PROGRAMS;
/// Everybody does.
pub(super) const NOBODY: &[Program] = &[];

pub(super) fn good(word: &'static str, facts: Vec<(&'static str, String)>) -> Finding {
    Finding { state: State::Ok, word, facts, stops: NOBODY }
}

pub(super) fn bad(word: &'static str, facts: Vec<(&'static str, String)>) -> Finding {
    Finding { state: State::Bad, word, facts, stops: ALL }
}

impl Finding {
    /// The same, for these programs only.
    pub(super) fn stopping(self, stops: &'static [Program]) -> Self {
        Self { stops, ..self }
    }

    /// Nobody stops at it.
    pub(super) fn mild(self) -> Self {
        Self { state: if self.state == State::Bad { State::Warn } else { self.state }, stops: NOBODY, ..self }
    }
}

/// Text of somebody else, on one line and not too long.
pub(super) fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > SHOWN_CHARS_MAX { line.chars().take(SHOWN_CHARS_MAX).chain(['…']).collect() } else { line }
}

/// No answer at all.
pub(super) fn silent(why: &Unanswered, host: &str) -> Finding {
    let word = match why {
        Unanswered::Refused(_) => "private",
        Unanswered::Tls(_) => "certificate",
        Unanswered::Unreachable(_) => "unreachable",
        Unanswered::TimedOut(_) => "timed_out",
        Unanswered::Broken(_) => "broken",
    };
    bad(word, vec![("detalle", shown(&why.to_string())), ("host", host.to_owned())])
}

fn kind(reply: &Reply) -> String {
    reply.header("content-type").split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(reply: &Reply) -> bool {
    let kind = kind(reply);
    kind == "application/json" || kind.ends_with("+json")
}

pub(super) fn json(reply: &Reply) -> Value {
    if is_json(reply) { serde_json::from_slice(&reply.body).unwrap_or_default() } else { Value::Null }
}

pub(super) fn word(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// An answer that is not the one that was waited for: who gave it, as far as one can tell.
pub(super) fn astray(reply: &Reply, url: &Url) -> Finding {
    let (status, kind) = (reply.status, kind(reply));
    let path = url.path().to_owned();
    let facts = vec![("estado", status.to_string()), ("tipo", if kind.is_empty() { "—".to_owned() } else { kind }), ("ruta", path)];
    let json = json(reply);
    match status {
        300..=399 => {
            let to = shown(reply.header("location"));
            let facts = vec![("destino", to.clone()), ("ruta", url.path().to_owned())];
            bad(if url.scheme() == "http" && to.starts_with("https://") { "http" } else { "redirect" }, facts)
        }
        401 if !reply.header("www-authenticate").to_ascii_lowercase().starts_with("bearer") => bad("protected", facts),
        403 if json.get("jsonrpc").is_some() => bad("host", facts),
        403 => bad("forbidden", facts),
        // Ours says so in JSON, under every name that is not its own.
        404 if json["error"] == "not found" => bad("not_ours", facts),
        404 => bad("path", facts),
        429 => bad("limited", facts),
        503 if json.get("jsonrpc").is_some() => bad("maintenance", facts),
        500..=599 => bad("gateway", facts),
        _ if !is_json(reply) => bad("another_site", facts),
        _ => bad("status", facts),
    }
}

/// The answer to a call without a token.
pub(super) fn challenge(reply: &Reply, url: &Url, metadata: &str) -> Finding {
    let header = reply.header("www-authenticate");
    if reply.status != 401 || (!header.is_empty() && !header.to_ascii_lowercase().starts_with("bearer")) {
        return astray(reply, url);
    }
    // Whoever finds no challenge looks at the well-known addresses; but not every program does.
    match parameter(header, "resource_metadata") {
        _ if header.is_empty() => bad("stripped", vec![]).stopping(NOBODY),
        None => bad("no_pointer", vec![("cabecera", shown(header))]).stopping(NOBODY),
        Some(pointer) if pointer == metadata => good("challenge", vec![]),
        Some(pointer) => bad("pointer", vec![("hallado", shown(pointer)), ("esperado", metadata.to_owned())]),
    }
}

fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(&format!("{name}=\"")).nth(1)?.split('"').next()
}

/// What the resource says of itself.
pub(super) fn resource(reply: &Reply, url: &Url, mcp: &str, origin: &str) -> Finding {
    let document = json(reply);
    if reply.status != 200 || !document.is_object() {
        return astray(reply, url);
    }
    let differs = |word, found: &str, wanted: &str| bad(word, vec![("hallado", shown(found)), ("esperado", wanted.to_owned())]);
    let (resource, issuer) = (self::word(&document, "resource"), document["authorization_servers"][0].as_str().unwrap_or_default().to_owned());
    if resource != mcp {
        return differs("wrong_resource", &resource, mcp);
    }
    if issuer != origin {
        return differs("wrong_issuer", &issuer, origin);
    }
    good("resource", vec![("recurso", resource)])
}

/// What the authorization server says of itself, when it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) authorize: Url,
    pub(super) token: Url,
    pub(super) register: Url,
}

/// The same document, and what it comes to.
pub(super) fn server(reply: &Reply, url: &Url, origin: &str) -> (Option<Server>, Finding) {
    let document = json(reply);
    if reply.status != 200 || !document.is_object() {
        return (None, astray(reply, url));
    }
    let issuer = word(&document, "issuer");
    if issuer != origin {
        return (None, bad("wrong_issuer", vec![("hallado", shown(&issuer)), ("esperado", origin.to_owned())]));
    }
    let mut found = Vec::new();
    for name in ["authorization_endpoint", "token_endpoint", "registration_endpoint"] {
        let text = word(&document, name);
        match Url::parse(&text).ok().filter(|url| url.origin().ascii_serialization() == origin) {
            Some(endpoint) => found.push(endpoint),
            None => return (None, bad("wrong_endpoint", vec![("nombre", name.to_owned()), ("hallado", shown(&text)), ("esperado", origin.to_owned())])),
        }
    }
    let has = |name: &str, wanted: &str| document[name].as_array().is_some_and(|list| list.iter().any(|one| one == wanted));
    if !has("code_challenge_methods_supported", "S256") || !has("token_endpoint_auth_methods_supported", "none") {
        return (None, bad("altered", vec![("ruta", url.path().to_owned())]));
    }
    let [authorize, token, register]: [Url; 3] = match found.try_into() {
        Ok(three) => three,
        Err(_) => return (None, bad("altered", vec![("ruta", url.path().to_owned())])),
    };
    (Some(Server { authorize, token, register }), good("server", vec![("emisor", issuer)]))
}

/// An address of which we know nothing: it must say so, for some programs believe whatever answers there.
pub(super) fn unknown(reply: &Reply, url: &Url) -> Finding {
    if reply.status == 404 {
        good("unknown", vec![])
    } else {
        bad("answers_anything", vec![("estado", reply.status.to_string()), ("ruta", url.path().to_owned())]).stopping(&[Program::Claude])
    }
}

/// The address for API tokens only: it refuses, and does not say where to sign in.
pub(super) fn token_door(reply: &Reply, url: &Url) -> Finding {
    let header = reply.header("www-authenticate");
    if reply.status != 401 || (!header.is_empty() && !header.to_ascii_lowercase().starts_with("bearer")) {
        return astray(reply, url).mild();
    }
    if header.contains("resource_metadata") { bad("leaks", vec![("ruta", url.path().to_owned())]).mild() } else { good("token_door", vec![]) }
}

/// `GET` and `DELETE` without a token.
pub(super) fn method(reply: &Reply, url: &Url) -> Option<Finding> {
    let ours = matches!(reply.status, 401 | 405) && json(reply).get("jsonrpc").is_some();
    (!ours).then(|| astray(reply, url).stopping(&[Program::VsCode]))
}

/// A preflight of a page in a browser.
pub(super) fn cors(reply: &Reply, origin: &str) -> Finding {
    let allowed = reply.header("access-control-allow-origin");
    if (200..300).contains(&reply.status) && (allowed == "*" || allowed == origin) {
        good("cors", vec![])
    } else {
        bad("no_cors", vec![("estado", reply.status.to_string())]).mild()
    }
}

/// A registration: the program's id, or what was wrong.
pub(super) fn registration(reply: &Reply, url: &Url) -> Result<String, Finding> {
    let document = json(reply);
    let id = word(&document, "client_id");
    if reply.status == 201 && !id.is_empty() {
        return Ok(id);
    }
    Err(refused(reply, &document).unwrap_or_else(|| astray(reply, url)))
}

/// An error as RFC 6749 and 7591 write it.
fn refused(reply: &Reply, document: &Value) -> Option<Finding> {
    let error = word(document, "error");
    (reply.status == 400 && !error.is_empty()).then(|| bad("refused", vec![("error", shown(&format!("{error} {}", word(document, "error_description"))))]))
}

/// Where a browser that came with a request is sent: to a page of ours.
pub(super) fn authorize(reply: &Reply, url: &Url) -> Result<Url, Finding> {
    let to = reply.header("location");
    let next = url.join(to).ok().filter(|_| matches!(reply.status, 302 | 303) && !to.is_empty());
    match next {
        Some(next) if next.origin() == url.origin() => Ok(next),
        Some(next) => {
            let error = next.query_pairs().find(|(name, _)| name == "error").map(|(_, value)| value.into_owned());
            Err(error.map_or_else(|| astray(reply, url), |error| bad("refused", vec![("error", shown(&error))])))
        }
        None => Err(astray(reply, url)),
    }
}

/// What a browser with its cookie is shown then: the page where one signs in.
pub(super) fn asked(reply: &Reply, url: &Url) -> Finding {
    let ours = reply.header("location");
    let sent_on = matches!(reply.status, 302 | 303) && url.join(ours).is_ok_and(|next| next.origin() == url.origin());
    if sent_on || (reply.status == 200 && kind(reply) == "text/html") { good("authorize", vec![]) } else { bad("lost", vec![("estado", reply.status.to_string())]) }
}

/// A made-up code: refused, in the words of RFC 6749.
pub(super) fn token(reply: &Reply, url: &Url) -> Finding {
    let document = json(reply);
    match word(&document, "error").as_str() {
        "invalid_grant" if reply.status == 400 => good("token", vec![]),
        _ => refused(reply, &document).unwrap_or_else(|| astray(reply, url)),
    }
}
