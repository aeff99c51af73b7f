//! Keys of other servers that are not known: a server of our own behind TLS tells of them, as it is or with lies.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};
use myelin_model::signing::{SigningKey, encode_base64};
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::process::free_port;
use myelin_testkit::synapse::{SERVER_NAME, Synapse};
use myelin_testkit::{certificate, haproxy, nginx};
use myelin_tests::{eventually, signed};
use serde_json::{Map, Value, json};

use super::{holds, myelin, sql};

const FAR: i64 = 4_000_000_000_000;

/// What a remote server says of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    Truth,
    /// In another's name.
    OfAnother,
    /// Signed with another key.
    Forged,
    /// Keys that are no longer valid.
    TheOld,
    /// A new key, and that the one that it signs with is of the past.
    Rotated,
    Nothing,
}

/// A remote server, by what it tells; who is at its port is by its name.
struct Remote {
    name: String,
    key: SigningKey,
    asked: Arc<Mutex<Vec<String>>>,
    plain: u16,
}

impl Remote {
    fn start(tls: u16, tells: Tells) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let seed = [u8::try_from(tls % 251)?; 32];
        let remote = Self {
            name: format!("localhost:{tls}"),
            key: SigningKey::new("ed25519:a", &seed),
            asked: Arc::default(),
            plain: listener.local_addr()?.port(),
        };
        let (asked, told) = (Arc::clone(&remote.asked), remote.tell(tells)?);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A connection that ends or is not understood is dropped.
                let _ = answer(stream, &asked, told.as_deref());
            }
        });
        Ok(remote)
    }

    fn tell(&self, tells: Tells) -> Result<Option<String>> {
        let name = if tells == Tells::OfAnother { "another.test" } else { self.name.as_str() };
        let valid_until_ts = if tells == Tells::TheOld { 1 } else { FAR };
        let keys = json!({
            "server_name": name,
            "valid_until_ts": valid_until_ts,
            "verify_keys": {"ed25519:a": {"key": encode_base64(&self.key.public())}},
            "old_verify_keys": {},
        });
        let Value::Object(mut keys) = keys else { return Ok(None) };
        let (forger, new) = (SigningKey::new("ed25519:a", &[255; 32]), SigningKey::new("ed25519:b", &[255; 32]));
        let key = match tells {
            Tells::Forged => &forger,
            Tells::Rotated => {
                let old = json!({"ed25519:a": {"key": encode_base64(&self.key.public()), "expired_ts": 1}});
                keys.insert("verify_keys".to_owned(), json!({"ed25519:b": {"key": encode_base64(&new.public())}}));
                keys.insert("old_verify_keys".to_owned(), old);
                &new
            }
            _ => &self.key,
        };
        key.sign_json(&mut keys, name)?;
        Ok(Some(Value::from(keys).to_string()).filter(|_| tells != Tells::Nothing))
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A signed request for something that only servers may know, in `name`.
    fn ask(&self, client: &Client, name: &str) -> Result<Answer> {
        let uri = "/_matrix/federation/v1/query/profile?user_id=@nobody:myelin.test";
        signed::ask(client, &self.key, [name, SERVER_NAME], uri, None)
    }

    fn is_accepted(&self, client: &Client) -> Result<()> {
        let answer = self.ask(client, &self.name)?;
        ensure!(answer.status == 404 && answer.json()?["errcode"] == "M_NOT_FOUND", "{:?}", answer.json());
        Ok(())
    }

    fn is_refused(&self, client: &Client, name: &str) -> Result<()> {
        let answer = self.ask(client, name)?;
        let json = answer.json()?;
        let error = json["error"].as_str().unwrap_or_default();
        let expected = format!(
            "Failed to find any key to satisfy: _FetchKeyRequest(server_name='{name}', minimum_valid_until_ts="
        );
        let as_expected = answer.status == 401 && json["errcode"] == "M_UNAUTHORIZED" && error.starts_with(&expected);
        ensure!(as_expected && error.ends_with(", key_ids=['ed25519:a'])"), "{} {json}", answer.status);
        Ok(())
    }
}

fn answer(stream: TcpStream, asked: &Mutex<Vec<String>>, told: Option<&str>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let head = read_head(&mut reader)?;
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    let (status, text) = told.map_or(("500 Internal Server Error", "{}"), |told| ("200 OK", told));
    let length = text.len();
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )
}

pub fn keys_of_other_servers(synapse: &Synapse) -> Result<()> {
    let folder = tempfile::tempdir()?;
    certificate::make(folder.path())?;
    let tells =
        [Tells::Truth, Tells::OfAnother, Tells::Forged, Tells::TheOld, Tells::Rotated, Tells::Nothing, Tells::Truth];
    let remotes: Vec<_> = tells.into_iter().map(|tells| Remote::start(free_port()?, tells)).collect::<Result<_>>()?;
    let tls: Vec<(u16, u16)> =
        remotes.iter().map(|remote| Ok((port(&remote.name)?, remote.plain))).collect::<Result<_>>()?;
    let _tls = nginx::without_tls(folder.path(), "tls", &tls)?;
    let [good, another, forged, old, rotated, silent, crowd] = &remotes[..] else { unreachable!() };
    let (client, _service) =
        myelin(synapse, "keys", &settings(folder.path(), "ip_range_whitelist: ['127.0.0.0/8', '::1']\n", &[]))?;

    asked_once(synapse, &client, good)?;
    // Many who come at once wait for one answer.
    thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| crowd.is_accepted(&client))).collect();
        asking.into_iter().try_for_each(|asking| asking.join().map_err(|_| anyhow::anyhow!("panicked"))?)
    })?;
    ensure!(crowd.asked().len() == 1, "asked once: {:#?}", crowd.asked());

    for liar in [another, forged, old, rotated, silent] {
        liar.is_refused(&client, &liar.name)?;
        ensure!(liar.asked().len() == 1, "{:#?}", liar.asked());
        // It failed, which does not keep from asking it again.
        holds(synapse, &format!("(SELECT count(*) = 0 FROM destinations WHERE destination = '{}')", liar.name))?;
    }
    let stored = |names: &[&Remote]| names.iter().map(|name| format!("'{}'", name.name)).collect::<Vec<_>>().join(",");
    holds(
        synapse,
        &format!(
            "(SELECT count(*) = 0 FROM server_keys_json WHERE server_name IN ('another.test', {}))",
            stored(&[another, forged, silent])
        ),
    )?;
    // Nobody is at these: an address that is blocked, though names may lead to it, and a port where nobody listens.
    let literal = good.name.replace("localhost", "127.0.0.1");
    good.is_refused(&client, &literal)?;
    good.is_refused(&client, &format!("localhost:{}", free_port()?))?;
    ensure!(good.asked().len() == 1, "{:#?}", good.asked());
    notaries(synapse, folder.path(), good, silent)?;
    by_blocked_names(synapse, folder.path(), crowd)?;
    by_proxies(synapse, folder.path(), crowd)
}

/// It is asked as Synapse asks, and what it said is kept and told to the others.
fn asked_once(synapse: &Synapse, client: &Client, good: &Remote) -> Result<()> {
    good.is_accepted(client)?;
    good.is_accepted(client)?;
    let asked = good.asked();
    ensure!(asked.len() == 1, "asked once: {asked:#?}");
    let head = asked[0].to_ascii_lowercase();
    ensure!(head.starts_with("get /_matrix/key/v2/server http/1.1\r\n"), "{head}");
    for line in [
        format!("\r\nhost: {}\r\n", good.name),
        "\r\nuser-agent: synapse/1.163.2\r\n".to_owned(),
        format!("\r\nauthorization: x-matrix origin=\"{SERVER_NAME}\""),
    ] {
        ensure!(head.contains(&line), "{line:?} is not in {head}");
    }
    let name = &good.name;
    holds(
        synapse,
        &format!(
            "(SELECT (count(*), min(from_server), min(ts_valid_until_ms)) = (1, '{name}', {FAR}) FROM server_keys_json \
         WHERE server_name = '{name}' AND key_id = 'ed25519:a' AND convert_from(key_json, 'UTF8')::json->>'server_name' = '{name}')"
        ),
    )?;
    holds(
        synapse,
        &format!(
            "(SELECT (count(*), min(octet_length(verify_key)), min(from_server)) = (1, 32, '{name}') \
         FROM server_signature_keys WHERE server_name = '{name}' AND ts_valid_until_ms = {FAR})"
        ),
    )?;
    for (function, keys) in [
        ("_get_server_keys_json", format!("ARRAY['[\"{name}\",\"ed25519:a\"]']")),
        ("get_server_key_json_for_remote", format!("ARRAY['{name}', 'ed25519:a']")),
    ] {
        holds(
            synapse,
            &format!(
                "(SELECT count(*) = 1 FROM cache_invalidation_stream_by_instance WHERE instance_name = 'keys' \
             AND cache_func = '{function}' AND keys = {keys})"
            ),
        )?;
    }
    Ok(())
}

/// As a notary, it tells of what it knows, and asks for what it does not. Its own notary is not there, which counts.
fn notaries(synapse: &Synapse, folder: &Path, good: &Remote, silent: &Remote) -> Result<()> {
    sql(synapse, "DELETE FROM server_keys_json")?;
    let (whitelist, before) = ("ip_range_whitelist: ['127.0.0.0/8', '::1']\n", silent.asked().len());
    let (client, _service) = myelin(synapse, "notary", &settings(folder, whitelist, &[&silent.name]))?;
    let query = |name: &str| -> Result<Map<String, Value>> {
        let answer = client.get(&format!("/_matrix/key/v2/query/{name}/ed25519:a"))?.ok()?;
        ensure!(answer["server_keys"].as_array().is_some_and(|keys| keys.len() == 1), "{answer}");
        answer["server_keys"][0].as_object().cloned().context("no object")
    };
    let told = query(&good.name)?;
    let signed = |by: &str| told["signatures"][by].as_object().is_some_and(|all| all.len() == 1);
    ensure!(signed(&good.name) && signed(SERVER_NAME), "{told:?}");
    ensure!(query(&good.name)? == told && good.asked().len() == 2, "{:#?}", good.asked());
    ensure!(silent.asked().len() == before, "a notary asks the server alone");

    sql(synapse, "DELETE FROM server_keys_json")?;
    let stranger = Remote { name: format!("localhost:{}", free_port()?), ..Remote::start(0, Tells::Truth)? };
    stranger.is_refused(&client, &stranger.name)?;
    ensure!(silent.asked().len() == before + 1, "{:#?}", silent.asked());
    eventually("the notary's failure is not remembered", || {
        let row =
            format!("SELECT 1 FROM destinations WHERE destination = '{}' AND retry_interval = 600000", silent.name);
        Ok(!synapse.postgres.query("synapse", &row)?.is_empty())
    })?;
    // It is left alone then. The row is known here once another process would know it too.
    eventually("the notary is asked again and again", || {
        let before = silent.asked().len();
        stranger.is_refused(&client, &stranger.name)?;
        Ok(silent.asked().len() == before)
    })
}

/// A name that leads to an address where no server may be, and a certificate that nobody vouches for.
fn by_blocked_names(synapse: &Synapse, folder: &Path, crowd: &Remote) -> Result<()> {
    sql(synapse, "DELETE FROM server_keys_json")?;
    let unblocked = "ip_range_whitelist: ['127.0.0.0/8', '::1']\n";
    let unverified = format!("{unblocked}federation_certificate_verification_whitelist: ['local*']\n");
    let own = settings(folder, "", &[]);
    let (_, no_authority) = own.split_once('\n').context("no settings")?;
    let before = crowd.asked().len();
    for (name, settings, accepted) in [
        ("blocked", own.clone(), false),
        ("unknown", format!("{unblocked}{no_authority}"), false),
        ("unverified", format!("{unverified}{no_authority}"), true),
    ] {
        let (client, _service) = myelin(synapse, name, &settings)?;
        if accepted {
            crowd.is_accepted(&client).context(name)?;
        } else {
            crowd.is_refused(&client, &crowd.name).context(name)?;
        }
        ensure!(crowd.asked().len() == before + usize::from(accepted), "{name}: {:#?}", crowd.asked());
    }
    Ok(())
}

/// `https_proxy`, to which the way may be encrypted as well. Names are not looked up here then, and none is blocked.
fn by_proxies(synapse: &Synapse, folder: &Path, remote: &Remote) -> Result<()> {
    let (plain, asked) = tunnels()?;
    let encrypted = free_port()?;
    let _tls = haproxy::without_tls(folder, "tunnels", encrypted, plain)?;
    for (name, scheme, port) in [("by_plain_proxy", "http", plain), ("by_encrypted_proxy", "https", encrypted)] {
        let place = format!("{scheme}://user:pass@localhost:{port}");
        let before = remote.asked().len();
        sql(synapse, "DELETE FROM server_keys_json")?;
        let settings = settings(folder, &format!("https_proxy: '{place}'\nno_proxy_hosts: []\n"), &[]);
        let (client, _service) = myelin(synapse, name, &settings)?;
        remote.is_accepted(&client).context(name)?;
        ensure!(remote.asked().len() == before + 1, "{name}: {:#?}", remote.asked());
    }
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    // Its `.well-known` is not asked for: the name has a port.
    let expected = format!("CONNECT {} HTTP/1.1\r\n", remote.name);
    ensure!(asked.len() == 2 && asked.iter().all(|head| head.starts_with(&expected)), "{asked:#?}");
    ensure!(asked.iter().all(|head| head.contains("Basic dXNlcjpwYXNz\r\n")), "{asked:#?}");
    Ok(())
}

/// A proxy that makes tunnels to this machine: its port, and what it was asked.
fn tunnels() -> Result<(u16, Arc<Mutex<Vec<String>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heads = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let heads = Arc::clone(&heads);
            thread::spawn(move || tunnel(stream, &heads));
        }
    });
    Ok((port, asked))
}

fn tunnel(mut near: TcpStream, heads: &Mutex<Vec<String>>) -> Result<()> {
    let head = read_head(&mut BufReader::new(near.try_clone()?))?;
    let place = head.split_whitespace().nth(1).context("no place")?.to_owned();
    heads.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    let mut far = TcpStream::connect(place)?;
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut back, mut to) = (far.try_clone()?, near.try_clone()?);
    thread::spawn(move || std::io::copy(&mut back, &mut to));
    std::io::copy(&mut near, &mut far)?;
    Ok(())
}

fn read_head(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn port(name: &str) -> Result<u16> {
    Ok(name.rsplit(':').next().unwrap_or_default().parse()?)
}

fn settings(folder: &Path, more: &str, notaries: &[&str]) -> String {
    let notaries: Vec<_> = notaries.iter().map(|name| json!({"server_name": name})).collect();
    format!(
        "{more}federation_custom_ca_list: ['{}']\nrc_federation: {{sleep_limit: 10000, concurrent: 100}}\n\
         federation: {{max_short_retries: 0, client_timeout: 5s}}\ntrusted_key_servers: {}\n",
        folder.join("server.pem").display(),
        Value::from(notaries)
    )
}
