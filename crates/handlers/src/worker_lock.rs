//! Locks that processes take from each other. Answers to `WaitingLock` in `synapse/handlers/worker_lock.py`.

use std::time::Duration;

use myelin_model::MatrixError;
use myelin_replication::Command;

use crate::{Handlers, Result, now_ms};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Longer nobody waits for another process, nor holds a lock, which would count as abandoned after two minutes.
const WAIT: Duration = Duration::from_mins(1);

impl Handlers {
    /// Does `work` while no other process holds the lock.
    pub(crate) async fn with_lock<T>(
        &self,
        name: &str,
        key: &str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        // The lock itself lets this process in twice.
        let _turn = self.worker_locks.queue(&format!("{name} {key}")).await;
        let token: String = (0..6).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect();
        let acquire = async {
            let mut pause = FIRST_PAUSE;
            while !self.storage.try_acquire_lock(name, key, &token, now_ms()).await? {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
            Result::Ok(())
        };
        let late = |_| MatrixError::internal(format!("{name} of {key} is held for too long"));
        tokio::time::timeout(WAIT, acquire).await.map_err(late)??;
        let done = tokio::time::timeout(WAIT, work).await.map_err(late);
        self.storage.release_lock(name, key, &token).await?;
        let instance = self.config.worker.name.clone();
        self.commands.send(&Command::LockReleased { instance, name: name.to_owned(), key: key.to_owned() });
        done?
    }
}
