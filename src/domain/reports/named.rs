//! Clients by name, for filters.

use sea_orm::DbErr;
use serde::Serialize;

use super::Reports;
use crate::ids::TenantId;

/// A client's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientName {
    /// Which.
    pub id: TenantId,
    /// Its name.
    pub name: String,
}

impl Reports {
    /// The name of a client; none when there is no such client. One query.
    ///
    /// # Errors
    /// The database.
    pub async fn client_name(&self, tenant: TenantId) -> Result<Option<String>, DbErr> {
        Ok(self.names(vec![tenant.uuid()]).await?.pop().map(|(_, name)| name))
    }

    /// For operators: so many clients at most whose name has that in it (marks and capitals do not matter) or whose RNC begins so, by name. Two
    /// queries.
    ///
    /// # Errors
    /// The database.
    pub async fn clients_named(&self, search: &str, clients_max: usize) -> Result<Vec<ClientName>, DbErr> {
        let mut found = self.found(search).await?;
        found.truncate(clients_max);
        Ok(self.names(found).await?.into_iter().map(|(id, name)| ClientName { id: id.into(), name }).collect())
    }
}
