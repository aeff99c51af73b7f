//! Roles that a reader cannot play stop the start, and what looks like one does not.

use myelin_config::{Config, ConfigError, MacaroonSecret, load};

const HOMESERVER: &str = "
server_name: lab.test
report_stats: no
redis: {enabled: true}
database: {name: psycopg2, args: {user: synapse}}
instance_map: {main: {host: localhost, port: 9093}, w1: {host: localhost, port: 9094}, w2: {path: /run/w2}}
";

fn start(app: &str, extra: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("a folder");
    let worker = format!("worker_app: synapse.app.{app}\nworker_name: w1\n");
    let paths = [("a.yaml", HOMESERVER), ("b.yaml", &worker), ("c.yaml", extra)].map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    });
    load(&paths)
}

#[test]
fn named_for_a_role() {
    let media = "worker_listeners: [{type: http, port: 1, resources: [{names: [media]}]}]";
    for (extra, expected) in [
        ("stream_writers: {events: [w2, w1]}", "c.yaml: stream_writers.events: w1 is named as a writer"),
        ("stream_writers: {typing: w1}", "c.yaml: stream_writers.typing: w1 is named as a writer"),
        ("stream_writers: {quarantined_media_changes: w1}", "c.yaml: stream_writers.quarantined_media_changes: w1"),
        ("federation_sender_instances: [w2, w1]", "c.yaml: federation_sender_instances: w1 is named: it sends"),
        ("pusher_instances: [w1]", "c.yaml: pusher_instances: w1 is named"),
        ("run_background_tasks_on: w1", "c.yaml: run_background_tasks_on: w1 is named"),
        ("notify_appservices_from_worker: w1", "c.yaml: notify_appservices_from_worker: w1 is named"),
        ("update_user_directory_from_worker: w1", "c.yaml: update_user_directory_from_worker: w1 is named"),
        ("media_instance_running_background_jobs: w1", "c.yaml: media_instance_running_background_jobs: w1 is named"),
        (
            "outbound_federation_restricted_to: [w1]\nworker_replication_secret: s",
            "c.yaml: outbound_federation_restricted_to: w1 is named",
        ),
        (
            "outbound_federation_restricted_to: [w2]",
            "outbound_federation_restricted_to: needs worker_replication_secret",
        ),
        (
            "outbound_federation_restricted_to: [w7]\nworker_replication_secret: s",
            "outbound_federation_restricted_to: w7 is not in instance_map",
        ),
        (media, "c.yaml: worker_listeners: the resource media"),
    ] {
        let error = start("generic_worker", extra).expect_err(extra).to_string();
        assert!(error.contains(expected), "{extra}: {error}");
    }
    for extra in [
        "stream_writers: {events: [w2]}",
        "federation_sender_instances: [w2]",
        "federation_sender_instances: []",
        "run_background_tasks_on: w2",
        "notify_appservices_from_worker: w2",
        "media_instance_running_background_jobs: w2",
        "outbound_federation_restricted_to: [w2, main]\nworker_replication_secret: s",
        &format!("{media}\nenable_media_repo: false"),
        &format!("{media}\nmyelin: {{fallback: 'unix:/run/worker.sock'}}"),
    ] {
        start("generic_worker", extra).unwrap_or_else(|error| panic!("{extra}: {error}"));
    }
}

#[test]
fn old_worker_apps() {
    for app in ["client_reader", "synchrotron", "federation_reader", "event_creator", "frontend_proxy"] {
        start(app, "").unwrap_or_else(|error| panic!("{app}: {error}"));
    }
    for app in ["federation_sender", "pusher", "appservice", "user_dir", "media_repository"] {
        let error = start(app, "").expect_err(app).to_string();
        assert!(error.contains(&format!("b.yaml: worker_app: synapse.app.{app} ")), "{error}");
    }
    // Named instances took these duties over.
    start("federation_sender", "federation_sender_instances: [w2]").expect("a generic worker");
    start("pusher", "pusher_instances: [w2]").expect("a generic worker");
}

#[test]
fn who_checks_tokens() {
    let mas = "matrix_authentication_service: {enabled: true, endpoint: 'http://mas:8080/', secret: s}";
    let config = start("generic_worker", mas).expect("a generic worker");
    let mas = config.auth.mas.expect("delegated");
    assert_eq!((mas.endpoint.as_str(), mas.secret.as_str(), mas.force_http2), ("http://mas:8080", "s", false));
    assert!(!config.capabilities.change_password && !config.capabilities.threepid_changes);
    for (extra, expected) in [
        ("matrix_authentication_service: {enabled: true}", "matrix_authentication_service.secret: is required"),
        (
            "matrix_authentication_service: {enabled: true, secret: s, secret_path: /x}",
            "matrix_authentication_service.secret_path: cannot be set together",
        ),
        ("matrix_authentication_service: {enabled: true, secret: s, endpoint: x}", "endpoint: must be an http"),
        (
            "matrix_authentication_service: {enabled: true, secret: ''}",
            "matrix_authentication_service.secret: is required",
        ),
        ("matrix_authentication_service: {enabled: 'true', secret: s}", "enabled: must be true or false"),
        ("http_proxy: 3128", "http_proxy: must be a string"),
        ("no_proxy_hosts: localhost", "no_proxy_hosts: must be a list of strings"),
        ("experimental_features: {msc3861: {enabled: true}}", "experimental_features.msc3861: was removed"),
        ("encryption_enabled_by_default_for_room_type: some", "encryption_enabled_by_default_for_room_type"),
        ("server_notices: {}", "server_notices.system_mxid_localpart: is required"),
    ] {
        let error = start("generic_worker", extra).expect_err(extra).to_string();
        assert!(error.contains(expected), "{extra}: {error}");
    }
}

#[test]
fn what_the_authentication_service_excludes() {
    let mas = "matrix_authentication_service: {enabled: true, secret: s}\n";
    for (extra, key) in [
        ("password_config: {enabled: true}", "password_config.enabled: password authentication"),
        ("password_config: {enabled: only_for_reauth}", "password_config.enabled: password authentication"),
        ("enable_registration: 'yes'", "enable_registration: registration"),
        ("disable_registration: false", "disable_registration: registration"),
        ("user_consent: {version: 1}", "user_consent: user consent"),
        ("oidc_providers: [{idp_id: x}]", "oidc_providers: single sign-on"),
        ("oidc_config: {enabled: true}", "oidc_config: single sign-on"),
        ("saml2_config: {sp_config: {x: y}}", "saml2_config: single sign-on"),
        ("cas_config: {server_url: x}", "cas_config: single sign-on"),
        ("jwt_config: {enabled: true}", "jwt_config: single sign-on"),
        ("password_providers: [{module: x}]", "password_providers: a password provider"),
        ("ldap_config: {enabled: true}", "ldap_config: a password provider"),
        ("enable_registration_captcha: true", "enable_registration_captcha: a captcha"),
        ("login_via_existing_session: {enabled: true}", "login_via_existing_session.enabled: login"),
        ("refresh_token_lifetime: 1d", "refresh_token_lifetime: it cannot"),
        ("nonrefreshable_access_token_lifetime: 1d", "nonrefreshable_access_token_lifetime: it cannot"),
        ("session_lifetime: 1d", "session_lifetime: it cannot"),
        ("enable_3pid_changes: true", "enable_3pid_changes: it cannot"),
        ("enable_registration: maybe", "enable_registration: must be true or false"),
    ] {
        let error = start("generic_worker", &format!("{mas}{extra}")).expect_err(extra).to_string();
        assert!(error.contains(&format!("c.yaml: {key}")), "{extra}: {error}");
        // Without the service these are nobody's business here.
        if !key.contains("must be") {
            start("generic_worker", extra).unwrap_or_else(|error| panic!("{extra}: {error}"));
        }
    }
    for extra in [
        "password_config: {enabled: false}",
        "enable_registration: false",
        "enable_registration: true\ndisable_registration: 'on'",
        "oidc_providers: []",
        "cas_config: {}",
        "cas_config: {enabled: false, server_url: x}",
        "saml2_config: {user_mapping_provider: {}}",
        "session_lifetime: 0",
    ] {
        start("generic_worker", &format!("{mas}{extra}")).unwrap_or_else(|error| panic!("{extra}: {error}"));
    }
}

#[test]
fn what_signs_the_tokens_of_guests() {
    let secret = |extra: &str| start("generic_worker", extra).expect(extra).auth.macaroon_secret;
    let text = |text: &str| Some(MacaroonSecret::Text(text.to_owned()));
    assert_eq!(secret("macaroon_secret_key: a\nregistration_shared_secret: b"), text("a"));
    assert_eq!(secret("macaroon_secret_key: ''\nregistration_shared_secret: b"), text("b"));
    // Thirty-two bytes, as a seed of ed25519 is: anything else is refused at start.
    let seed = "c2VlZHNlZWRzZWVkc2VlZHNlZWRzZWVkc2VlZHNlZWQ";
    assert_eq!(secret(&format!("signing_key: ed25519 a_1 {seed}")), Some(MacaroonSecret::SigningKey(seed.to_owned())));
    let error = start("generic_worker", "signing_key: ed25519 a_1 c2VlZA").expect_err("four bytes").to_string();
    assert!(error.contains("signing_key"), "{error}");
    let without = start("generic_worker", "").expect("a generic worker");
    assert_eq!(without.auth.macaroon_secret, None);
    assert!(without.warnings.iter().any(|warning| warning.contains("lab.test.signing.key")), "{:?}", without.warnings);
}
