//! The way itself: one question after the other, each told as it ends.

use std::net::IpAddr;
use std::time::Duration;

use http::Method;
use secrecy::ExposeSecret;
use serde_json::json;
use url::Url;

use super::judge::{self, ALL, Finding, NOBODY, Server, bad, good};
use super::{MCP, PROGRAMS, Program, State, Step, Target, say};
use crate::clock::instant;
use crate::odoo::AddressPolicy;
use crate::odoo::address::is_public;
use crate::odoo::asking::{Asker, Question, Reply, Unanswered, addresses};
use crate::text::Language;

/// Looked at of each answer, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;
/// The longest wait for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// A page in a browser that asks.
const PAGE_ORIGIN: &str = "http://localhost:6274";
/// A verifier of RFC 7636's length, and its challenge as the RFC's appendix B has them.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// The revision with answers that go on.
const STATELESS: &str = "2026-07-28";

/// Goes the whole way and gives each step as it ends. Whether all three programs come through.
pub async fn examine(target: &Target, language: Language, each: &mut (dyn FnMut(Step) + Send)) -> bool {
    let mut walk = Walk { target, language, each, stopped: [None; PROGRAMS.len()] };
    match Asker::new(target.policy, ANSWER_BYTES_MAX, ANSWER_WITHIN) {
        Ok(asker) => walk.all(&asker).await,
        Err(why) => walk.tell("address", None, 0, &judge::silent(&why, &target.origin())),
    }
    walk.verdicts()
}

struct Walk<'a> {
    target: &'a Target,
    language: Language,
    each: &'a mut (dyn FnMut(Step) + Send),
    /// At which step each program stops first.
    stopped: [Option<&'static str>; PROGRAMS.len()],
}

type Headers<'a> = &'a [(&'a str, &'a str)];

impl Walk<'_> {
    async fn all(&mut self, asker: &Asker) {
        if !self.place().await {
            return;
        }
        let (origin, mcp) = (self.target.origin(), self.target.mcp());
        let at = |path: &str| Url::parse(&format!("{origin}{path}"));
        let (Ok(door), Ok(own), Ok(root), Ok(server), Ok(unknown), Ok(token_door)) = (
            at(MCP),
            at("/.well-known/oauth-protected-resource/mcp"),
            at("/.well-known/oauth-protected-resource"),
            at("/.well-known/oauth-authorization-server"),
            at("/.well-known/openid-configuration"),
            at("/mcp/token"),
        ) else {
            return;
        };
        if !self.step(asker, "challenge", hello(&door, Program::Claude), |reply| judge::challenge(reply, &door, own.as_str())).await {
            return;
        }
        self.step(asker, "resource", get(&own), |reply| judge::resource(reply, &own, &mcp, &origin)).await;
        self.step(asker, "resource_root", get(&root), |reply| judge::resource(reply, &root, &mcp, &origin).mild()).await;
        let mut known = None;
        self.step(asker, "server", get(&server), |reply| {
            let (parts, finding) = judge::server(reply, &server, &origin);
            known = parts;
            finding
        })
        .await;
        self.step(asker, "unknown", get(&unknown), |reply| judge::unknown(reply, &unknown)).await;
        self.step(asker, "token_door", hello(&token_door, Program::Claude), |reply| judge::token_door(reply, &token_door)).await;
        self.methods(asker, &door).await;
        if let Some(parts) = &known {
            let ask = [("origin", PAGE_ORIGIN), ("access-control-request-method", "POST"), ("access-control-request-headers", "content-type,mcp-protocol-version")];
            let question = Question { method: Method::OPTIONS, headers: &ask, ..get(&parts.token) };
            self.step(asker, "cors", question, |reply| judge::cors(reply, PAGE_ORIGIN)).await;
        }
        self.stream(asker, &door).await;
        for program in PROGRAMS {
            match &known {
                Some(parts) => self.sign_in(asker, program, parts).await,
                None => self.tell("registration", Some(program), 0, &Finding { state: State::Off, word: "untried", facts: vec![], stops: NOBODY }),
            }
        }
    }

    /// Whether the address is one that programs can be given.
    async fn place(&mut self) -> bool {
        let url = &self.target.url;
        let (began, host) = (instant(), url.host_str().unwrap_or_default().to_owned());
        if !matches!(url.path().trim_end_matches('/'), "" | MCP) {
            self.tell("address", None, 0, &bad("has_path", vec![("ruta", url.path().to_owned())]));
            return false;
        }
        let found = match addresses(url, ANSWER_WITHIN).await {
            Ok(found) if !found.is_empty() => found,
            other => {
                let why = other.err().unwrap_or_default();
                self.tell("address", None, millis(began), &bad("name", vec![("host", host), ("detalle", judge::shown(&why))]));
                return false;
            }
        };
        let list = found.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
        let public = found.iter().all(|address| is_public(*address));
        let facts = vec![("host", host), ("direcciones", list), ("detalle", String::new())];
        let finding = match (public, url.scheme()) {
            (false, _) => bad("private", facts).stopping(if self.target.policy == AddressPolicy::Own { ALL } else { Program::of_the_cloud() }),
            (true, "https") => good("address", facts),
            (true, _) => bad("plain", facts).stopping(Program::of_the_cloud()),
        };
        let goes_on = finding.stops != ALL;
        self.tell("address", None, millis(began), &finding);
        goes_on
    }

    /// What a program finds that asks for a stream, or ends a session, without a token.
    async fn methods(&mut self, asker: &Asker, door: &Url) {
        let began = instant();
        let accept = [("accept", "text/event-stream")];
        for method in [Method::GET, Method::DELETE] {
            let finding = match asker.ask(Question { method: method.clone(), headers: &accept, ..get(door) }).await {
                Ok(reply) => judge::method(&reply, door),
                Err(why) => Some(self.silence(&why)),
            };
            if let Some(finding) = finding {
                return self.tell("methods", None, millis(began), &finding);
            }
        }
        self.tell("methods", None, millis(began), &good("methods", vec![]));
    }

    /// Whether an answer that goes on comes piece by piece, or is kept back by somebody in between.
    async fn stream(&mut self, asker: &Asker, door: &Url) {
        let Some(token) = &self.target.token else { return };
        let bearer = format!("Bearer {}", token.expose_secret().trim());
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", STATELESS),
            ("mcp-method", "subscriptions/listen"),
        ];
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": STATELESS,
            "io.modelcontextprotocol/clientInfo": { "name": "dunet-doctor", "version": env!("CARGO_PKG_VERSION") },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": { "notifications": { "toolsListChanged": true }, "_meta": meta } });
        let began = instant();
        let asked = asker.ask(Question { method: Method::POST, url: door, headers: &headers, body: body.to_string(), first_piece: true }).await;
        let finding = match asked {
            Ok(reply) if reply.status == 200 && reply.header("content-type").starts_with("text/event-stream") => good("stream", vec![]),
            Ok(reply) if reply.status == 401 => bad("bad_token", vec![]),
            Ok(reply) => judge::astray(&reply, door),
            Err(Unanswered::TimedOut(_)) => bad("buffered", vec![("segundos", ANSWER_WITHIN.as_secs().to_string())]),
            Err(why) => self.silence(&why),
        };
        self.tell("stream", None, millis(began), &finding.mild());
    }

    /// As one program: registers, comes with a browser, tries a code that is none.
    async fn sign_in(&mut self, asker: &Asker, program: Program, parts: &Server) {
        let redirect = program.redirects()[0];
        let metadata = json!({
            "client_name": format!("{} (dunet connect doctor)", program.as_str()), "redirect_uris": program.redirects(),
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], "token_endpoint_auth_method": "none",
        });
        let mut id = String::new();
        let question = post(&parts.register, &[("content-type", "application/json"), ("accept", "application/json")], metadata.to_string());
        self.step_as(asker, "registration", program, question, |reply| match judge::registration(reply, &parts.register) {
            Ok(made) => {
                id = made;
                good("registration", vec![("regreso", redirect.to_owned())])
            }
            Err(finding) => finding,
        })
        .await;
        if id.is_empty() {
            return;
        }
        self.browser(asker, program, parts, &id).await;
        let resource = self.target.mcp();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", "dunet_oac_made_up_by_the_doctor"),
            ("client_id", id.as_str()),
            ("redirect_uri", redirect),
            ("code_verifier", VERIFIER),
            ("resource", resource.as_str()),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let question = post(&parts.token, &[("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")], body);
        self.step_as(asker, "token", program, question, |reply| judge::token(reply, &parts.token)).await;
    }

    /// A browser comes with the program's request, and is to be asked who it is.
    async fn browser(&mut self, asker: &Asker, program: Program, parts: &Server, id: &str) {
        let began = instant();
        let mut url = parts.authorize.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", id)
            .append_pair("redirect_uri", program.redirects()[0])
            .append_pair("state", "dunet-doctor")
            .append_pair("code_challenge", CHALLENGE)
            .append_pair("code_challenge_method", "S256")
            .append_pair("resource", &self.target.mcp());
        let html = [("accept", "text/html")];
        let first = match asker.ask(Question { headers: &html, ..get(&url) }).await {
            Ok(reply) => judge::authorize(&reply, &url).and_then(|next| match cookies(&reply) {
                cookies if cookies.is_empty() => Err(bad("lost", vec![("estado", reply.status.to_string())])),
                cookies => Ok((next, cookies)),
            }),
            Err(why) => Err(self.silence(&why)),
        };
        let finding = match first {
            Ok((next, cookies)) => {
                let headers = [("accept", "text/html"), ("cookie", cookies.as_str())];
                match asker.ask(Question { headers: &headers, ..get(&next) }).await {
                    Ok(reply) => judge::asked(&reply, &next),
                    Err(why) => self.silence(&why),
                }
            }
            Err(finding) => finding,
        };
        self.tell("authorize", Some(program), millis(began), &finding);
    }

    async fn step(&mut self, asker: &Asker, name: &'static str, question: Question<'_>, judged: impl FnOnce(&Reply) -> Finding) -> bool {
        self.asked(asker, name, None, question, judged).await
    }

    async fn step_as(&mut self, asker: &Asker, name: &'static str, program: Program, question: Question<'_>, judged: impl FnOnce(&Reply) -> Finding) {
        self.asked(asker, name, Some(program), question, judged).await;
    }

    /// One question, its answer judged and told. Whether there was an answer at all.
    async fn asked(&mut self, asker: &Asker, name: &'static str, program: Option<Program>, question: Question<'_>, judged: impl FnOnce(&Reply) -> Finding) -> bool {
        let began = instant();
        let answer = asker.ask(question).await;
        let finding = answer.as_ref().map_or_else(|why| self.silence(why), judged);
        self.tell(name, program, millis(began), &finding);
        answer.is_ok()
    }

    fn silence(&self, why: &Unanswered) -> Finding {
        judge::silent(why, self.target.url.host_str().unwrap_or_default())
    }

    fn tell(&mut self, name: &'static str, program: Option<Program>, took_ms: u64, finding: &Finding) {
        for (at, one) in PROGRAMS.iter().enumerate() {
            if program.unwrap_or(*one) == *one && finding.stops.contains(one) {
                self.stopped[at].get_or_insert(name);
            }
        }
        let mut facts: Vec<(&str, &str)> = finding.facts.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (origin, mcp) = (self.target.origin(), self.target.mcp());
        facts.extend([("origen", origin.as_str()), ("mcp", mcp.as_str())]);
        let fault = matches!(finding.state, State::Bad | State::Warn).then_some(finding.word);
        let (detail, remedy) = match fault {
            Some(word) => (say(self.language, &format!("faltas.{word}"), &facts), Some(say(self.language, &format!("remedios.{word}"), &facts))),
            None => (say(self.language, &format!("hallado.{}", finding.word), &facts), None),
        };
        (self.each)(Step { name, program, state: finding.state, detail, fault, remedy, took_ms });
    }

    /// The last step of each program: whether it comes through.
    fn verdicts(&mut self) -> bool {
        let stopped = self.stopped;
        for (program, stop) in PROGRAMS.into_iter().zip(stopped) {
            let step = stop.map(|name| say(self.language, &format!("pasos.{name}"), &[]));
            let (state, detail) = match step {
                None => (State::Ok, say(self.language, "hallado.verdict", &[])),
                Some(step) => (State::Bad, say(self.language, "stops", &[("paso", &step)])),
            };
            (self.each)(Step { name: "verdict", program: Some(program), state, detail, fault: stop, remedy: None, took_ms: 0 });
        }
        stopped.iter().all(Option::is_none)
    }
}

fn get(url: &Url) -> Question<'_> {
    Question { method: Method::GET, url, headers: &[("accept", "application/json")], body: String::new(), first_piece: false }
}

fn post<'a>(url: &'a Url, headers: Headers<'a>, body: String) -> Question<'a> {
    Question { method: Method::POST, url, headers, body, first_piece: false }
}

/// The first thing a program says, without a token.
fn hello(url: &Url, program: Program) -> Question<'_> {
    let params = json!({ "protocolVersion": program.revision(), "capabilities": {}, "clientInfo": { "name": "dunet-doctor", "version": env!("CARGO_PKG_VERSION") } });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }).to_string();
    post(url, &[("content-type", "application/json"), ("accept", "application/json, text/event-stream")], body)
}

/// What a browser would send back.
fn cookies(reply: &Reply) -> String {
    let pairs = reply.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok()?.split(';').next());
    pairs.collect::<Vec<_>>().join("; ")
}

fn millis(began: tokio::time::Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
