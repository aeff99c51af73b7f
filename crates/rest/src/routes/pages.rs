//! Resources that are not servlets: health, well-known, single sign-on pages, the delegated-auth internals.
//! Answers to `synapse/rest/well_known.py`, `health.py` and `synapse/rest/synapse/`.

use super::{Resource, Route};
use crate::native::{mas, well_known};

const fn page(methods: &'static str, pattern: &'static str, servlet: &'static str) -> Route {
    Route::of(Resource::Client, methods, pattern, servlet)
}

/// In order of registration: the first pattern that matches a path decides.
#[rustfmt::skip]
pub(super) const ROUTES: [Route; 19] = [
    Route::of(Resource::Always, "GET", "/health", "HealthResource").get(|call| Box::pin(well_known::health(call))).not_modular(),
    page("GET", "/.well-known/matrix/client", "ClientWellKnownResource").get(|call| Box::pin(well_known::client(call))).not_modular(),
    page("GET", "/.well-known/matrix/server", "ServerWellKnownResource").get(|call| Box::pin(well_known::server(call))).not_modular(),
    page("GET POST", "/_synapse/client/pick_idp", "PickIdpResource"),
    page("GET POST", "/_synapse/client/pick_username", "Resource"),
    page("GET", "/_synapse/client/pick_username/check", "AvailabilityCheckResource"),
    page("GET POST", "/_synapse/client/pick_username/account_details", "AccountDetailsResource"),
    page("GET POST", "/_synapse/client/new_user_consent", "NewUserConsentResource"),
    page("GET", "/_synapse/client/sso_register", "SsoRegisterResource"),
    page("GET POST", "/_synapse/client/unsubscribe", "UnsubscribeResource"),
    page("GET", "/_synapse/client/media_upload_limit_exceeded", "MediaUploadLimitExceededResource"),
    page("GET POST", "/_synapse/client/oidc/{rest=.*}", "OIDCResource"),
    page("GET POST", "/_synapse/client/saml2/{rest=.*}", "SAML2Resource"),
    page("GET", "/_synapse/client/federation_whitelist", "FederationWhitelistResource"),
    page("GET POST PUT DELETE", "/_synapse/client/rendezvous", "MSC4108RendezvousSessionResource"),
    page("GET POST PUT DELETE", "/_synapse/client/rendezvous/{rest=.*}", "MSC4108RendezvousSessionResource"),
    page("GET", "/_synapse/mas/query_user", "MasQueryUserResource").get(|call| Box::pin(mas::query_user(call))),
    page("GET", "/_synapse/mas/is_localpart_available", "MasIsLocalpartAvailableResource").get(|call| Box::pin(mas::is_localpart_available(call))),
    page("GET POST DELETE", "/_synapse/mas/{rest=.*}", "MasResource"),
];
