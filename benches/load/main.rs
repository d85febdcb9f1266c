//! The load rig of `scripts/bench`: every number that DESIGN §9 promises and that only the whole can show. `docs/performance.md` says what
//! each row means and how to read it. Not for use by itself: `scripts/bench` builds what it measures and puts it on a core of its own.
//!
//! `client.rs` the load generator · `process.rs` the programs measured · `rig.rs` folders, tenants, sandbox Odoos · `rows/` the rows.

#![expect(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, reason = "a benchmark prints, measures time and spawns its load")]

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

mod client;
mod process;
mod rig;
mod rows;

use rig::Rig;

/// The rows, in the order of DESIGN §9.
const ROWS: [&str; 10] = ["throughput", "latency", "python", "search", "hanging", "memory", "startup", "padron", "voice", "kill"];

/// Measures a built Dunet and prints a table.
#[derive(Parser)]
struct Args {
    /// Short rounds, and fewer.
    #[arg(long)]
    quick: bool,
    /// Only these rows.
    #[arg(long, value_delimiter = ',', value_parser = ROWS, num_args = 1..)]
    only: Vec<String>,
    /// `kill -9` so often; 100 by default, 10 when quick.
    #[arg(long, env = "DUNET_BENCH_KILLS")]
    kills: Option<u32>,
    /// The control of `kill`: the service is asked to end instead.
    #[arg(long)]
    control: bool,
    /// Folder for raw data.
    #[arg(long)]
    out: PathBuf,
    /// Cores of the servers, as taskset takes them.
    #[arg(long, default_value = "0")]
    server_cores: String,
    /// A Python with FastMCP in it.
    #[arg(long, requires = "python_server")]
    python: Option<PathBuf>,
    /// The server it runs.
    #[arg(long)]
    python_server: Option<PathBuf>,
    /// The table that `cargo bench --bench padron` printed.
    #[arg(long)]
    padron_report: Option<PathBuf>,
    /// One more setting of the service, `NAME=VALUE`.
    #[arg(long = "set")]
    settings: Vec<String>,
    /// Said by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Whether a promise is kept.
pub(crate) enum Met {
    Yes,
    No,
    /// No promise, or not measured: why.
    Open(&'static str),
}

impl Met {
    pub(crate) fn when(kept: bool) -> Self {
        if kept { Self::Yes } else { Self::No }
    }
}

/// A line of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) must: String,
    pub(crate) measured: String,
    pub(crate) met: Met,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, must: impl Into<String>, measured: impl Into<String>, met: Met) -> Self {
        Self { what: what.into(), must: must.into(), measured: measured.into(), met }
    }
}

fn main() -> anyhow::Result<()> {
    // Fails only if it was done before.
    drop(rustls::crypto::ring::default_provider().install_default());
    // One thread: what is not the load is kept small.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(Args::parse()))
}

async fn run(args: Args) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.out)?;
    let out = args.out.canonicalize()?;
    let dunet = PathBuf::from(env!("CARGO_BIN_EXE_dunet"));
    let settings =
        args.settings.iter().map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).with_context(|| format!("not NAME=VALUE: {pair}")));
    let mut rig = Rig {
        echo: rig::built(&dunet, "examples/echo"),
        dunet,
        out,
        python: args.python.zip(args.python_server),
        server_cores: args.server_cores,
        quick: args.quick,
        settings: settings.collect::<anyhow::Result<_>>()?,
        padron_report: args.padron_report,
        kills: args.kills.unwrap_or(if args.quick { 10 } else { 100 }),
        control: args.control,
        numbers: Vec::new(),
    };
    rig.listing()?;
    println!("| what | must | measured | met |\n|---|---|---|---|");
    let mut missed = 0;
    for name in ROWS.into_iter().filter(|name| args.only.is_empty() || args.only.iter().any(|only| only == name)) {
        eprintln!("load: {name} (load average {})", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default());
        let measured = rows::measure(&rig, name).await;
        let rows = measured.unwrap_or_else(|error| vec![Row::new(name, "", format!("the measurement broke down: {error:#}"), Met::No)]);
        for Row { what, must, measured, met } in rows {
            let met = match met {
                Met::Yes => "yes",
                Met::No => {
                    missed += 1;
                    "**no**"
                }
                Met::Open(why) => why,
            };
            println!("| {what} | {must} | {measured} | {met} |");
        }
    }
    eprintln!("load: {missed} missed; raw data in {}", rig.out.display());
    Ok(())
}
