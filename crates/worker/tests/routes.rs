//! `myelin routes` and the page made from it.

use std::process::Command;

/// Set it to write the page instead of comparing it.
const WRITE: &str = "MYELIN_WRITE_DOCS";

#[test]
fn the_page_lists_the_routes_as_they_are() {
    let output = Command::new(env!("CARGO_BIN_EXE_myelin")).args(["routes", "--format", "markdown"]).output().unwrap();
    assert!(output.status.success());
    let wanted = String::from_utf8(output.stdout).unwrap();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/routes.md");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(page, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(page).unwrap();
    assert!(found == wanted, "docs/routes.md is stale: run this test with {WRITE}=1");
}
