//! Table `instance_map`: the numbers that stand for writers in tokens.
//! Answers to `MultiWriterIdGenerator`'s users in `synapse/storage/databases/main/stream.py`
//! (`get_id_for_instance`, `get_name_from_instance_id`).

use std::sync::{Arc, PoisonError};

use myelin_model::Instances;

use crate::{Storage, StorageError};

impl Storage {
    /// The rows known now; a row never changes, so an old copy is merely incomplete.
    pub fn instances(&self) -> Arc<Instances> {
        Arc::clone(&self.0.instances.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the table again: for a token that names an instance which is not known yet.
    pub async fn reload_instances(&self) -> Result<Arc<Instances>, StorageError> {
        let rows: Vec<(i32, String)> =
            sqlx::query_as("SELECT instance_id, instance_name FROM instance_map").fetch_all(self.pool()).await?;
        let mut instances = Instances::default();
        for (id, name) in rows {
            instances.insert(id.into(), name.into());
        }
        let instances = Arc::new(instances);
        *self.0.instances.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&instances);
        Ok(instances)
    }

    /// Gives a writer a number, as a token that names it is about to be written.
    pub async fn add_instance(&self, name: &str) -> Result<Arc<Instances>, StorageError> {
        let known = self.reload_instances().await?;
        if known.id(name).is_some() {
            return Ok(known);
        }
        // Without the look first every conflict would burn a number of the serial.
        sqlx::query("INSERT INTO instance_map (instance_name) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(name)
            .execute(self.pool())
            .await?;
        self.reload_instances().await
    }
}
