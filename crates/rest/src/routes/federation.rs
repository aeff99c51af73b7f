//! Server-server routes of a generic worker. Answers to `synapse/federation/transport/server/` and `synapse/rest/key/`.

use super::{Resource, Route};
use crate::call::to_the_end;
use crate::native::{federation, federation_rooms as rooms, room_directory as directory, server_keys};

const fn route(methods: &'static str, pattern: &'static str, servlet: &'static str) -> Route {
    Route::of(Resource::Federation, methods, pattern, servlet)
}

const fn keys(methods: &'static str, pattern: &'static str, servlet: &'static str) -> Route {
    Route::of(Resource::Keys, methods, pattern, servlet)
}

const fn media(methods: &'static str, pattern: &'static str, servlet: &'static str) -> Route {
    Route::of(Resource::FederationMedia, methods, pattern, servlet)
}

const fn openid(methods: &'static str, pattern: &'static str, servlet: &'static str) -> Route {
    Route::of(Resource::OpenId, methods, pattern, servlet)
}

/// In order of registration: the first pattern that matches a path decides.
#[rustfmt::skip]
pub(super) const ROUTES: [Route; 37] = [
    route("PUT", "{F}/send/{transaction_id}[/]", "FederationSendServlet"),
    route("GET", "{F}/event/{event_id}[/]", "FederationEventServlet")
        .get_signed(|asked| Box::pin(rooms::event(asked))),
    route("GET", "{F}/state/{room_id}[/]", "FederationStateV1Servlet")
        .get_signed(|asked| Box::pin(rooms::state(asked))),
    route("GET", "{F}/state_ids/{room_id}[/]", "FederationStateIdsServlet")
        .get_signed(|asked| Box::pin(rooms::state_ids(asked)))
        .not_modular(),
    route("GET", "{F}/backfill/{room_id}[/]", "FederationBackfillServlet")
        .get_signed(|asked| Box::pin(rooms::backfill(asked))),
    route("GET", "{F}/timestamp_to_event/{room_id}[/]", "FederationTimestampLookupServlet")
        .get_signed(|asked| Box::pin(rooms::timestamp_to_event(asked)))
        .not_modular(),
    route("GET", "{F}/query/{query_type}", "FederationQueryServlet").get_signed(|asked| Box::pin(federation::query(asked))),
    route("GET", "{F}/make_join/{room_id}/{user_id}", "FederationMakeJoinServlet"),
    route("GET", "{F}/make_leave/{room_id}/{user_id}", "FederationMakeLeaveServlet"),
    route("PUT", "{F}/send_join/{room_id}/{event_id}", "FederationV1SendJoinServlet"),
    route("PUT", "{F2}/send_join/{room_id}/{event_id}", "FederationV2SendJoinServlet"),
    route("PUT", "{F}/send_leave/{room_id}/{event_id}", "FederationV1SendLeaveServlet"),
    route("PUT", "{F2}/send_leave/{room_id}/{event_id}", "FederationV2SendLeaveServlet"),
    route("PUT", "{F}/invite/{room_id}/{event_id}", "FederationV1InviteServlet"),
    route("PUT", "{F2}/invite/{room_id}/{event_id}", "FederationV2InviteServlet"),
    route("POST", "{F}/get_missing_events/{room_id}", "FederationGetMissingEventsServlet")
        .post_signed(|asked| Box::pin(rooms::missing_events(asked))),
    route("GET", "{F}/event_auth/{room_id}/{event_id}", "FederationEventAuthServlet")
        .get_signed(|asked| Box::pin(rooms::event_auth(asked))),
    route("POST", "{F}/user/keys/query", "FederationClientKeysQueryServlet").post_signed(|asked| Box::pin(federation::query_keys(asked))),
    route("GET", "{F}/user/devices/{user_id}", "FederationUserDevicesQueryServlet").get_signed(|asked| Box::pin(federation::user_devices(asked))),
    route("POST", "{F}/user/keys/claim", "FederationClientKeysClaimServlet")
        .post_signed(|asked| to_the_end(asked, federation::claim_keys)),
    route("PUT", "{F}/exchange_third_party_invite/{room_id}", "FederationThirdPartyInviteExchangeServlet"),
    route("POST", "{F}/3pid/onbind", "On3pidBindServlet"),
    route("GET", "{F}/version", "FederationVersionServlet").get(|call| Box::pin(federation::version(call))).not_modular(),
    route("GET", "{FU}/rooms/{room_id}/complexity", "RoomComplexityServlet")
        .get_signed(|asked| Box::pin(rooms::complexity(asked)))
        .not_modular(),
    route("GET", "{F}/hierarchy/{room_id}", "FederationRoomHierarchyServlet")
        .get_signed(|asked| Box::pin(directory::hierarchy_for_server(asked)))
        .not_modular(),
    route("PUT", "{F}/send_knock/{room_id}/{event_id}", "FederationV1SendKnockServlet"),
    route("GET", "{F}/make_knock/{room_id}/{user_id}", "FederationMakeKnockServlet"),
    route("GET POST", "{F}/publicRooms", "PublicRoomList")
        .get_signed(|asked| Box::pin(directory::public_rooms_for_server(asked)))
        .post_signed(|asked| Box::pin(directory::public_rooms_for_server(asked))),
    openid("GET", "{F}/openid/userinfo", "OpenIdUserInfo").get(|call| Box::pin(federation::openid_userinfo(call))).not_modular(),
    media("GET", "{F}/media/download/{media_id}", "FederationMediaDownloadServlet"),
    media("GET", "{F}/media/thumbnail/{media_id}", "FederationMediaThumbnailServlet"),
    keys("GET", "/_matrix/key/v2/server[/{key_id}]", "LocalKey").get(|call| Box::pin(async move { server_keys::local(&call) })).not_modular(),
    keys("GET", "/_matrix/key/v2/query/{server}[/{key_id}]", "RemoteKey").get(|call| Box::pin(server_keys::of_server(call))).not_modular(),
    keys("POST", "/_matrix/key/v2/query", "RemoteKey").post(|call| Box::pin(server_keys::of_servers(call))).not_modular(),
    route("GET", "{FU}/org.matrix.msc4370/extremities/{room_id}", "FederationUnstableGetExtremitiesServlet")
        .get(|call| Box::pin(rooms::extremities(call)))
        .not_modular(),
    route("POST", "{FU}/user/keys/claim", "FederationUnstableClientKeysClaimServlet"),
    route("POST", "{FU}/org.matrix.msc3720/query/account_status", "FederationAccountStatusServlet"),
];
