//! Messages from device to device. Answers to `_generate_sync_entry_for_to_device`.

use std::sync::Arc;

use myelin_live::Changed;
use myelin_model::{Requester, StreamToken};

use super::Item;
use crate::{Handlers, Result};

impl Handlers {
    /// Messages after `since`, and the position that they reach.
    pub async fn to_device_for_sync(
        &self,
        requester: &Requester,
        since: Option<&StreamToken>,
        now: &StreamToken,
    ) -> Result<(Vec<Item>, i64)> {
        let (from, upto) = (since.map_or(0, |since| since.to_device), now.to_device);
        let Some(device_id) = &requester.device_id else { return Ok((Vec::new(), upto)) };
        let user_id = &requester.user_id;
        if from == upto || !self.live.may_have_changed(Changed::UserToDevice, user_id, from) {
            return Ok((Vec::new(), upto));
        }
        let (messages, reached) = self.storage.get_messages_for_device(user_id, device_id, from, upto).await?;
        let item = |json| Item { kind: Arc::from(""), sender: None, json };
        Ok((messages.into_iter().map(item).collect(), reached))
    }

    /// Deletes what the device has received: it came back with a later token.
    pub(crate) async fn delete_acknowledged_messages(&self, requester: &Requester, since: &StreamToken) -> Result<()> {
        let Some(device_id) = &requester.device_id else { return Ok(()) };
        let user_id = &requester.user_id;
        let deleted = self.storage.deleted_to_device_upto(user_id, device_id);
        if deleted.is_some_and(|upto| !self.live.may_have_changed(Changed::UserToDevice, user_id, upto)) {
            return Ok(());
        }
        Ok(self.storage.delete_messages_for_device(user_id, device_id, since.to_device).await?)
    }
}
