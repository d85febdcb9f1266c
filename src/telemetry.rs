//! Logs: one line per event on standard error, for people or as JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Starts logging. A second start (tests) is ignored.
///
/// # Errors
/// The filter does not parse.
pub fn start(filter: &str, format: &str) -> anyhow::Result<()> {
    // rmcp logs every request of its own, and its debug level prints arguments: only its errors, whatever is asked for.
    // What a tenant's certificate lacks is logged by us, once, and is no error of ours.
    let filter = EnvFilter::try_new(format!("{filter},rmcp=error,sqlx=warn,hyper=warn,h2=warn,rustls_platform_verifier=off"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_span_events(FmtSpan::NONE).with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    let started = if format == "json" { builder.json().flatten_event(true).try_init() } else { builder.with_target(false).try_init() };
    // Only a second start fails.
    drop(started);
    Ok(())
}
