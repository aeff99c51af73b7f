//! The table of requests, one file per area.

mod account_data;
mod admin;
mod askers;
mod bad_input;
mod capabilities;
mod context;
mod delayed_events;
mod devices;
mod directory;
mod event;
mod event_anywhere;
mod events;
mod federation;
mod federation_directory;
mod federation_rooms;
mod filter;
mod foreign;
mod health;
mod initial_sync;
mod joined_rooms;
mod keys;
mod login;
mod members;
mod messages;
mod notifications;
mod password_policy;
mod presence;
mod profile;
mod push_rules;
mod register;
mod relations;
mod room_directory;
mod room_keys;
mod search;
mod signatures;
mod small;
mod state;
mod sync;
mod thread_subscriptions;
mod threads;
mod threepids;
mod timestamp_to_event;
mod turn_server;
mod versions;
mod well_known;
mod whoami;

use crate::row::Row;

/// Every area, in the order in which it is asked.
pub fn rows() -> Vec<Row> {
    let areas = [
        health::rows(),
        well_known::rows(),
        versions::rows(),
        capabilities::rows(),
        whoami::rows(),
        joined_rooms::rows(),
        members::rows(),
        state::rows(),
        event::rows(),
        messages::rows(),
        context::rows(),
        relations::rows(),
        threads::rows(),
        account_data::rows(),
        push_rules::rows(),
        devices::rows(),
        password_policy::rows(),
        directory::rows(),
        login::rows(),
        notifications::rows(),
        presence::rows(),
        profile::rows(),
        timestamp_to_event::rows(),
        turn_server::rows(),
        room_keys::rows(),
        threepids::rows(),
        keys::rows(),
        signatures::rows(),
        room_directory::rows(),
        register::rows(),
        delayed_events::rows(),
        thread_subscriptions::rows(),
        admin::rows(),
        event_anywhere::rows(),
        small::rows(),
        foreign::rows(),
        initial_sync::rows(),
        events::rows(),
        search::rows(),
        filter::rows(),
        federation::rows(),
        federation_rooms::rows(),
        federation_directory::rows(),
        askers::rows(),
        bad_input::rows(),
        sync::rows(),
    ];
    areas.into_iter().flatten().collect()
}
