//! The table in the words of reverse proxies and of docs/routes.md: `myelin routes`.

use std::fmt::Write;

use super::{Resource, Route, all, pattern};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Nginx,
    Haproxy,
    Markdown,
}

pub fn print(style: Style) -> String {
    match style {
        Style::Plain => plain(),
        Style::Nginx => nginx(),
        Style::Haproxy => haproxy(),
        Style::Markdown => markdown(),
    }
}

/// Rows with something native; a proxy that sends only these here needs no fallback for most requests.
fn native() -> impl Iterator<Item = &'static Route> {
    all().filter(|route| !route.split_methods().0.is_empty() && route.resource != Resource::Always)
}

fn plain() -> String {
    let mut out = String::new();
    for route in all() {
        let (native, passed_on) = route.split_methods();
        for (methods, by) in [(native, "native"), (passed_on, "fallback")] {
            if !methods.is_empty() {
                let methods = methods.join(",");
                writeln!(out, "{by:<9} {methods:<15} {:<90} {}", route.pattern, route.servlet).unwrap_or_default();
            }
        }
    }
    out
}

fn nginx() -> String {
    let mut out = String::from("# Routes that Myelin answers itself. `myelin_upstream` is yours to define.\n");
    for route in native() {
        let regex = unnamed(route);
        writeln!(out, "location ~ {regex} {{ proxy_pass http://myelin_upstream; }}").unwrap_or_default();
    }
    out
}

fn haproxy() -> String {
    let mut out = String::from("# Routes that Myelin answers itself: a map file for `path_reg`, or acl lines.\n");
    for route in native() {
        let (methods, _) = route.split_methods();
        let methods = methods.join(" ");
        writeln!(out, "acl myelin_path path_reg {}  # {methods} {}", unnamed(route), route.servlet).unwrap_or_default();
    }
    out
}

/// Proxies know neither named groups nor need them.
fn unnamed(route: &Route) -> String {
    let regex = pattern::to_regex(route.pattern);
    let mut out = String::new();
    let mut rest = regex.as_str();
    while let Some((before, after)) = rest.split_once("?P<") {
        out.push_str(before);
        rest = after.split_once('>').map_or("", |(_, rest)| rest);
    }
    out + rest
}

fn markdown() -> String {
    let mut out = String::from(
        "# Routes\n\nPrinted by `myelin routes --format markdown`: what a generic worker serves, and who answers when \
         Myelin is asked.\nThe header `X-Myelin: native|fallback` and the metric \
         `myelin_requests_total{servlet,answered_by}` say it of each request.\n\n\
         Also on Myelin's routes the fallback answers what is not native:\n\n\
         * rooms whose state is still being fetched (fast joins);\n\
         * what other servers or application services must be asked for, keys of their users included (MSC3983, \
         MSC3984), and requests of other servers while too many keys are being fetched;\n\
         * cross-signing keys that need a password, and devices that must be made;\n\
         * the experimental feature MSC2815 (redacted content);\n\
         * writes whose body is not as it should be (where Synapse's answer is an exception's or a library's), bodies \
         of writes and of other servers that are nested deeper than 128 levels, receipts in read_markers;\n\
         * terms of more than 4 KiB for user_directory/search, times beyond 64 bits for timestamp_to_event;\n\
         * with `modules:`, the routes whose answers a module can change.\n\n\
         Without a fallback these are 404 `M_UNRECOGNIZED`.\n\n\
         | Methods | Path | Servlet | Answered by |\n|---|---|---|---|\n",
    );
    for route in all() {
        let (native, passed_on) = route.split_methods();
        for (methods, by) in [(native, "Myelin"), (passed_on, "fallback")] {
            if !methods.is_empty() {
                let path = pattern::expand(route.pattern).replace('|', "\\|");
                writeln!(out, "| {} | `{path}` | {} | {by} |", methods.join(", "), route.servlet).unwrap_or_default();
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_style_has_its_lines() {
        assert!(print(Style::Plain).contains("native    GET             /.well-known/matrix/client"));
        assert!(print(Style::Nginx).contains("location ~ ^/\\.well-known/matrix/server$ {"));
        assert!(print(Style::Haproxy).contains("acl myelin_path path_reg ^/\\.well-known/matrix/client$  # GET"));
        assert!(
            print(Style::Markdown).contains("| POST | `/_matrix/client/(api/v1\\|r0\\|v3\\|unstable)/createRoom` |")
        );
    }
}
