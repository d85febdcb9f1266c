//! What a service asks of its database, heard by the connection's own callback: nothing of the service knows of it.

use std::sync::{Arc, Mutex, PoisonError};

/// The statements since somebody began to listen; nothing is kept before. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Queries {
    heard: Arc<Mutex<Option<Vec<String>>>>,
}

impl Queries {
    /// For `DatabaseConnection::set_metric_callback`.
    pub(crate) fn listener(&self) -> impl Fn(&sea_orm::metric::Info<'_>) + Send + Sync + 'static {
        let heard = Arc::clone(&self.heard);
        move |info| {
            if let Some(heard) = heard.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                heard.push(info.statement.sql.clone());
            }
        }
    }

    /// What is asked while that runs, by whomever.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> (T, Vec<String>) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
        let done = work.await;
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).take();
        (done, heard.unwrap_or_default())
    }
}
