//! `cargo build --release --example echo`, then `echo --port N`: a bare rmcp server, the yardstick of `scripts/bench`.
//!
//! One tool, `echo(message)`, at `http://127.0.0.1:N/mcp`. It is what rmcp costs and nothing else: no authentication, no limits, no
//! metering, no logs, no middleware, no argument check beyond taking the text out. The transport is set up as the product sets it up
//! (no sessions, plain JSON answers, `TCP_NODELAY`), and the handler is written by hand, as the product's is: the macros' router would
//! parse the arguments once more. The runtime is the faster one: on one core everything on one thread (measured: a sixth less processor time
//! for a call), on more cores tokio's usual workers. `--multi-thread` takes the workers on one core too, as the product does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::serve::ListenerExt;
use clap::Parser;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A bare rmcp server with one tool, to measure against.
#[derive(Parser)]
struct Args {
    /// Port to listen on, on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// Take tokio's workers even on one core.
    #[arg(long)]
    multi_thread: bool,
}

#[derive(Clone)]
struct Echo;

static TOOL: LazyLock<Tool> = LazyLock::new(|| {
    let schema = json!({ "type": "object", "properties": { "message": { "type": "string" } }, "required": ["message"] });
    let schema: JsonObject = schema.as_object().cloned().unwrap_or_default();
    Tool::new("echo", "Says the message back.", Arc::new(schema))
});

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(&self, _page: Option<PaginatedRequestParams>, _context: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![TOOL.clone()]))
    }

    async fn call_tool(&self, request: CallToolRequestParams, _context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        if request.name != "echo" {
            return Err(ErrorData::invalid_params("unknown tool", None));
        }
        let Some(Value::String(message)) = request.arguments.and_then(|mut arguments| arguments.remove("message")) else {
            return Err(ErrorData::invalid_params("`message` must be a text", None));
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(message)]).into())
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let one_core = std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
    let mut runtime = if one_core && !args.multi_thread { tokio::runtime::Builder::new_current_thread() } else { tokio::runtime::Builder::new_multi_thread() };
    runtime.enable_all().build()?.block_on(serve(args.port))
}

async fn serve(port: u16) -> anyhow::Result<()> {
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let service = StreamableHttpService::new(|| Ok(Echo), Arc::new(NeverSessionManager::default()), config);
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    // A socket that refuses the option is slower, not wrong.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, Router::new().route_service("/mcp", service)).await?;
    Ok(())
}
