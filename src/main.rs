//! `dunet`: parse the command, start telemetry, run it.

use clap::Parser;
use dunet::commands::{self, Cli, Command};
use dunet::telemetry;

// A call allocates some hundred times: glibc's allocator took a fifth of its time, and kept what was freed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Fails only if it was done before.
    drop(rustls::crypto::ring::default_provider().install_default());
    let cli = Cli::parse();
    // On one core a scheduler for many threads only costs.
    let one_core = std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
    let mut runtime = if one_core { tokio::runtime::Builder::new_current_thread() } else { tokio::runtime::Builder::new_multi_thread() };
    match runtime.enable_all().build() {
        Ok(runtime) => runtime.block_on(main_of(cli)),
        Err(error) => {
            commands::complain(&anyhow::Error::new(error).context("starting the runtime"));
            std::process::ExitCode::FAILURE
        }
    }
}

async fn main_of(cli: Cli) -> std::process::ExitCode {
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
