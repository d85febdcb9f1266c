//! The padrón on several nodes: who imports a listing puts its index file into the database, piece by piece, and the others take it from there. What is
//! active is what was activated last, on whichever node. On SQLite there is one node, and nothing to do.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use chrono::{DateTime, Utc};
use ring::digest::{Context as Digest, SHA256};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};

use super::audit::hex;
use crate::clock::Clock;
use crate::db;
use crate::db::entities::{padron_listings, padron_pieces};
use crate::dgii::{ImportInfo, Padron};

/// Bytes of a piece.
const PIECE_BYTES: usize = 1_048_576;
/// Listings that are kept: the active one and the one before.
const KEPT: u64 = 2;

/// Hands listings on, and takes them over. Cheap to clone.
#[derive(Clone)]
pub struct PadronShare {
    db: DatabaseConnection,
    clock: Clock,
    padron: Padron,
    /// The activation that this node has, or had, in its folder.
    seen: Arc<Mutex<Option<Activation>>>,
}

/// A listing's name, and when it became the active one.
type Activation = (String, DateTime<Utc>);

/// What was done.
#[derive(Debug, PartialEq, Eq)]
pub enum Shared {
    /// Nothing: all have the same.
    Same,
    /// The listing of this folder was handed to the others.
    Given(String),
    /// The listing of another node was made active here.
    Taken(String),
}

impl PadronShare {
    /// Between that folder and that database.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock, padron: Padron) -> Self {
        Self { db, clock, padron, seen: Arc::default() }
    }

    /// Looks once, and does what is to be done: one question when nothing is.
    ///
    /// # Errors
    /// The database, the disk, or a file that is not what was put in. What is active stays.
    pub async fn look(&self) -> anyhow::Result<Shared> {
        if self.db.get_database_backend() != DbBackend::Postgres {
            return Ok(Shared::Same);
        }
        let newest = newest(&self.db).await?;
        let own = self.padron.active_file();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (done, now) = match (own, newest) {
            (None, None) => return Ok(Shared::Same),
            (Some((name, ..)), Some(newest)) if name == newest.0 => (Shared::Same, newest),
            // Nobody else activated anything since: this folder did. At the start the later of the two counts.
            (Some((name, path, info)), newest) if newest.as_ref().is_none_or(|newest| seen.as_ref().map_or(info.imported_at > newest.1, |seen| seen == newest)) => {
                let at = self.give(&name, &path, &info).await?;
                (Shared::Given(name.clone()), (name, at))
            }
            (_, Some(newest)) => {
                self.take(&newest.0).await?;
                (Shared::Taken(newest.0.clone()), newest)
            }
            (Some(_), None) => return Ok(Shared::Same),
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(done)
    }

    async fn give(&self, name: &str, path: &Path, info: &ImportInfo) -> anyhow::Result<DateTime<Utc>> {
        let transaction = db::begin_write(&self.db).await?;
        transaction.execute_unprepared("select pg_advisory_xact_lock(hashtext('dunet padron'))").await?;
        // Later than all others, whatever the clocks of the nodes say.
        let at = self.clock.now().max(newest(&transaction).await?.map_or(DateTime::UNIX_EPOCH, |newest| newest.1 + chrono::TimeDelta::milliseconds(1)));
        match padron_listings::Entity::find_by_id(name.to_owned()).one(&transaction).await? {
            Some(row) => {
                let mut row = row.into_active_model();
                row.activated_at = sea_orm::Set(at);
                row.update(&transaction).await?;
            }
            None => {
                let (bytes, pieces, sha256) = put_in(&transaction, name, path).await?;
                let row = padron_listings::Model { name: name.to_owned(), info: Some(serde_json::to_value(info)?), sha256, bytes, pieces, activated_at: at };
                row.into_active_model().insert(&transaction).await?;
            }
        }
        prune(&transaction).await?;
        transaction.commit().await?;
        Ok(at)
    }

    async fn take(&self, name: &str) -> anyhow::Result<()> {
        let row = padron_listings::Entity::find_by_id(name.to_owned()).one(&self.db).await?.context("it is gone again")?;
        let info: ImportInfo = serde_json::from_value(row.info.clone().unwrap_or_default()).context("what is known of it cannot be read")?;
        let built = if self.padron.previous_file().as_deref() == Some(name) { None } else { Some(self.padron.incoming(name)) };
        if let Some(built) = &built
            && let Err(error) = self.put_together(&row, built).await
        {
            drop(tokio::fs::remove_file(built).await);
            return Err(error);
        }
        let (padron, name) = (self.padron.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || padron.adopt(&name, info, built.as_deref())).await??;
        Ok(())
    }

    async fn put_together(&self, row: &padron_listings::Model, built: &Path) -> anyhow::Result<()> {
        use tokio::io::AsyncWriteExt;
        let mut file = tokio::fs::File::create(built).await.with_context(|| built.display().to_string())?;
        let mut digest = Digest::new(&SHA256);
        for piece in 0..row.pieces {
            let content: Vec<u8> = padron_pieces::Entity::find_by_id((row.name.clone(), piece))
                .select_only()
                .column(padron_pieces::Column::Content)
                .into_tuple()
                .one(&self.db)
                .await?
                .context("a piece is missing: another listing took its place")?;
            digest.update(&content);
            file.write_all(&content).await?;
        }
        file.flush().await?;
        anyhow::ensure!(hex(digest.finish().as_ref()) == row.sha256, "it is not the file that was put in");
        Ok(())
    }
}

async fn newest(db: &impl ConnectionTrait) -> Result<Option<Activation>, DbErr> {
    padron_listings::Entity::find()
        .select_only()
        .columns([padron_listings::Column::Name, padron_listings::Column::ActivatedAt])
        .order_by_desc(padron_listings::Column::ActivatedAt)
        .into_tuple()
        .one(db)
        .await
}

/// Bytes, pieces, digest.
async fn put_in(transaction: &DatabaseTransaction, name: &str, path: &Path) -> anyhow::Result<(i64, i32, String)> {
    padron_pieces::Entity::delete_many().filter(padron_pieces::Column::Name.eq(name)).exec(transaction).await?;
    let mut file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let (mut digest, mut bytes, mut piece) = (Digest::new(&SHA256), 0_i64, 0_i32);
    loop {
        // Reading a megabyte of a file that was just written or is being asked takes no time; the statement is what takes some.
        let mut content = Vec::with_capacity(PIECE_BYTES);
        std::io::Read::by_ref(&mut file).take(PIECE_BYTES as u64).read_to_end(&mut content)?;
        if content.is_empty() {
            return Ok((bytes, piece, hex(digest.finish().as_ref())));
        }
        digest.update(&content);
        bytes += i64::try_from(content.len())?;
        padron_pieces::Model { name: name.to_owned(), piece, content }.into_active_model().insert(transaction).await?;
        piece += 1;
    }
}

async fn prune(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    let old: Vec<String> = padron_listings::Entity::find()
        .select_only()
        .column(padron_listings::Column::Name)
        .order_by_desc(padron_listings::Column::ActivatedAt)
        .offset(KEPT)
        .into_tuple()
        .all(transaction)
        .await?;
    if old.is_empty() {
        return Ok(());
    }
    padron_pieces::Entity::delete_many().filter(padron_pieces::Column::Name.is_in(old.clone())).exec(transaction).await?;
    padron_listings::Entity::delete_many().filter(padron_listings::Column::Name.is_in(old)).exec(transaction).await?;
    Ok(())
}
