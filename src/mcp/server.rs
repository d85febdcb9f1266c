//! The MCP server. The only file that speaks rmcp.
//!
//! Stateless in both eras: everything is in the request. The handler takes the caller and the open usage record out of the request's
//! head, asks `tools/dispatch`, and turns what comes back into results. Tool failures are results the model can act on; protocol errors
//! are for unknown tools and broken requests.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult, ContentBlock, CustomRequest, CustomResult, DiscoverResult,
    ErrorData, GetPromptRequestParams, GetPromptResponse, GetPromptResult, Icon, Implementation, InitializeRequestParams, InitializeResult, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, MetaObject, PaginatedRequestParams, ProgressNotificationParam, ProgressToken, PromptMessage,
    ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, RequestMetaObject, Role, ServerCapabilities, ServerConfig, SubscriptionFilter, Tool,
    ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use self::asking::Said;
use self::listening::Listening;
use super::error;
use super::usage::Metered;
use crate::domain::tokens::Caller;
use crate::domain::usage::{OpenRecord, Outcome};
use crate::http::trace_context::RequestTrace;
use crate::http::{HttpSettings, request_id};
use crate::state::AppState;
use crate::text::{Language, fill, text};
use crate::tools::answer::Answer;
use crate::tools::cx::{Progress, Step};
use crate::tools::dispatch::{CallRequest, Dispatcher, UnknownTool, may, permitted};
use crate::tools::error::{Code, ToolError};
use crate::tools::tool::{Effect, ToolFacts};
use crate::tools::{TOOLS, prompts, resources};

mod asking;
mod listening;
mod offers;

/// The revisions served, newest first.
pub(super) const VERSIONS: [&str; 4] = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"];
/// The same, as rmcp has them.
pub(super) const SERVED: &[ProtocolVersion] = &[ProtocolVersion::V_2026_07_28, ProtocolVersion::V_2025_11_25, ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2025_03_26];
/// The era without sessions: what it sends in its headers it repeats in `_meta`.
pub(super) const MODERN: &str = VERSIONS[0];
/// How long a client may keep a list, milliseconds. Permissions change rarely, and are checked at the call anyway.
const LIST_TTL_MS: u64 = 60_000;
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// The methods a client may call. The pre-filter lets no other through.
pub(super) const METHODS: [&str; 12] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "completion/complete",
    "subscriptions/listen",
];
/// Steps of a call that may wait to be told.
const STEPS_MAX: usize = 16;

/// The tower service around a handler, without sessions.
pub(super) fn service<H: ServerHandler + Clone>(handler: H, settings: &HttpSettings) -> StreamableHttpService<H, NeverSessionManager> {
    // Host and origin are checked by `gate`, before authentication and with JSON-RPC answers; the body's size by the pre-filter.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .disable_allowed_hosts()
        .disable_allowed_origins()
        .with_max_request_body_bytes(settings.body_bytes_max);
    StreamableHttpService::new(move || Ok(handler.clone()), Arc::new(NeverSessionManager::default()), config)
}

/// The register as rmcp wants it, made once.
static DESCRIBED: LazyLock<Vec<(&'static str, Tool)>> = LazyLock::new(|| TOOLS.iter().map(|tool| (tool.facts().name, describe(tool.facts()))).collect());

/// Answers one request. Cheap to clone: rmcp makes one per request.
#[derive(Clone)]
pub(super) struct DunetServer {
    dispatcher: Dispatcher,
    listening: Listening,
}

impl DunetServer {
    /// Of this service.
    pub(super) fn new(state: &AppState, settings: &HttpSettings) -> Self {
        let limits = &state.config.limits;
        let every = Duration::from_millis(limits.watch_ms.max(10));
        let listening = Listening::new(state.tokens.clone(), settings.stopping.clone(), every, limits.listeners_per_tenant_max);
        Self { dispatcher: state.dispatcher.clone(), listening }
    }

    /// Runs calls.
    pub(super) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// Runs a call, tells its steps to a client that asked for them, and closes its record.
    async fn run(
        &self,
        context: &RequestContext<RoleServer>,
        caller: Caller,
        name: String,
        arguments: Option<Map<String, Value>>,
        declined: bool,
    ) -> Result<Result<Answer, ToolError>, UnknownTool> {
        let (record, request_id) = of(context);
        let language = caller.language();
        let (told, mut steps) = mpsc::channel::<Step>(STEPS_MAX);
        let token = context.meta.get_progress_token();
        // A step that nobody has time to hear is left out.
        let progress = token.as_ref().map(|_| Arc::new(move |step| told.try_send(step).unwrap_or_default()) as Progress);
        // In a box: rmcp moves the future of a handler about, a dozen times, and that of a tool is many kilobytes.
        let call = Box::pin(self.dispatcher.call(CallRequest {
            caller,
            name,
            arguments,
            record: record.clone(),
            request_id,
            agent: agent(context),
            cancelled: context.ct.clone(),
            progress,
            declined,
        }));
        // rmcp runs this in a task of its own: a panic there would be no answer until the time limit, out of reach of the door's guard.
        let mut call = std::pin::pin!(AssertUnwindSafe(call).catch_unwind());
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut call => break outcome,
                Some(step) = steps.recv(), if token.is_some() => tell(context, token.clone(), step, language).await,
            }
        };
        let outcome = outcome.unwrap_or_else(|_| Ok(Err(broken(&record))));
        // What is answered is in the journal, also where the answer is the end of a stream.
        if let Some(metered) = context.extensions.get::<axum::http::request::Parts>().and_then(|parts| parts.extensions.get::<Metered>()) {
            metered.close();
        }
        outcome
    }
}

impl ServerHandler for DunetServer {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::builder().enable_tools().enable_prompts().enable_resources().enable_completions().build();
        // rmcp lets nobody listen for what is not announced here.
        told_of_changes(&mut capabilities, true);
        ServerConfig::new(capabilities).with_server_info(implementation())
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(SERVED)
    }

    async fn initialize(&self, request: InitializeRequestParams, context: RequestContext<RoleServer>) -> Result<InitializeResult, ErrorData> {
        let caller = caller(&context)?;
        context.peer.set_peer_info(request.clone());
        let mut result = self.negotiate_initialize(&request)?.with_instructions(instructions(&caller));
        result.server_info = with_icon(implementation());
        // There is no session that could be told of changes.
        told_of_changes(&mut result.capabilities, false);
        Ok(result)
    }

    async fn discover(&self, context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let caller = caller(&context)?;
        let info = self.get_info().with_instructions(instructions(&caller)).with_server_info(with_icon(implementation()));
        let mut result = DiscoverResult::from_server_info(self.supported_protocol_versions().into_owned(), info);
        result.ttl_ms = LIST_TTL_MS;
        result.cache_scope = CacheScope::Private;
        Ok(result)
    }

    async fn list_tools(&self, request: Option<PaginatedRequestParams>, context: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        let caller = caller(&context)?;
        only_page(request)?;
        let allowed: Vec<&str> = permitted(&caller).map(|facts| facts.name).collect();
        let tools = DESCRIBED.iter().filter(|(name, _)| allowed.contains(name)).map(|(_, tool)| tool.clone()).collect();
        let mut result = ListToolsResult::with_all_items(tools).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private);
        result.meta = stamp(&context);
        Ok(result)
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let caller = caller(&context)?;
        let (language, request_id) = (caller.language(), of(&context).1);
        let name = request.name.into_owned();
        let asks = caller_can_be_asked(&caller, &name, &context);
        let said = if asks { asking::said(request.input_responses.as_ref(), request.request_state.as_deref()) } else { Said::Nothing };
        let arguments = if said == Said::Yes { Some(asking::agreed(request.arguments, request.request_state)) } else { request.arguments };
        let link_for = caller.clone();
        let outcome = self.run(&context, caller, name.clone(), arguments, said == Said::No).await;
        let mut result = match outcome {
            Ok(Ok(answer)) => match asks.then(|| asking::question(&answer, language)).flatten() {
                Some(question) => return Ok(question.into()),
                None => success(answer, |data| offers::link(&link_for, &name, data)),
            },
            Ok(Err(failure)) => failed(&failure, language, &request_id),
            Err(_) => return Err(ErrorData::invalid_params(format!("unknown tool: {}", clip(&name)), None)),
        };
        result.meta = stamp(&context);
        Ok(result.into())
    }

    async fn list_prompts(&self, request: Option<PaginatedRequestParams>, context: RequestContext<RoleServer>) -> Result<ListPromptsResult, ErrorData> {
        let mut result = offers::prompt_list(&caller(&context)?);
        only_page(request)?;
        result.meta = stamp(&context);
        Ok(result)
    }

    async fn get_prompt(&self, request: GetPromptRequestParams, context: RequestContext<RoleServer>) -> Result<GetPromptResponse, ErrorData> {
        let said = prompts::filled(&caller(&context)?, &request.name, &request.arguments.unwrap_or_default()).map_err(offers::prompt_refused)?;
        let mut result = GetPromptResult::new(vec![PromptMessage::new_text(Role::User, said)]);
        result.meta = stamp(&context);
        Ok(result.into())
    }

    async fn list_resources(&self, request: Option<PaginatedRequestParams>, context: RequestContext<RoleServer>) -> Result<ListResourcesResult, ErrorData> {
        let mut result = offers::resource_list(&caller(&context)?);
        only_page(request)?;
        result.meta = stamp(&context);
        Ok(result)
    }

    async fn list_resource_templates(&self, request: Option<PaginatedRequestParams>, context: RequestContext<RoleServer>) -> Result<ListResourceTemplatesResult, ErrorData> {
        let mut result = offers::template_list(&caller(&context)?);
        only_page(request)?;
        result.meta = stamp(&context);
        Ok(result)
    }

    async fn read_resource(&self, request: ReadResourceRequestParams, context: RequestContext<RoleServer>) -> Result<ReadResourceResponse, ErrorData> {
        let caller = caller(&context)?;
        let (language, uri) = (caller.language(), request.uri);
        let (contents, ttl_ms) = match resources::asked(&caller, &uri).ok_or_else(|| offers::not_found(&uri))? {
            resources::Asked::Guide => (offers::guide(&caller), LIST_TTL_MS),
            resources::Asked::Record(tool, arguments) => match self.run(&context, caller, tool.to_owned(), Some(arguments), false).await {
                // Another moment, another state.
                Ok(Ok(answer)) => (offers::record(&uri, answer.into_string()), 0),
                Ok(Err(failure)) if failure.code == Code::NoEncontrado => return Err(offers::not_found(&uri)),
                Ok(Err(failure)) => {
                    let body = self::failure(&failure, language, &of(&context).1);
                    let message = body.get("mensaje").and_then(Value::as_str).unwrap_or_default().to_owned();
                    return Err(ErrorData::internal_error(message, Some(body)));
                }
                Err(UnknownTool) => return Err(offers::not_found(&uri)),
            },
        };
        let mut result = ReadResourceResult::new(vec![contents]).with_ttl_ms(ttl_ms).with_cache_scope(CacheScope::Private);
        result.meta = stamp(&context);
        Ok(result.into())
    }

    async fn complete(&self, request: CompleteRequestParams, context: RequestContext<RoleServer>) -> Result<CompleteResult, ErrorData> {
        let caller = caller(&context)?;
        offers::completable(&caller, &request.r#ref)?;
        let values = self.dispatcher.complete(caller, request.argument.name, request.argument.value).await;
        let mut result = CompleteResult::new(offers::completions(values)?);
        result.meta = stamp(&context);
        Ok(result)
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(Listening::accepted(requested))
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        self.listening.listen(subscription).await
    }

    async fn on_custom_request(&self, request: CustomRequest, _context: RequestContext<RoleServer>) -> Result<CustomResult, ErrorData> {
        // Unknown methods are answered by the pre-filter. rmcp hands a known one whose parameters do not parse over as unknown.
        Err(ErrorData::invalid_params(format!("the parameters of {} are not of its form", clip(&request.method)), None))
    }
}

fn describe(facts: &ToolFacts) -> Tool {
    let object = |schema: &Value| Arc::new(schema.as_object().cloned().unwrap_or_default());
    let annotations = ToolAnnotations::with_title(facts.title)
        .read_only(facts.effect == Effect::Reads)
        // Nothing of ours deletes or overwrites; writes carry a key of their own.
        .destructive(false)
        .idempotent(facts.effect == Effect::Reads)
        .open_world(facts.asks_odoo);
    Tool::new(facts.name, facts.about, object(&facts.input_schema)).with_title(facts.title).with_annotations(annotations).with_raw_output_schema(object(&facts.output_schema))
}

/// The data as `structuredContent`, and the same as compact text: several hosts (voice platforms among them) show the model only the text.
fn success(answer: Answer, link: impl FnOnce(&Value) -> Option<ContentBlock>) -> CallToolResult {
    let data = answer.to_value();
    let mut content = vec![ContentBlock::text(answer.into_string())];
    content.extend(link(&data));
    let mut result = CallToolResult::success(content);
    result.structured_content = Some(data);
    result
}

fn failed(failure: &ToolError, language: Language, request_id: &str) -> CallToolResult {
    let body = self::failure(failure, language, request_id);
    let mut result = CallToolResult::error(vec![ContentBlock::text(body.to_string())]);
    result.structured_content = Some(body);
    result
}

/// What the model reads of a failure.
pub(super) fn failure(failure: &ToolError, language: Language, request_id: &str) -> Value {
    tracing::debug!(error.code = failure.code.as_str(), "a tool answered an error");
    error::public(failure, language, request_id)
}

/// Whether a write of this tool may put its question to the person instead of answering with a code.
fn caller_can_be_asked(caller: &Caller, tool: &str, context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version() == Some(ProtocolVersion::V_2026_07_28) && may(caller, tool) == Some(Effect::Writes) && asking::can_ask(context)
}

fn told_of_changes(capabilities: &mut ServerCapabilities, told: bool) {
    capabilities.tools.get_or_insert_default().list_changed = told.then_some(true);
    capabilities.prompts.get_or_insert_default().list_changed = told.then_some(true);
}

/// Everything is on the first page.
fn only_page(request: Option<PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|page| page.cursor) {
        Some(_) => Err(ErrorData::invalid_params("no such cursor: everything is on the first page", None)),
        None => Ok(()),
    }
}

async fn tell(context: &RequestContext<RoleServer>, token: Option<ProgressToken>, step: Step, language: Language) {
    let Some(token) = token else { return };
    let progress = ProgressNotificationParam::new(token, f64::from(step.done)).with_total(f64::from(step.of)).with_message(text(language, step.doing));
    if let Err(error) = context.peer.notify_progress(progress).await {
        tracing::debug!(%error, "nobody hears of the progress");
    }
}

/// The open record of a request, and its id.
fn of(context: &RequestContext<RoleServer>) -> (OpenRecord, String) {
    let extensions = context.extensions.get::<axum::http::request::Parts>().map(|parts| &parts.extensions);
    let record = extensions.and_then(|extensions| extensions.get::<OpenRecord>()).cloned().unwrap_or_default();
    (record, extensions.map(request_id).unwrap_or_default().to_owned())
}

/// Our own fault is not the client's call.
pub(super) fn broken(record: &OpenRecord) -> ToolError {
    let error = ToolError::internal("a tool panicked");
    record.fill(|record| (record.outcome, record.error_code, record.counted) = (Outcome::Error, Some(error.code.as_str()), false));
    error
}

/// Who asks; on the way the trace it belongs to is noted.
pub(super) fn caller(context: &RequestContext<RoleServer>) -> Result<Caller, ErrorData> {
    let extensions = context.extensions.get::<axum::http::request::Parts>().map(|parts| &parts.extensions);
    if let Some(trace) = extensions.and_then(|extensions| extensions.get::<RequestTrace>()) {
        trace.note(context.meta.get_traceparent());
    }
    extensions.and_then(|extensions| extensions.get::<Caller>()).cloned().ok_or_else(|| ErrorData::internal_error("no caller", None))
}

/// What the agent calls itself: in the modern era it says so in every request; before, only its User-Agent remains.
fn agent(context: &RequestContext<RoleServer>) -> Option<String> {
    if let Some(info) = context.meta.client_info() {
        return Some(format!("{} {}", info.name, info.version));
    }
    let parts = context.extensions.get::<axum::http::request::Parts>()?;
    parts.headers.get(axum::http::header::USER_AGENT)?.to_str().ok().map(str::to_owned)
}

fn instructions(caller: &Caller) -> String {
    fill(caller.language(), "mcp.instrucciones", &[("empresa", &caller.tenant().name)])
}

/// `serverInfo` belongs on every modern result; rmcp sets it on two of them only.
pub(super) fn stamp(context: &RequestContext<RoleServer>) -> Option<MetaObject> {
    (context.protocol_version() == Some(ProtocolVersion::V_2026_07_28)).then(|| STAMP.0.clone())
}

/// The same, as JSON.
pub(super) fn stamp_json() -> &'static str {
    &STAMP.1
}

static STAMP: LazyLock<(MetaObject, String)> = LazyLock::new(|| {
    let mut meta = MetaObject::new();
    meta.0.insert(SERVER_INFO.to_owned(), json!(implementation()));
    let text = json!(meta).to_string();
    (meta, text)
});

/// What a request's `_meta` says.
pub(super) struct SaidOfItself {
    /// The protocol's version.
    pub(super) version: Option<String>,
    /// What the agent calls itself.
    pub(super) agent: Option<String>,
    /// The trace it belongs to.
    pub(super) traceparent: Option<String>,
    /// Whether it has all that the modern era wants.
    pub(super) complete: bool,
}

/// Reads a `_meta`; none when it is none.
pub(super) fn read_meta(raw: &str) -> Option<SaidOfItself> {
    let meta: RequestMetaObject = serde_json::from_str(raw).ok()?;
    Some(SaidOfItself {
        version: meta.protocol_version().map(|version| version.to_string()),
        agent: meta.client_info().map(|info| format!("{} {}", info.name, info.version)),
        traceparent: meta.get_traceparent().map(str::to_owned),
        complete: meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty(),
    })
}

pub(super) fn implementation() -> Implementation {
    Implementation::new("dunet", env!("CARGO_PKG_VERSION")).with_title("Dunet")
}

/// With our mark, where a client may show it. Not on every result: it would be half of a small one.
fn with_icon(server: Implementation) -> Implementation {
    static MARK: LazyLock<String> = LazyLock::new(|| format!("data:image/svg+xml;base64,{}", STANDARD.encode(include_str!("../../assets/favicon.svg"))));
    server.with_icons(vec![Icon::new(MARK.as_str()).with_mime_type("image/svg+xml").with_sizes(vec!["any".to_owned()])])
}

/// A body as rmcp reads it, for the comparison with what the pre-filter saw; none when it refuses it.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn read_by_rmcp(body: &[u8]) -> Option<Value> {
    let message: rmcp::model::ClientJsonRpcMessage = serde_json::from_slice(body).ok()?;
    serde_json::to_value(message).ok()
}

/// A name that somebody sent, short enough to send back.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
