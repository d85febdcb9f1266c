//! Every setting, typed, from environment and flags. `.env.example` documents them once; `dunet --help` is the manual.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// The settings that every command shares.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Folder for everything Dunet keeps on disk (SQLite, padrón).
    #[arg(long, env = "DUNET_DATA_DIR", default_value = "./data", value_name = "DIR", global = true)]
    pub data_dir: PathBuf,

    /// Database: `sqlite://FILE` or `postgres://…`. Default: `dunet.db` in the data folder.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL", global = true)]
    pub database_url: Option<SecretString>,

    /// A replica of the database, for the reports of the portal: `postgres://…`. While it is away or too far behind, the database itself is asked.
    #[arg(long, env = "DATABASE_READ_URL", hide_env_values = true, value_name = "URL", global = true, hide_short_help = true)]
    pub database_read_url: Option<SecretString>,

    /// Redis or Valkey, in which several nodes count limits and quotas together: `redis://host:6379` or `rediss://…`. One node needs none.
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL", global = true, hide_short_help = true)]
    pub redis_url: Option<SecretString>,

    /// File with the vault's master key: 32 bytes, base64 (`dunet keygen FILE` makes one).
    #[arg(long, env = "DUNET_VAULT_KEY_FILE", value_name = "FILE", global = true)]
    pub vault_key_file: Option<PathBuf>,

    /// File with the previous master key, while `dunet rotate-keys` has not finished.
    #[arg(long, env = "DUNET_VAULT_PREVIOUS_KEY_FILE", value_name = "FILE", global = true)]
    pub vault_previous_key_file: Option<PathBuf>,

    /// Allow Odoo addresses in private networks and http:// (a trusted network, or tests).
    #[arg(long, env = "DUNET_ALLOW_PRIVATE_ODOO", value_parser = FalseyValueParser::new(), global = true, hide_short_help = true)]
    pub allow_private_odoo: bool,

    /// What to log, as `level` or `target=level,…`. Default: `info` for `serve`, `warn` for other commands.
    #[arg(long, env = "DUNET_LOG", value_name = "FILTER", global = true, hide_short_help = true)]
    pub log: Option<String>,

    /// `text` for people, `json` for machines.
    #[arg(long, env = "DUNET_LOG_FORMAT", default_value = "text", value_parser = ["text", "json"], global = true, hide_short_help = true)]
    pub log_format: String,

    /// Do not run pending migrations at start (`dunet migrate` runs them).
    #[arg(long, env = "DUNET_NO_MIGRATE", value_parser = FalseyValueParser::new(), global = true, hide_short_help = true)]
    pub no_migrate: bool,

    /// SMTP server for letters: `smtps://user:password@host` or `smtp://host:587?tls=required`. Without it pages show links to copy.
    #[arg(long, env = "DUNET_SMTP_URL", hide_env_values = true, value_name = "URL", global = true)]
    pub smtp_url: Option<SecretString>,

    /// In whose name letters are sent, such as `Dunet <no-reply@example.do>`.
    #[arg(long, env = "DUNET_MAIL_FROM", value_name = "ADDRESS", global = true)]
    pub mail_from: Option<String>,

    /// Operators must sign in with a second factor: one without it can only set it up.
    #[arg(long, env = "DUNET_REQUIRE_SECOND_FACTOR", value_parser = FalseyValueParser::new(), global = true)]
    pub require_second_factor: bool,

    /// Limits, each with its unit in its name.
    #[command(flatten)]
    pub limits: Limits,

    /// The padrón.
    #[command(flatten)]
    pub padron: PadronConfig,
}

/// The settings of `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeConfig {
    /// Address to listen on. Behind nginx keep the default.
    #[arg(long, env = "DUNET_HOST", default_value = "127.0.0.1")]
    pub host: IpAddr,

    /// Port to listen on; 0 takes a free one.
    #[arg(long, env = "DUNET_PORT", default_value_t = 8080)]
    pub port: u16,

    /// The address clients use, such as `https://mcp.example.do`. Its host is the only `Host` accepted. Default: the address listened on.
    #[arg(long, env = "DUNET_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<Url>,

    /// Browser origins allowed besides the public URL's own (comma separated), such as `http://localhost:6274`.
    #[arg(long, env = "DUNET_ALLOWED_ORIGINS", value_delimiter = ',', value_name = "ORIGIN")]
    pub allowed_origins: Vec<String>,

    /// Proxies whose `X-Forwarded-For` is believed (comma separated networks).
    #[arg(long, env = "DUNET_TRUSTED_PROXIES", value_delimiter = ',', default_value = "127.0.0.1/32,::1/128", value_name = "CIDR")]
    pub trusted_proxies: Vec<IpNet>,

    /// Clients that may read `/metrics` (comma separated networks); for all others there is no such page.
    #[arg(long, env = "DUNET_METRICS_ALLOWED", value_delimiter = ',', default_value = "127.0.0.1/32,::1/128", value_name = "CIDR")]
    pub metrics_allowed: Vec<IpNet>,
}

/// Every limit. The defaults suit a box of 2 GB.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Largest request body, bytes.
    #[arg(long, env = "DUNET_BODY_BYTES_MAX", default_value_t = 1_048_576, global = true, hide_short_help = true)]
    pub body_bytes_max: usize,

    /// Connections of clients open at once; more wait to be accepted.
    #[arg(long, env = "DUNET_HTTP_CONNECTIONS_MAX", default_value_t = 2_000, global = true, hide_short_help = true)]
    pub http_connections_max: usize,

    /// Longest time for the head of a request, and for a connection without one, milliseconds; longer than nginx keeps its own idle ones (60 s).
    #[arg(long, env = "DUNET_HTTP_HEAD_TIMEOUT_MS", default_value_t = 75_000, global = true, hide_short_help = true)]
    pub http_head_timeout_ms: u64,

    /// Longest time for one HTTP request, milliseconds.
    #[arg(long, env = "DUNET_REQUEST_TIMEOUT_MS", default_value_t = 60_000, global = true, hide_short_help = true)]
    pub request_timeout_ms: u64,

    /// Longest time for one tool call, milliseconds; below the request's, so that the model gets an answer.
    #[arg(long, env = "DUNET_CALL_DEADLINE_MS", default_value_t = 25_000, global = true, hide_short_help = true)]
    pub call_deadline_ms: u64,

    /// Calls of one tenant per minute, all tools together.
    #[arg(long, env = "DUNET_TENANT_CALLS_PER_MINUTE", default_value_t = 600, global = true, hide_short_help = true)]
    pub tenant_calls_per_minute: u32,

    /// Calls of one tenant at once in a burst.
    #[arg(long, env = "DUNET_TENANT_BURST_CALLS", default_value_t = 100, global = true, hide_short_help = true)]
    pub tenant_burst_calls: u32,

    /// Writes of one tenant an hour that are executed, all tools together; previews are not counted.
    #[arg(long, env = "DUNET_TENANT_WRITES_PER_HOUR", default_value_t = 200, global = true, hide_short_help = true)]
    pub tenant_writes_per_hour: u32,

    /// The same call (token, tool and arguments) within a minute, before the agent is told that it goes round in circles; 0 is no limit.
    #[arg(long, env = "DUNET_REPEATED_CALLS_PER_MINUTE", default_value_t = 30, global = true, hide_short_help = true)]
    pub repeated_calls_per_minute: u32,

    /// Failed authentications of one address per minute before it is made to wait.
    #[arg(long, env = "DUNET_FAILED_AUTH_PER_MINUTE", default_value_t = 30, global = true, hide_short_help = true)]
    pub failed_auth_per_minute: u32,

    /// Longest time a verified token is believed without asking the database again, seconds.
    #[arg(long, env = "DUNET_CALLER_CACHE_S", default_value_t = 60, global = true, hide_short_help = true)]
    pub caller_cache_s: u64,

    /// Longest time a verified token is believed while the database is away, seconds: calls go on without it.
    #[arg(long, env = "DUNET_CALLER_STALE_S", default_value_t = 7_200, global = true, hide_short_help = true)]
    pub caller_stale_s: u64,

    /// Verified tokens kept in memory.
    #[arg(long, env = "DUNET_CALLER_CACHE_TOKENS_MAX", default_value_t = 20_000, global = true, hide_short_help = true)]
    pub caller_cache_tokens_max: u64,

    /// Warm Odoo clients kept in memory, one per tenant.
    #[arg(long, env = "DUNET_CONNECTIONS_MAX", default_value_t = 4_000, global = true, hide_short_help = true)]
    pub connections_max: u64,

    /// A warm Odoo client unused for so long is dropped, seconds.
    #[arg(long, env = "DUNET_CONNECTION_IDLE_S", default_value_t = 900, global = true, hide_short_help = true)]
    pub connection_idle_s: u64,

    /// Longest time to connect to an Odoo, milliseconds.
    #[arg(long, env = "DUNET_ODOO_CONNECT_TIMEOUT_MS", default_value_t = 5_000, global = true, hide_short_help = true)]
    pub odoo_connect_timeout_ms: u64,

    /// Longest time for one request to an Odoo, milliseconds. Odoo retries write conflicts itself for some seconds.
    #[arg(long, env = "DUNET_ODOO_REQUEST_TIMEOUT_MS", default_value_t = 20_000, global = true, hide_short_help = true)]
    pub odoo_request_timeout_ms: u64,

    /// Largest answer accepted from an Odoo, bytes.
    #[arg(long, env = "DUNET_ODOO_ANSWER_BYTES_MAX", default_value_t = 8_388_608, global = true, hide_short_help = true)]
    pub odoo_answer_bytes_max: usize,

    /// Requests of one tenant at its Odoo at the same time; the others wait, those of voice tokens in front.
    #[arg(long, env = "DUNET_ODOO_PLACES_PER_TENANT", default_value_t = 6, global = true, hide_short_help = true)]
    pub odoo_places_per_tenant: usize,

    /// Requests of one tenant that may wait for a place.
    #[arg(long, env = "DUNET_ODOO_WAITING_PER_TENANT_MAX", default_value_t = 64, global = true, hide_short_help = true)]
    pub odoo_waiting_per_tenant_max: usize,

    /// Failures in a row after which a tenant's Odoo is left alone for a moment; 0 is never.
    #[arg(long, env = "DUNET_ODOO_FAILURES_MAX", default_value_t = 5, global = true, hide_short_help = true)]
    pub odoo_failures_max: u32,

    /// How long at first, seconds; twice as long each time it still fails.
    #[arg(long, env = "DUNET_ODOO_PAUSE_S", default_value_t = 5, global = true, hide_short_help = true)]
    pub odoo_pause_s: u64,

    /// How long at most, seconds.
    #[arg(long, env = "DUNET_ODOO_PAUSE_S_MAX", default_value_t = 60, global = true, hide_short_help = true)]
    pub odoo_pause_s_max: u64,

    /// Usage records kept in memory while neither journal nor database can be written.
    #[arg(long, env = "DUNET_USAGE_MEMORY_RECORDS_MAX", default_value_t = 50_000, global = true, hide_short_help = true)]
    pub usage_memory_records_max: usize,

    /// Usage records written in one statement; a power of two does it in one.
    #[arg(long, env = "DUNET_USAGE_BATCH_RECORDS_MAX", default_value_t = 128, global = true, hide_short_help = true)]
    pub usage_batch_records_max: usize,

    /// Longest time a usage record waits for its batch, milliseconds.
    #[arg(long, env = "DUNET_USAGE_FLUSH_MS", default_value_t = 500, global = true, hide_short_help = true)]
    pub usage_flush_ms: u64,

    /// How long single calls are kept at least, days, no less than 40; on PostgreSQL they go by whole months. Their sums are kept for ever. The
    /// operator's setting goes before.
    #[arg(long, env = "DUNET_USAGE_RETENTION_DAYS", default_value_t = 400, global = true, hide_short_help = true)]
    pub usage_retention_days: u32,

    /// How often changes made by other processes are looked for, milliseconds.
    #[arg(long, env = "DUNET_WATCH_MS", default_value_t = 2_000, global = true, hide_short_help = true)]
    pub watch_ms: u64,

    /// Longest time for an answer of Redis, milliseconds; then a call is decided without it.
    #[arg(long, env = "DUNET_REDIS_TIMEOUT_MS", default_value_t = 250, global = true, hide_short_help = true)]
    pub redis_timeout_ms: u64,

    /// A replica further behind than this is not asked, seconds.
    #[arg(long, env = "DUNET_REPLICA_BEHIND_S_MAX", default_value_t = 30, global = true, hide_short_help = true)]
    pub replica_behind_s_max: u64,

    /// Programs of one tenant that may listen for changes; each is an open connection.
    #[arg(long, env = "DUNET_LISTENERS_PER_TENANT_MAX", default_value_t = 8, global = true, hide_short_help = true)]
    pub listeners_per_tenant_max: usize,

    /// Database connections.
    #[arg(long, env = "DUNET_DATABASE_CONNECTIONS_MAX", default_value_t = 10, global = true, hide_short_help = true)]
    pub database_connections_max: u32,

    /// Longest time open calls are given to end when the service stops, milliseconds.
    #[arg(long, env = "DUNET_DRAIN_MS", default_value_t = 20_000, global = true, hide_short_help = true)]
    pub drain_ms: u64,

    /// A signed-in browser unused for so long must sign in again, seconds.
    #[arg(long, env = "DUNET_SESSION_IDLE_S", default_value_t = 43_200, global = true, hide_short_help = true)]
    pub session_idle_s: u64,

    /// Longest time a browser stays signed in, seconds.
    #[arg(long, env = "DUNET_SESSION_MAX_S", default_value_t = 604_800, global = true, hide_short_help = true)]
    pub session_max_s: u64,

    /// Refused sign-ins of one account in a row before it has to wait, a minute at first and twice as long each time.
    #[arg(long, env = "DUNET_SIGN_IN_FAILURES_MAX", default_value_t = 10, global = true, hide_short_help = true)]
    pub sign_in_failures_max: u32,

    /// Sign-ins, resets and sign-ups of one address per minute.
    #[arg(long, env = "DUNET_SIGN_INS_PER_MINUTE", default_value_t = 20, global = true, hide_short_help = true)]
    pub sign_ins_per_minute: u32,

    /// Programs that one address may register per minute. Hosted agents of many people share a few addresses.
    #[arg(long, env = "DUNET_OAUTH_REGISTRATIONS_PER_MINUTE", default_value_t = 30, global = true, hide_short_help = true)]
    pub oauth_registrations_per_minute: u32,

    /// Requests to connect a program that one address may begin per minute.
    #[arg(long, env = "DUNET_OAUTH_AUTHORIZATIONS_PER_MINUTE", default_value_t = 30, global = true, hide_short_help = true)]
    pub oauth_authorizations_per_minute: u32,

    /// Requests for tokens, revocations and inspections of one address per minute.
    #[arg(long, env = "DUNET_OAUTH_TOKENS_PER_MINUTE", default_value_t = 600, global = true, hide_short_help = true)]
    pub oauth_tokens_per_minute: u32,

    /// Memory of one password's hash (argon2id), KiB. The default is OWASP's.
    #[arg(long, env = "DUNET_PASSWORD_MEMORY_KIB", default_value_t = 19_456, value_parser = clap::value_parser!(u32).range(64..=1_048_576), global = true, hide_short_help = true)]
    pub password_memory_kib: u32,

    /// Passes over it.
    #[arg(long, env = "DUNET_PASSWORD_PASSES", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16), global = true, hide_short_help = true)]
    pub password_passes: u32,

    /// Passwords hashed at the same time; more wait.
    #[arg(long, env = "DUNET_PASSWORDS_AT_ONCE", default_value_t = 2, global = true, hide_short_help = true)]
    pub passwords_at_once: usize,

    /// Largest form of the portal, bytes.
    #[arg(long, env = "DUNET_FORM_BYTES_MAX", default_value_t = 262_144, global = true, hide_short_help = true)]
    pub form_bytes_max: usize,

    /// Longest time for a form with files, milliseconds.
    #[arg(long, env = "DUNET_UPLOAD_TIMEOUT_MS", default_value_t = 600_000, global = true, hide_short_help = true)]
    pub upload_timeout_ms: u64,
}

/// The settings of the taxpayer listing.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Padrón")]
pub struct PadronConfig {
    /// Fetch the official listing every day.
    #[arg(long, env = "DUNET_PADRON_FETCH", value_parser = FalseyValueParser::new(), global = true, hide_short_help = true)]
    pub padron_fetch: bool,

    /// Where the official zips are.
    #[arg(long, env = "DUNET_PADRON_URL", default_value = "https://dgii.gov.do/app/WebApps/Consultas/RNC/", global = true, hide_short_help = true)]
    pub padron_url: Url,

    /// What the fetch calls itself; an address to write to is good manners.
    #[arg(long, env = "DUNET_PADRON_USER_AGENT", default_value = concat!("Dunet/", env!("CARGO_PKG_VERSION")), global = true, hide_short_help = true)]
    pub padron_user_agent: String,

    /// Fewest rows a listing must have to be activated.
    #[arg(long, env = "DUNET_PADRON_ROWS_MIN", default_value_t = 500_000, global = true, hide_short_help = true)]
    pub padron_rows_min: u64,

    /// Largest upload of the official zips in the portal, both together, bytes.
    #[arg(long, env = "DUNET_PADRON_UPLOAD_BYTES_MAX", default_value_t = 150_000_000, global = true, hide_short_help = true)]
    pub padron_upload_bytes_max: u64,
}

impl Config {
    /// The database to use.
    #[must_use]
    pub fn database_url(&self) -> SecretString {
        self.database_url.clone().unwrap_or_else(|| {
            let file = self.data_dir.join("dunet.db");
            SecretString::from(format!("sqlite://{}?mode=rwc", file.display()))
        })
    }

    /// Redis, if it is named: a setting that is there and empty names none.
    #[must_use]
    pub fn redis_url(&self) -> Option<&SecretString> {
        self.redis_url.as_ref().filter(|url| !url.expose_secret().is_empty())
    }

    /// The replica, if one is named.
    #[must_use]
    pub fn database_read_url(&self) -> Option<&SecretString> {
        self.database_read_url.as_ref().filter(|url| !url.expose_secret().is_empty())
    }

    /// Where usage is kept until the database has it.
    #[must_use]
    pub fn journal_dir(&self) -> PathBuf {
        self.data_dir.join("journal")
    }

    /// Where uploaded files wait for their import.
    #[must_use]
    pub fn uploads_dir(&self) -> PathBuf {
        self.data_dir.join("uploads")
    }

    /// Where the padrón's index lives.
    #[must_use]
    pub fn padron_dir(&self) -> PathBuf {
        self.data_dir.join("padron")
    }
}
