//! `cargo run --example conformance --features conformance -- demo --json`: the program with the fixture of the official conformance suite at
//! `/mcp/conformance`, beside the product's own door. `tests/conformance/run` runs it.

use clap::Parser;
use dunet::commands::{self, Cli};
use dunet::telemetry;

#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    // Fails only if it was done before.
    drop(rustls::crypto::ring::default_provider().install_default());
    let cli = Cli::parse();
    telemetry::start(cli.config.log.as_deref().unwrap_or("warn"), &cli.config.log_format)?;
    commands::run(cli).await
}
