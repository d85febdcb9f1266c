//! Logs: one line per event on standard error, for people or as JSON.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The target of the request's span. Nothing logs under it: the span is made whatever the filter says, so that a line at any level and of
/// any module carries the request's id.
pub const REQUEST_TARGET: &str = "dunet::request";

mod one_line;

/// Starts logging. A second start (tests) is ignored.
///
/// # Errors
/// The filter does not parse.
pub fn start(filter: &str, format: &str) -> anyhow::Result<()> {
    let asked = EnvFilter::try_new(format!("{filter},{REQUEST_TARGET}=error"))?;
    let registry = tracing_subscriber::registry().with(cap()).with(asked);
    let lines = tracing_subscriber::fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(one_line::stderr());
    let started = if format == "json" {
        // The request's span is the first of the list; naming the innermost one too would say everything twice.
        registry.with(lines.json().flatten_event(true).with_current_span(false)).try_init()
    } else {
        registry.with(lines.with_target(false)).try_init()
    };
    // Only a second start fails.
    if started.is_ok() {
        std::panic::set_hook(Box::new(panicked));
    }
    Ok(())
}

/// How far others may be asked for details. An HTTP library that traces prints headers and bodies (tokens, Odoo's keys), a database
/// library prints what is written: whatever the filter asks for, only our own code is heard below `warn`. What is not on this list is
/// capped, so that a library that comes along tomorrow is too.
fn cap() -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target(env!("CARGO_PKG_NAME"), LevelFilter::TRACE)
        // Says when a request ended and how long it took; no headers.
        .with_target("tower_http::trace", LevelFilter::DEBUG)
        .with_target("sea_orm_migration", LevelFilter::INFO)
        // What a tenant's certificate lacks is logged by us, once, and is no error of ours.
        .with_target("rustls_platform_verifier", LevelFilter::OFF)
        // It warns about every request with what it was about.
        .with_target("rmcp", LevelFilter::ERROR)
}

/// A panic is a line of the log like any other, inside the request it broke. Only words that stand in the code are shown: a message that
/// was put together at run time may quote the very text that caused it.
fn panicked(info: &PanicHookInfo<'_>) {
    let what = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(a message with data: not logged)");
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(panic = what, at, "the program panicked");
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn only_our_own_code_is_heard_in_detail() {
        let cap = cap();
        for target in ["dunet", "dunet::mcp::auth", "dunet::odoo::client"] {
            assert!(cap.would_enable(target, &Level::TRACE), "{target}");
        }
        for target in ["hyper::proto::h1::io", "hyper_util::client", "h2::codec", "reqwest::connect", "rustls::client", "sqlx::query", "sea_orm::database", "axum::rejection", "x"]
        {
            assert!(cap.would_enable(target, &Level::WARN) && !cap.would_enable(target, &Level::INFO), "{target}");
        }
        assert!(!cap.would_enable("rmcp::service", &Level::WARN));
    }
}
