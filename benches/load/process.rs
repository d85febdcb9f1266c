//! The programs that are measured: started on their core, looked at from outside, ended.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::client::{Connection, Script};

/// A server that does not answer after so long does not start.
const START_MAX: Duration = Duration::from_secs(60);
/// Longest wait for a server that was asked to end.
const END_MAX: Duration = Duration::from_secs(60);

/// A running program, killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// When it was started.
    pub(crate) began: Instant,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts a program on these cores with nothing of our environment but what is given; its output goes to `log`.
    pub(crate) fn start(program: &Path, args: &[&str], env: &[(String, String)], cores: &str, log: &Path, port: u16) -> anyhow::Result<Self> {
        let output = File::options().create(true).append(true).open(log).with_context(|| format!("opening {}", log.display()))?;
        let began = Instant::now();
        // taskset becomes the program: the process id stays.
        let child = Command::new("taskset")
            .args(["-c", cores])
            .arg(program)
            .args(args)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { child, began, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    /// Waits until it answers a request well.
    pub(crate) async fn until_it_answers(&mut self, script: &Script) -> anyhow::Result<()> {
        let mut last = String::from("nothing");
        while self.began.elapsed() < START_MAX {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("a server ended at once: {status}");
            }
            match Connection::open(self.address).await {
                Ok(mut connection) => match connection.try_step(script).await {
                    Ok(()) => return Ok(()),
                    Err(said) => last = said,
                },
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("a server did not start; last it said: {last}")
    }

    /// Waits until `GET path` is answered 200, asking every millisecond, and says how long after the start that was. None when the path does
    /// not exist.
    pub(crate) async fn until_ok(&mut self, path: &str) -> anyhow::Result<Option<Duration>> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        while self.began.elapsed() < START_MAX {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("the server ended at once: {status}");
            }
            if let Ok(mut connection) = Connection::open(self.address).await
                && let Ok(answer) = connection.call(request.as_bytes()).await
            {
                match answer.status {
                    200 => return Ok(Some(self.began.elapsed())),
                    404 => return Ok(None),
                    _ => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        anyhow::bail!("{path} was not answered in time")
    }

    /// Time on a core so far, all threads.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(&self.child.id().to_string())
    }

    /// Resident memory, KiB: all of it, and the part that is not mapped from files.
    pub(crate) fn resident_kib(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok()).unwrap_or_default();
        (of("VmRSS:"), of("RssAnon:"))
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let asked = Instant::now();
        while asked.elapsed() < END_MAX {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("a server did not end")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Time that this process has been on a core.
pub(crate) fn own_cpu() -> Duration {
    cpu("self")
}

/// From the scheduler's own count, in nanoseconds; the ticks of `stat` are too coarse for short rounds.
fn cpu(process: &str) -> Duration {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Duration::ZERO };
    let nanos = threads.flatten().filter_map(|thread| {
        let line = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// A port that was free a moment ago, below the range from which the system takes the ports of outgoing connections: a server that is
/// started again must find it free again.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000)?;
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    for _ in 0..1_000 {
        let port = 20_000 + (first - 20_000 + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) % 12_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port")
}
