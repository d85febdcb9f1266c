//! A Redis of a test's own, on a private port, which can be ended and come back without its memory.

use std::process::{Child, Command, Stdio};

use super::{left_out, until};

/// Debian's; the gate installs it.
const PROGRAM: &str = "redis-server";

/// A running one; killed when dropped.
pub(crate) struct Redis {
    port: u16,
    child: Option<Child>,
}

impl Redis {
    /// Starts one; none where it is not installed, which is said.
    pub(crate) async fn start() -> Option<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let mut redis = Self { port, child: None };
        if redis.run().is_err() {
            left_out("Redis (redis-server is not installed; scripts/test installs it)");
            return None;
        }
        redis.until_up().await;
        Some(redis)
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as the kernel would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Starts it again on its port. It remembers nothing.
    pub(crate) async fn again(&mut self) {
        self.run().expect("it starts again");
        self.until_up().await;
    }

    fn run(&mut self) -> std::io::Result<()> {
        let port = self.port.to_string();
        let options = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"];
        self.child = Some(Command::new(PROGRAM).args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        Ok(())
    }

    async fn until_up(&self) {
        until("Redis answers", || async { tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() }).await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
