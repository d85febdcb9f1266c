//! The fixture that the official conformance suite asks its questions about (`tests/conformance/`), behind the cargo feature `conformance`; the
//! program has none of it. It is mounted beside the product's handler, behind the same layers and in the same transport, so that what the suite
//! tests is the stack. What is said stands in `tests/conformance/fixture.json`; here is what moves: progress, log messages, questions to the client
//! and the state they carry, and who listens for changes.
#![expect(deprecated, reason = "the suite asks for logging and subscriptions of the older eras, which rmcp marks as going away")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Router;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, CompleteRequestParams, CompleteResult, CompletionInfo, ContentBlock, ErrorData,
    GetPromptRequestParams, GetPromptResponse, GetPromptResult, InputRequest, InputRequests, InputRequiredResult, InputResponses, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, LoggingLevel, LoggingMessageNotificationParam, PaginatedRequestParams, ProgressNotificationParam, Prompt, PromptMessage, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, ResourceTemplate, Role, ServerCapabilities, ServerConfig,
    SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::server::{SERVED, caller, implementation, service, stamp};
use crate::domain::tokens::Caller;
use crate::http::HttpSettings;

/// Where the suite calls.
const PATH: &str = "/mcp/conformance";
/// The methods the suite calls.
pub(super) const METHODS: [&str; 15] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "subscriptions/listen",
];
/// Changes that somebody who listens may be behind.
const CHANGES_MAX: usize = 16;
/// How long what was read may be kept, milliseconds.
const TTL_MS: u64 = 1_000;

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| serde_json::from_str(include_str!("../../tests/conformance/fixture.json")).expect("the fixture is of the protocol's form"));

#[derive(Deserialize)]
struct Fixture {
    capabilities: ServerCapabilities,
    tools: Vec<Tool>,
    results: BTreeMap<String, Vec<ContentBlock>>,
    asks: BTreeMap<String, Ask>,
    resources: Vec<Resource>,
    templates: Vec<ResourceTemplate>,
    contents: BTreeMap<String, ResourceContents>,
    template_content: Value,
    prompts: Vec<Prompt>,
    messages: BTreeMap<String, Value>,
    completions: Vec<String>,
}

/// What asks the client before it answers.
#[derive(Deserialize)]
struct Ask {
    /// Whether the round is carried in a sealed state.
    #[serde(default)]
    sealed: bool,
    rounds: Vec<InputRequests>,
    done: String,
}

/// What comes of asking.
enum Asked {
    More(InputRequiredResult),
    Done(String),
}

/// The routes of the fixture.
pub(super) fn routes(settings: &HttpSettings) -> Router {
    Router::new().route_service(PATH, service(Conformance::new(settings), settings))
}

#[derive(Clone, Copy)]
enum Change {
    Tools,
    Prompts,
}

#[derive(Clone)]
struct Conformance {
    changes: broadcast::Sender<Change>,
    key: hmac::Key,
    stopping: CancellationToken,
}

impl Conformance {
    fn new(settings: &HttpSettings) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new()).expect("this machine has randomness");
        Self { changes: broadcast::Sender::new(CHANGES_MAX), key, stopping: settings.stopping.clone() }
    }

    /// Whoever listens hears of it; nobody has to.
    fn changed(&self, change: Change) {
        let listeners = self.changes.send(change).unwrap_or_default();
        tracing::debug!(listeners, "the fixture changed");
    }

    fn ask(&self, name: &str, responses: Option<&InputResponses>, state: Option<&str>, context: &RequestContext<RoleServer>) -> Result<Option<Asked>, ErrorData> {
        let Some(ask) = FIXTURE.asks.get(name) else { return Ok(None) };
        let caller = caller(context)?;
        let round = match state {
            Some(state) => self.open(state, name, &caller).ok_or_else(|| ErrorData::invalid_params("`requestState` is not what was handed out", None))?,
            None => 0,
        };
        let wanted = ask.rounds.get(round).ok_or_else(|| ErrorData::invalid_params("`requestState` is of no round", None))?;
        let declared = context.client_capabilities().unwrap_or_default();
        let open: InputRequests = wanted.iter().filter(|(_, request)| missing(request, &declared).is_none()).map(|(key, request)| (key.clone(), request.clone())).collect();
        if open.is_empty() {
            let lacking: Map<String, Value> = wanted.values().filter_map(|request| missing(request, &declared)).map(|name| (name.to_owned(), json!({}))).collect();
            return Err(ErrorData::missing_required_client_capability(serde_json::from_value(Value::Object(lacking)).unwrap_or_default()));
        }
        let answered: Option<BTreeMap<&String, &Value>> = open.keys().map(|key| responses?.get(key).filter(|answer| answer.is_object()).map(|answer| (key, answer))).collect();
        // A state that was handed out belongs to its answers.
        let next = match answered.filter(|_| state.is_some() || !ask.sealed) {
            Some(answers) if round + 1 == ask.rounds.len() => return Ok(Some(Asked::Done(ask.done.replace("{answers}", &json!(answers).to_string())))),
            Some(_) => round + 1,
            None => round,
        };
        let requests = if next == round { open } else { ask.rounds[next].clone() };
        let state = ask.sealed.then(|| self.seal(next, name, &caller));
        Ok(Some(Asked::More(InputRequiredResult::new(Some(requests), state))))
    }

    fn seal(&self, round: usize, name: &str, caller: &Caller) -> String {
        let tag = hmac::sign(&self.key, bound(&round.to_string(), name, caller).as_bytes());
        format!("{round}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn open(&self, state: &str, name: &str, caller: &Caller) -> Option<usize> {
        let (round, tag) = state.split_once('.')?;
        hmac::verify(&self.key, bound(round, name, caller).as_bytes(), &URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        round.parse().ok()
    }
}

/// What a state is good for: this round of this name, and nobody else's.
fn bound(round: &str, name: &str, caller: &Caller) -> String {
    format!("{round} {name} {}", caller.tenant().id)
}

/// The capability that a request to the client takes and the client did not declare.
fn missing(request: &InputRequest, declared: &ClientCapabilities) -> Option<&'static str> {
    match request {
        InputRequest::CreateMessage(_) => declared.sampling.is_none().then_some("sampling"),
        InputRequest::Elicitation(_) => declared.elicitation.is_none().then_some("elicitation"),
        InputRequest::ListRoots(_) => declared.roots.is_none().then_some("roots"),
        _ => None,
    }
}

/// Puts arguments into every text.
fn filled(template: &Value, arguments: &Map<String, Value>) -> Value {
    match template {
        Value::String(text) => {
            let put = |text: String, (name, value): (&String, &Value)| text.replace(&format!("{{{name}}}"), value.as_str().unwrap_or_default());
            Value::String(arguments.iter().fold(text.clone(), put))
        }
        Value::Array(items) => items.iter().map(|item| filled(item, arguments)).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), filled(value, arguments))).collect(),
        other => other.clone(),
    }
}

async fn progress(context: &RequestContext<RoleServer>) {
    let Some(token) = context.meta.get_progress_token() else { return };
    for done in [0.0, 50.0, 100.0] {
        let step = ProgressNotificationParam::new(token.clone(), done).with_total(100.0);
        if let Err(error) = context.peer.notify_progress(step).await {
            tracing::debug!(%error, "nobody hears of the progress");
        }
    }
}

/// In the modern era only who asks for messages gets them.
async fn log(context: &RequestContext<RoleServer>) {
    if context.protocol_version() == Some(ProtocolVersion::V_2026_07_28) && context.meta.log_level().is_none() {
        return;
    }
    for message in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        if let Err(error) = context.peer.notify_logging_message(LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(message))).await {
            tracing::debug!(%error, "nobody hears the message");
        }
    }
}

fn not_found(uri: &str) -> ErrorData {
    ErrorData::resource_not_found("there is no such resource", Some(json!({ "uri": uri })))
}

impl ServerHandler for Conformance {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(FIXTURE.capabilities.clone()).with_server_info(implementation())
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(SERVED)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        FIXTURE.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, context: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        let mut result = ListToolsResult::with_all_items(FIXTURE.tools.clone()).with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Private);
        result.meta = stamp(&context);
        Ok(result)
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.as_ref();
        match self.ask(name, request.input_responses.as_ref(), request.request_state.as_deref(), &context)? {
            Some(Asked::More(more)) => return Ok(more.into()),
            Some(Asked::Done(text)) => return Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into()),
            None => {}
        }
        match name {
            "test_tool_with_progress" => progress(&context).await,
            "test_tool_with_logging" | "test_logging_tool" => log(&context).await,
            "test_trigger_tool_change" => self.changed(Change::Tools),
            "test_trigger_prompt_change" => self.changed(Change::Prompts),
            _ => {}
        }
        let content = FIXTURE.results.get(name).cloned().ok_or_else(|| ErrorData::invalid_params("unknown tool", None))?;
        let mut result = if name == "test_error_handling" { CallToolResult::error(content) } else { CallToolResult::success(content) };
        result.meta = stamp(&context);
        Ok(result.into())
    }

    async fn list_resources(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(FIXTURE.resources.clone()).with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(FIXTURE.templates.clone()).with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn read_resource(&self, request: ReadResourceRequestParams, _: RequestContext<RoleServer>) -> Result<ReadResourceResponse, ErrorData> {
        let by_template = || {
            let id = request.uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
            serde_json::from_value(filled(&FIXTURE.template_content, &Map::from_iter([("id".to_owned(), json!(id))]))).ok()
        };
        let contents: ResourceContents = FIXTURE.contents.get(&request.uri).cloned().or_else(by_template).ok_or_else(|| not_found(&request.uri))?;
        Ok(ReadResourceResult::new(vec![contents]).with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Private).into())
    }

    async fn subscribe(&self, request: SubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        if FIXTURE.contents.contains_key(&request.uri) { Ok(()) } else { Err(not_found(&request.uri)) }
    }

    async fn unsubscribe(&self, request: UnsubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        if FIXTURE.contents.contains_key(&request.uri) { Ok(()) } else { Err(not_found(&request.uri)) }
    }

    async fn list_prompts(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(FIXTURE.prompts.clone()).with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn get_prompt(&self, request: GetPromptRequestParams, context: RequestContext<RoleServer>) -> Result<GetPromptResponse, ErrorData> {
        let name = request.name.as_str();
        match self.ask(name, request.input_responses.as_ref(), request.request_state.as_deref(), &context)? {
            Some(Asked::More(more)) => return Ok(more.into()),
            Some(Asked::Done(text)) => return Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]).into()),
            None => {}
        }
        let template = FIXTURE.messages.get(name).ok_or_else(|| ErrorData::invalid_params("unknown prompt", None))?;
        let blocks: Vec<ContentBlock> = serde_json::from_value(filled(template, &request.arguments.unwrap_or_default()))
            .map_err(|error| ErrorData::internal_error(format!("the fixture's prompt is broken: {error}"), None))?;
        Ok(GetPromptResult::new(blocks.into_iter().map(|block| PromptMessage::new(Role::User, block)).collect()).into())
    }

    async fn complete(&self, request: CompleteRequestParams, _: RequestContext<RoleServer>) -> Result<CompleteResult, ErrorData> {
        let values = FIXTURE.completions.iter().filter(|value| value.starts_with(&request.argument.value)).cloned().collect();
        Ok(CompleteResult::new(CompletionInfo::with_all_values(values).map_err(|error| ErrorData::internal_error(error, None))?))
    }

    /// There is no session to remember it in.
    async fn set_level(&self, _: SetLevelRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.subscribe();
        loop {
            let change = tokio::select! {
                () = subscription.cancelled() => return Ok(()),
                () = self.stopping.cancelled() => return Ok(()),
                change = changes.recv() => change,
            };
            let sent = match change {
                Ok(Change::Tools) => subscription.sink().notify_tool_list_changed().await,
                Ok(Change::Prompts) => subscription.sink().notify_prompt_list_changed().await,
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            };
            // The sink sends nothing that was not asked for.
            if let Err(error) = sent {
                tracing::debug!(%error, "a change was not told");
            }
        }
    }
}
