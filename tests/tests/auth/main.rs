//! Tokens of every kind, and signatures of servers: whom they stand for, and what they are refused with. Answers to
//! `synapse/api/auth/` and `synapse/crypto/keyring.py`.

mod mas;
mod servers;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::process::Service;
use myelin_testkit::synapse::Synapse;
use myelin_tests::{Case, eventually, start};
use serde_json::{Value, json};

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
const VERSIONS: &str = "/_matrix/client/versions";
const SYNC: &str = "/_matrix/client/v3/sync?timeout=0";

const CASES: [Case; 7] = [
    ("accounts", accounts),
    ("expired accounts", expired_accounts),
    ("the limit of active users", limit_of_active_users),
    ("trial days", trial_days),
    ("a disabled server", disabled_server),
    ("delegated to a service", mas::delegated_to_a_service),
    ("keys of other servers", servers::keys_of_other_servers),
];

#[test]
fn tokens() -> Result<()> {
    myelin_tests::run("", &CASES)
}

/// Myelin without a fallback: what it answers is its own.
pub fn myelin(synapse: &Synapse, name: &str, extra: &str) -> Result<(Client, Service)> {
    let (port, service) = start(synapse, name, extra)?;
    Ok((Client::new(port), service))
}

fn sql(synapse: &Synapse, statement: &str) -> Result<()> {
    let path = synapse.folder.join("statement.sql");
    std::fs::write(&path, statement)?;
    synapse.postgres.run_script("synapse", &path, &[])
}

/// Fails unless the condition holds in the database.
fn holds(synapse: &Synapse, condition: &str) -> Result<()> {
    sql(synapse, &format!("DO $$ BEGIN IF ({condition}) IS NOT TRUE THEN RAISE EXCEPTION 'not so'; END IF; END $$"))
}

pub fn expect(answer: &Answer, status: u16, body: &Value) -> Result<()> {
    let found = answer.json()?;
    ensure!((answer.status, &found) == (status, body), "{} {found} instead of {status} {body}", answer.status);
    Ok(())
}

fn accounts(synapse: &Synapse) -> Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth/accounts.sql");
    synapse.postgres.run_script("synapse", Path::new(script), &[])?;
    let (client, _service) = myelin(synapse, "accounts", "track_puppeted_user_ips: true\n")?;
    let whoami = |token: &str| client.with_token(token).get(WHOAMI);

    let plain = json!({ "user_id": "@plain:myelin.test", "is_guest": false, "device_id": "PLAIN" });
    expect(&whoami("plain")?, 200, &plain)?;
    expect(&whoami("lasting")?, 200, &plain)?;
    expect(&whoami("puppet")?, 200, &json!({ "user_id": "@plain:myelin.test", "is_guest": false }))?;
    let expired = json!({"errcode": "M_UNKNOWN_TOKEN", "error": "Access token has expired", "soft_logout": true});
    expect(&whoami("expired")?, 401, &expired)?;
    let locked = json!({"errcode": "M_USER_LOCKED", "error": "User account has been locked", "soft_logout": true});
    expect(&whoami("locked")?, 401, &locked)?;
    for token in ["expired", "locked"] {
        ensure!(client.with_token(token).get(VERSIONS)?.status == 200, "{token} may ask for versions");
    }
    // The first use of a token is written down, and of no other one.
    holds(
        synapse,
        "(SELECT bool_and(used) FROM access_tokens WHERE token IN ('plain', 'lasting', 'puppet', 'locked'))",
    )?;
    holds(synapse, "(SELECT used IS NOT TRUE FROM access_tokens WHERE token = 'never used')")?;

    let seen_from = |token: &str, ip: &str, agent: &str| {
        let headers = [("X-Forwarded-For", ip), ("User-Agent", agent), ("X-Forwarded-Proto", "https")];
        client.with_token(token).send_bytes("GET", WHOAMI, &headers, None)
    };
    seen_from("plain", "203.0.113.7", "test/1")?;
    seen_from("puppet", "203.0.113.8", "test/2")?;
    seen_from("plain", "203.0.113.9", "sync-v3-proxy-")?;
    // The main process writes what it was told every few seconds.
    let seen = "(SELECT string_agg(concat_ws(' ', user_id, access_token, ip, user_agent), ',' ORDER BY user_id, ip)
        FROM user_ips WHERE ip LIKE '203.%') = '@admin:myelin.test puppet 203.0.113.8 test/2,\
        @plain:myelin.test plain 203.0.113.7 test/1,@plain:myelin.test puppet 203.0.113.8 test/2'";
    eventually("who was seen was not told", || Ok(holds(synapse, seen).is_ok()))
}

fn expired_accounts(synapse: &Synapse) -> Result<()> {
    let (client, _service) = myelin(synapse, "validity", "account_validity: {enabled: true, period: 6w}\n")?;
    let lapsed = json!({"errcode": "ORG_MATRIX_EXPIRED_ACCOUNT", "error": "User account has expired"});
    expect(&client.with_token("lapsed").get(WHOAMI)?, 403, &lapsed)?;
    ensure!(client.with_token("lapsed").get(VERSIONS)?.status == 200);
    for token in ["plain", "support"] {
        ensure!(client.with_token(token).get(WHOAMI)?.status == 200, "{token}");
    }
    Ok(())
}

fn limit_of_active_users(synapse: &Synapse) -> Result<()> {
    let extra = "limit_usage_by_mau: true\nmax_mau_value: 0\nadmin_contact: 'mailto:admin@myelin.test'\n";
    let (client, _service) = myelin(synapse, "limited", extra)?;
    let refused = json!({
        "errcode": "M_RESOURCE_LIMIT_EXCEEDED",
        "error": "Monthly Active User Limit Exceeded",
        "admin_contact": "mailto:admin@myelin.test",
        "limit_type": "monthly_active_user",
    });
    expect(&client.with_token("lasting").get(SYNC)?, 403, &refused)?;
    expect(&client.with_token("new").get(SYNC)?, 403, &refused)?;
    ensure!(client.with_token("lasting").get(WHOAMI)?.status == 200, "only syncs are limited");
    for token in ["active", "support"] {
        ensure!(client.with_token(token).get(SYNC)?.status == 200, "{token}");
    }
    Ok(())
}

fn trial_days(synapse: &Synapse) -> Result<()> {
    let (client, _service) = myelin(synapse, "trial", "limit_usage_by_mau: true\nmau_trial_days: 2\n")?;
    ensure!(client.with_token("new").get(SYNC)?.status == 200, "a trial");
    let refused = client.with_token("lapsed").get(SYNC)?;
    ensure!(refused.status == 403 && refused.json()?["admin_contact"].is_null());
    Ok(())
}

fn disabled_server(synapse: &Synapse) -> Result<()> {
    let (client, _service) = myelin(synapse, "disabled", "hs_disabled: true\nhs_disabled_message: Closed\n")?;
    let refused = json!({
        "errcode": "M_RESOURCE_LIMIT_EXCEEDED",
        "error": "Closed",
        "admin_contact": null,
        "limit_type": "hs_disabled",
    });
    expect(&client.with_token("active").get(SYNC)?, 403, &refused)?;
    let support = client.with_token("support").get(SYNC)?;
    ensure!(support.status == 200, "{}", support.json().context("support")?);
    Ok(())
}
