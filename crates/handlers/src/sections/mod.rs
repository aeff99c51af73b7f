//! temporary
use crate::{Handlers, Result};
use myelin_model::*;
use std::collections::*;
use std::sync::Arc;
#[derive(Clone, Debug)]
pub struct Item {
    pub kind: Arc<str>,
    pub sender: Option<Arc<str>>,
    pub json: String,
}
pub mod device_lists {
    #[derive(Clone, Debug, Default)]
    pub struct DeviceLists {
        pub changed: std::collections::HashSet<std::sync::Arc<str>>,
        pub left: std::collections::HashSet<std::sync::Arc<str>>,
    }
}
pub mod one_time_keys {
    #[derive(Clone, Debug, Default)]
    pub struct OneTimeKeys {
        pub counts: std::collections::BTreeMap<String, i64>,
        pub unused_fallback_types: Vec<String>,
    }
}
pub mod unread {
    #[derive(Clone, Debug, Default)]
    pub struct NotifCounts {
        pub notify: i64,
        pub unread: i64,
        pub highlight: i64,
    }
    #[derive(Clone, Debug, Default)]
    pub struct RoomNotifCounts {
        pub main: NotifCounts,
        pub threads: std::collections::BTreeMap<std::sync::Arc<str>, NotifCounts>,
    }
}
pub struct AccountData {
    pub global: Vec<Item>,
    pub rooms: HashMap<Arc<str>, Vec<Item>>,
}
impl Handlers {
    pub async fn account_data_for_sync(
        &self,
        _u: &str,
        _s: Option<&StreamToken>,
        _n: &StreamToken,
    ) -> Result<AccountData> {
        Ok(AccountData { global: vec![], rooms: HashMap::new() })
    }
    pub async fn tags_for_room(&self, _u: &str, _r: &str) -> Result<Option<Item>> {
        Ok(None)
    }
    pub async fn ephemeral_by_room(
        &self,
        _u: &str,
        _r: &[Arc<str>],
        _s: Option<&StreamToken>,
        _n: &StreamToken,
    ) -> Result<HashMap<Arc<str>, Vec<Item>>> {
        Ok(HashMap::new())
    }
    pub async fn presence_for_sync(
        &self,
        _r: &Requester,
        _s: Option<&StreamToken>,
        _n: &StreamToken,
        _a: &HashSet<Arc<str>>,
        _b: &HashSet<Arc<str>>,
        _o: bool,
    ) -> Result<Vec<Item>> {
        Ok(vec![])
    }
    pub async fn to_device_for_sync(
        &self,
        _r: &Requester,
        _s: Option<&StreamToken>,
        n: &StreamToken,
    ) -> Result<(Vec<Item>, i64)> {
        Ok((vec![], n.to_device))
    }
    #[expect(clippy::too_many_arguments)]
    pub async fn device_lists_for_sync(
        &self,
        _u: &str,
        _s: &StreamToken,
        _n: &StreamToken,
        _a: &HashSet<Arc<str>>,
        _b: &HashSet<Arc<str>>,
        _c: &HashSet<Arc<str>>,
        _d: &HashSet<Arc<str>>,
        _e: &HashSet<Arc<str>>,
    ) -> Result<device_lists::DeviceLists> {
        Ok(Default::default())
    }
    pub async fn one_time_keys_for_sync(&self, _u: &str, _d: &str) -> Result<one_time_keys::OneTimeKeys> {
        Ok(Default::default())
    }
    pub async fn unread_counts(&self, _u: &str, _r: &[Arc<str>]) -> Result<HashMap<Arc<str>, unread::RoomNotifCounts>> {
        Ok(HashMap::new())
    }
}
