//! Which row answers which path, against the set that a Python worker registers.

use super::*;

fn mounts(names: &[&str]) -> Mounts {
    Mounts { names: names.iter().map(|name| (*name).to_owned()).collect() }
}

fn find(on: &[&str], method: &str, path: &str) -> String {
    match Table::new().unwrap().find(&mounts(on), method, path) {
        Found::Route(route, _) => route.servlet.to_owned(),
        Found::WrongMethod(_) => "405".to_owned(),
        Found::Unknown => "404".to_owned(),
        Found::Outside => "page".to_owned(),
    }
}

#[test]
fn paths_of_each_kind() {
    for (method, path, expected) in [
        ("GET", "/_matrix/client/v3/sync", "SyncRestServlet"),
        ("HEAD", "/_matrix/client/r0/sync", "SyncRestServlet"),
        ("GET", "/_matrix/client/v9/sync", "404"),
        ("GET", "/_matrix/client/v3/sync/x", "404"),
        ("PUT", "/_matrix/client/v3/sync", "405"),
        ("GET", "/foo", "page"),
        ("GET", "/", "page"),
        ("GET", "/_matrixx", "page"),
        ("GET", "/_matrix/clientx", "404"),
        ("GET", "/_synapse/whatever", "404"),
        ("GET", "/.well-known/other", "page"),
        ("GET", "/health", "HealthResource"),
        ("GET", "/_matrix/client/v3/rooms/%21a%2Fb:c/state/m.room.name/", "RoomStateEventRestServlet"),
        ("GET", "/_matrix/client/v3/rooms/!a/state/m.room.name", "RoomStateEventRestServlet"),
        ("POST", "/_matrix/client/v3/rooms/!a/kick", "RoomMembershipRestServlet"),
        ("POST", "/_matrix/client/v3/rooms/!a/shout", "404"),
        ("GET", "/_matrix/client/v3/pushrules", "404"),
        ("GET", "/_matrix/client/v3/pushrules/global/", "PushRuleRestServlet"),
        ("GET", "/_matrix/client/v1/rooms/!a/relations/$b/m.thread", "RelationPaginationServlet"),
        ("GET", "/_matrix/federation/v1/event/$x/", "FederationEventServlet"),
        ("GET", "/_matrix/key/v2/server", "LocalKey"),
        ("POST", "/_matrix/client/v3/keys/upload/FOO", "404"),
        ("GET", "/_matrix/client/unstable/orgXmatrix.msc2432/rooms/!a/aliases", "404"),
        ("GET", "/_matrix/media/v3/config", "404"),
    ] {
        assert_eq!(find(&["client", "federation"], method, path), expected, "{method} {path}");
    }
}

#[test]
fn the_first_pattern_decides_and_rows_of_one_pattern_are_one() {
    // `media/{server_name}/delete` stands before `media/{server_name}/{media_id}` and knows POST alone.
    assert_eq!(find(&["media"], "GET", "/_synapse/admin/v1/media/x/delete"), "405");
    assert_eq!(find(&["media"], "GET", "/_synapse/admin/v1/media/x/y"), "QueryMediaById");
    assert_eq!(find(&["media"], "DELETE", "/_synapse/admin/v1/media/x/y"), "DeleteMediaByID");
}

#[test]
fn a_listener_has_the_routes_of_its_resources() {
    assert_eq!(find(&["health"], "GET", "/_matrix/client/v3/sync"), "page");
    assert_eq!(find(&["health"], "GET", "/_synapse/admin/v1/x"), "404");
    assert_eq!(find(&["federation"], "GET", "/_matrix/client/v3/sync"), "404");
    assert_eq!(find(&["openid"], "GET", "/_matrix/federation/v1/openid/userinfo"), "OpenIdUserInfo");
    assert_eq!(find(&["openid"], "GET", "/_matrix/federation/v1/version"), "404");
    assert_eq!(find(&["keys"], "GET", "/_matrix/key/v2/server/a"), "LocalKey");
    assert_eq!(find(&["media"], "GET", "/_matrix/client/v1/media/config"), "MediaConfigResource");
}

#[test]
fn parameters_are_decoded_after_matching() {
    let table = Table::new().unwrap();
    let parameters = |path| match table.find(&mounts(&["client"]), "GET", path) {
        Found::Route(_, index) => table.parameters(index, path),
        other => panic!("{other:?}"),
    };
    let state = parameters("/_matrix/client/v3/rooms/%21a%2Fb+/state/m%C3%A4h/");
    assert_eq!((state.get("room_id"), state.get("event_type"), state.get("state_key")), ("!a/b+", "mäh", ""));
    let relations = parameters("/_matrix/client/v1/rooms/!a/relations/$b");
    assert_eq!(relations.optional("relation_type"), None);
    assert_eq!(parameters("/_matrix/client/v3/rooms/%ff/members").get("room_id"), "\u{fffd}");
}

/// `registered.tsv` was printed by a Python worker of Synapse 1.163.2: resource, methods, regex, servlet.
#[test]
fn the_table_is_what_synapse_registers() {
    let ours: Vec<_> = all().map(|route| (plain(&pattern::to_regex(route.pattern)), route)).collect();
    for line in include_str!("registered.tsv").lines().skip(1) {
        let columns: Vec<_> = line.split('\t').collect();
        let [_, methods, regex, servlet] = columns[..] else { panic!("{line}") };
        let regex = plain(regex);
        for method in methods.split(',') {
            let known = ours.iter().any(|(text, route)| *text == regex && route.takes(method));
            assert!(known, "{method} {regex} of {servlet} is missing");
        }
    }
}

/// A regex without what differs in writing alone: group names, escapes, anchors.
fn plain(regex: &str) -> String {
    let names = Regex::new(r"\(\?P<\w+>|\(\?:").unwrap();
    let text = names.replace_all(regex, "(").replace('\\', "");
    let text = text.replace("/?$", "(/)?$");
    format!("^{}", text.trim_start_matches('^'))
}
