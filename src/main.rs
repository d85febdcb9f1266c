//! `dunet`: parse the command, start telemetry, run it.

use clap::Parser;
use dunet::commands::{self, Cli};
use dunet::telemetry;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    // Fails only if it was done before.
    drop(rustls::crypto::ring::default_provider().install_default());
    let cli = Cli::parse();
    let run = async {
        telemetry::start(&cli.config.log, &cli.config.log_format)?;
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
