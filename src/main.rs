//! `dunet`: parse the command, start telemetry, run it.

use clap::Parser;
use dunet::commands::{self, Cli, Command};
use dunet::telemetry;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    // Fails only if it was done before.
    drop(rustls::crypto::ring::default_provider().install_default());
    let cli = Cli::parse();
    let run = async {
        // A service tells what it does; at the shell the answer is what a person wants to see.
        let default = if matches!(cli.command, Command::Serve(_)) { "info" } else { "warn" };
        telemetry::start(cli.config.log.as_deref().unwrap_or(default), &cli.config.log_format)?;
        commands::run(cli).await
    };
    match run.await {
        Ok(code) => code,
        Err(error) => {
            commands::complain(&error);
            std::process::ExitCode::FAILURE
        }
    }
}
