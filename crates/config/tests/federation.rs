//! How other servers are reached: what is read, and what is refused.

use std::net::IpAddr;

use myelin_config::{Config, ConfigError, InstanceLocation, is_blocked, load};

const HOMESERVER: &str = "
server_name: lab.test
redis: {enabled: true}
database: {name: psycopg2, args: {user: synapse}}
instance_map: {main: {host: localhost, port: 9093}, w2: {path: /run/w2}}
worker_app: synapse.app.generic_worker
worker_name: w1
";
const CERTIFICATE: &str = "x\n-----BEGIN CERTIFICATE-----\nAAEC\nAwQ=\n-----END CERTIFICATE-----\n\
                           -----BEGIN CERTIFICATE-----\n////\n-----END CERTIFICATE-----\n";

fn read(extra: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = folder.path().join("ca.pem");
    std::fs::write(&certificate, CERTIFICATE).expect("a file");
    let extra = extra.replace("CA_FILE", &certificate.display().to_string());
    let paths = [("a.yaml", HOMESERVER), ("b.yaml", &extra)].map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    });
    load(&paths)
}

#[test]
fn without_settings() {
    let client = read("").unwrap().federation.client;
    assert_eq!((client.client_timeout, client.max_short_retries, client.max_short_retry_delay), (60_000, 3, 2_000));
    assert_eq!((client.min_retry_interval, client.max_retry_interval), (600_000, 604_800_000));
    assert_eq!(client.key_servers.len(), 1);
    assert_eq!(client.key_servers[0].server_name, "matrix.org");
    assert!(client.tls.verify && client.tls.authorities.is_none() && !client.tls.only_1_3);
    assert!(client.restricted_to.is_empty());
}

#[test]
fn addresses() {
    let blocked = |extra: &str, address: &str| {
        let client = read(extra).unwrap().federation.client;
        let address: IpAddr = address.parse().unwrap();
        is_blocked(address, &client.ip_blocklist, &client.ip_allowlist)
    };
    for address in [
        "127.0.0.1",
        "10.1.2.3",
        "::1",
        "fd00::1",
        "0.0.0.0",
        "::",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "2002:0a00:0001::1",
    ] {
        assert!(blocked("", address), "{address}");
    }
    for address in ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "2002:0101:0101::1"] {
        assert!(!blocked("", address), "{address}");
    }
    let own = "ip_range_blacklist: [1.1.1.0/24]";
    assert!(blocked(own, "1.1.1.1") && blocked(own, "::ffff:1.1.1.1") && blocked(own, "0.0.0.0"));
    assert!(!blocked(own, "10.0.0.1"));
    assert!(!blocked("ip_range_blacklist: []", "127.0.0.1") && blocked("ip_range_blacklist: []", "::"));
    let excepted = "ip_range_whitelist: [10.0.0.0/24]";
    assert!(!blocked(excepted, "10.0.0.1") && !blocked(excepted, "::ffff:10.0.0.1") && blocked(excepted, "10.0.1.1"));
    // The old name has no exceptions.
    let old = format!("{excepted}\nfederation_ip_range_blacklist: [10.0.0.0/8]");
    assert!(blocked(&old, "10.0.0.1") && !blocked(&old, "127.0.0.1"));
    assert!(!blocked("federation_ip_range_blacklist:", "127.0.0.1"));
}

#[test]
fn certificates() {
    let tls = read("federation_custom_ca_list: [CA_FILE]\nfederation_client_minimum_tls_version: 1.3").unwrap();
    let tls = tls.federation.client.tls;
    assert_eq!(tls.authorities, Some(vec![vec![0, 1, 2, 3, 4]]));
    assert!(tls.only_1_3);
    let tls = read("federation_certificate_verification_whitelist: ['*.lab.test', 'a?.test']").unwrap();
    let unverified = tls.federation.client.tls.unverified;
    let is_unverified = |host: &str| unverified.iter().any(|glob| glob.is_match(host));
    assert!(is_unverified("x.lab.test") && is_unverified("X.Y.LAB.test") && is_unverified("ab.test"));
    assert!(!is_unverified("lab.test") && !is_unverified("x.lab.test.org") && !is_unverified("abc.test"));
}

#[test]
fn key_servers_and_places() {
    let key = "Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw";
    let given = format!(
        "trusted_key_servers: [{{server_name: a.test, verify_keys: {{'ed25519:x': {key}}}}}, {{server_name: b.test}}]"
    );
    let servers = read(&given).unwrap().federation.client.key_servers;
    assert_eq!(servers.iter().map(|server| server.server_name.as_str()).collect::<Vec<_>>(), ["a.test", "b.test"]);
    assert!(servers[0].verify_keys.as_ref().is_some_and(|keys| keys["ed25519:x"][0] == 0x36));
    assert!(servers[1].verify_keys.is_none());
    let old = format!("perspectives: {{servers: {{c.test: {{verify_keys: {{'ed25519:x': {{key: {key}}}}}}}}}}}");
    let servers = read(&old).unwrap().federation.client.key_servers;
    assert!(servers.len() == 1 && servers[0].verify_keys.as_ref().is_some_and(|keys| keys.len() == 1));
    assert!(read("trusted_key_servers: []").unwrap().federation.client.key_servers.is_empty());
    let insecure = "federation_verify_certificates: false\ntrusted_key_servers: [{server_name: b.test, accept_keys_insecurely: true}]";
    assert!(!read(insecure).unwrap().federation.client.tls.verify);
    let through = "outbound_federation_restricted_to: [w2, main]\nworker_replication_secret: s";
    let places = read(through).unwrap().federation.client.restricted_to;
    assert!(matches!(&places[..], [InstanceLocation::Unix { .. }, InstanceLocation::Tcp { port: 9093, .. }]));
    let proxies = read("https_proxy: 'http://p:1'\nno_proxy_hosts: [a.test, b.test]").unwrap().federation.client;
    assert_eq!(
        (proxies.https_proxy.as_deref(), proxies.no_proxy.as_deref()),
        (Some("http://p:1"), Some("a.test,b.test"))
    );
}

#[test]
fn refused() {
    for (extra, expected) in [
        ("ip_range_blacklist: [10.0.0.0/33]", "ip_range_blacklist: 10.0.0.0/33 is not a range"),
        ("federation_custom_ca_list: []", "federation_custom_ca_list: names no certificates"),
        ("federation_custom_ca_list: [/nowhere]", "federation_custom_ca_list: cannot read /nowhere"),
        ("federation_client_minimum_tls_version: 2", "federation_client_minimum_tls_version: must be one of"),
        (
            "federation_certificate_verification_whitelist: ['é']",
            "federation_certificate_verification_whitelist: é is not",
        ),
        ("trusted_key_servers:", "trusted_key_servers"),
        ("trusted_key_servers: [{}]", "server_name: is required"),
        ("trusted_key_servers: [{server_name: a, verify_keys: {'rsa:x': y}}]", "is of an unknown algorithm"),
        ("trusted_key_servers: [{server_name: a, verify_keys: {'ed25519:x': y}}]", "is not 32 bytes of base64"),
        ("federation_verify_certificates: false", "trusted_key_servers: certificates are not verified"),
    ] {
        let error = read(extra).expect_err(extra).to_string();
        assert!(error.contains(expected), "{extra}: {error}");
    }
}
