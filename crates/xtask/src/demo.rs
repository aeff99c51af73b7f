//! `cargo xtask demo`: a whole homeserver with Myelin in front of it, shown working.

use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use myelin_testkit::folder::Folder;
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::nginx;
use myelin_testkit::program::program;
use myelin_testkit::proxy::Proxy;
use myelin_testkit::synapse::Synapse;
use myelin_testkit::{packages, process, python};
use serde_json::{Value, json};

/// Runs the demo in a thread, so that Ctrl-C ends every service wherever it is.
pub fn run(once: bool) -> Result<()> {
    let (sender, receiver) = mpsc::channel();
    let interrupted = sender.clone();
    ctrlc::set_handler(move || drop(interrupted.send(Ok(())))).context("cannot catch Ctrl-C")?;
    std::thread::spawn(move || {
        let result = show(once);
        // Without --once the services stay up until Ctrl-C; an error ends it at once.
        if once || result.is_err() {
            drop(sender.send(result.map(drop)));
        } else {
            std::mem::forget((result, sender));
        }
    });
    let result = receiver.recv().unwrap_or(Ok(()));
    process::end_all();
    result
}

/// Everything that runs; dropping it ends it.
pub struct Stack {
    _nginx: Proxy,
    _myelin: process::Service,
    _synapse: Synapse,
    _folder: Folder,
}

fn show(once: bool) -> Result<Stack> {
    packages::ensure(&[])?;
    python::interpreter()?;
    progress("building Myelin");
    // The debug build: it is a demonstration, not a benchmark.
    let program = program()?;
    let folder = Folder::new("demo")?;
    progress("starting Postgres, Redis and the Synapse main process");
    let synapse = Synapse::start(folder.path(), "")?;
    progress("starting Myelin and nginx");
    let (worker, myelin) = synapse.start_myelin(&program, "myelin1")?;
    let nginx = nginx::start(folder.path(), worker, synapse.port)?;
    progress("two users talk");
    println!("{:<58} {:<16} {:>6} {:>9}", "request", "answered by", "status", "time");
    let users = talk(nginx.port)?;
    if !once {
        println!("\nhomeserver   http://127.0.0.1:{}", nginx.port);
        println!("Myelin       http://127.0.0.1:{worker}\nmain process http://127.0.0.1:{}", synapse.port);
        for (user, token) in users {
            println!("{user}  access token {token}");
        }
        println!("\nCtrl-C ends it all.");
    }
    Ok(Stack { _nginx: nginx, _myelin: myelin, _synapse: synapse, _folder: folder })
}

fn progress(what: &str) {
    eprintln!("==> {what}");
}

/// Registers two users, lets them meet in a room, and wakes a long-poll with a message.
fn talk(port: u16) -> Result<Vec<(String, String)>> {
    let anyone = Client::new(port);
    let register = |name: &str| -> Result<(String, Client, String)> {
        let body = json!({"username": name, "password": "demo-password", "auth": {"type": "m.login.dummy"}});
        let answer = step(&anyone, "POST", "/_matrix/client/v3/register", Some(&body))?.json()?;
        let token = answer["access_token"].as_str().context("register gave no token")?.to_owned();
        Ok((
            answer["user_id"].as_str().context("register gave no user id")?.to_owned(),
            anyone.with_token(&token),
            token,
        ))
    };
    let (alice, alice_client, alice_token) = register("alice")?;
    let (bob, bob_client, bob_token) = register("bob")?;
    step(&anyone, "GET", "/_matrix/client/versions", None)?;
    step(&alice_client, "GET", "/_matrix/client/v3/account/whoami", None)?;
    let body = json!({"preset": "private_chat", "invite": [bob], "name": "A room"});
    let room = step(&alice_client, "POST", "/_matrix/client/v3/createRoom", Some(&body))?.json()?;
    let room = room["room_id"].as_str().context("createRoom gave no room id")?.replace('!', "%21").replace(':', "%3A");
    step(&bob_client, "POST", &format!("/_matrix/client/v3/join/{room}"), Some(&json!({})))?;
    for path in ["members", "joined_members", "state", "state/m.room.name"] {
        step(&bob_client, "GET", &format!("/_matrix/client/v3/rooms/{room}/{path}"), None)?;
    }
    let sync = step(&bob_client, "GET", "/_matrix/client/v3/sync", None)?.json()?;
    let since = sync["next_batch"].as_str().context("sync gave no next_batch")?.to_owned();
    wake(&alice_client, &bob_client, &room, &since)?;
    Ok(vec![(alice, alice_token), (bob, bob_token)])
}

/// Opens a long-poll that has nothing to tell, then sends; the message must come out of it.
fn wake(alice: &Client, bob: &Client, room: &str, since: &str) -> Result<()> {
    let path = format!("/_matrix/client/v3/sync?since={since}&timeout=0");
    let quiet = bob.get(&path)?.json()?;
    let since = quiet["next_batch"].as_str().context("sync gave no next_batch")?.to_owned();
    let (bob, room_path) = (bob.clone(), room.to_owned());
    let poll = std::thread::spawn(move || {
        step(&bob, "GET", &format!("/_matrix/client/v3/sync?since={since}&timeout=30000"), None)
    });
    // Nothing tells from outside that a request waits; a moment makes it likely, and the answer is right either way.
    std::thread::sleep(Duration::from_millis(500));
    let body = json!({"msgtype": "m.text", "body": "hello"});
    step(alice, "PUT", &format!("/_matrix/client/v3/rooms/{room_path}/send/m.room.message/1"), Some(&body))?;
    let woken = poll.join().map_err(|_| anyhow::anyhow!("the long-poll panicked"))??;
    let text = String::from_utf8_lossy(&woken.body).into_owned();
    ensure!(text.contains("\"hello\""), "the long-poll came back without the message: {text}");
    Ok(())
}

/// One request, printed as a row; anything but success ends the demo.
fn step(client: &Client, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
    let answer = client.send(method, path, body)?;
    let by = match answer.header("x-myelin") {
        Some("native") => "Myelin",
        Some(_) => "Myelin: fallback",
        None => "main",
    };
    // A room's id says nothing to a reader and fills the line.
    let (path_shown, room) =
        (path.split('?').next().unwrap_or(path), path.split('/').find(|part| part.starts_with("%21")));
    let path_shown = room.map_or_else(|| path_shown.to_owned(), |room| path_shown.replace(room, "{room}"));
    let shown: String = format!("{method} {path_shown}").chars().take(58).collect();
    println!("{shown:<58} {by:<16} {:>6} {:>6} ms", answer.status, answer.took.as_millis());
    ensure!(answer.status == 200, "{method} {path}: {}", String::from_utf8_lossy(&answer.body));
    Ok(answer)
}
