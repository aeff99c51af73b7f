//! Our reading of YAML against the real PyYAML, on generated documents.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use proptest::prelude::*;
use serde_json::{Value, json};

const SCRIPT: &str = r"
import json, sys, yaml, datetime, math
def tame(v):
    if isinstance(v, dict): return {key(k): tame(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)): return [tame(x) for x in v]
    if isinstance(v, float) and not math.isfinite(v): return 'nonfinite'
    if isinstance(v, (bytes, datetime.date, datetime.datetime, set)): return 'foreign'
    return v
def key(k): return k if isinstance(k, str) else json.dumps(k)
for line in sys.stdin:
    try: answer = {'ok': tame(yaml.safe_load(json.loads(line)))}
    except Exception as e: answer = {'error': type(e).__name__}
    print(json.dumps(answer), flush=True)
";

struct PyYaml {
    _child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl PyYaml {
    fn start() -> Self {
        let python = std::env::var("MYELIN_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let mut child = Command::new(&python)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {python}, which must have PyYAML: {error}"));
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { _child: child, stdin, stdout: BufReader::new(stdout) }
    }

    fn load(&mut self, text: &str) -> Value {
        writeln!(self.stdin, "{}", json!(text)).expect("PyYAML listens");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("PyYAML answers");
        serde_json::from_str(&line).expect("PyYAML answers; set MYELIN_PYTHON to a python3 that has it")
    }
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        "[-+]?[0-9_:.]{1,8}",
        "[-+]?0[xbo]?[0-9a-f_]{0,5}",
        "[-+]?[0-9]{0,3}\\.[0-9_]{0,3}([eE][-+]?[0-9]{1,2})?",
        "(yes|Yes|YES|yEs|no|No|NO|on|On|ON|off|Off|OFF|true|True|tRue|false|y|n|null|Null|NULL|~|)",
        "\\.(inf|Inf|INF|nan|NaN)",
        "'[a-z0-9 ]{0,5}'",
        "\"[a-z0-9 ]{0,5}\"",
        "[a-zA-Z][a-zA-Z0-9_./-]{0,6}",
    ]
}

fn document() -> impl Strategy<Value = String> {
    let entry = (prop_oneof!["[a-c]", Just("<<".to_owned())], scalar());
    let entries = prop::collection::vec(entry, 1..5);
    prop_oneof![
        scalar().prop_map(|text| format!("key: {text}\n")),
        prop::collection::vec(scalar(), 1..4).prop_map(|items| format!("- {}\n", items.join("\n- "))),
        entries.prop_map(|entries| {
            let body: String = entries
                .iter()
                .map(
                    |(key, value)| if key == "<<" { "  <<: *base\n".to_owned() } else { format!("  {key}: {value}\n") },
                )
                .collect();
            format!("base: &base {{a: 1, z: yes}}\nuse:\n{body}")
        }),
    ]
}

/// Dates, binary and non-finite numbers have no JSON form, and no setting of Synapse takes them.
fn is_foreign(value: &Value) -> bool {
    match value {
        Value::String(text) => text == "foreign" || text == "nonfinite",
        Value::Array(items) => items.iter().any(is_foreign),
        Value::Object(map) => map.values().any(is_foreign),
        _ => false,
    }
}

/// Numbers are equal as numbers, however they are written.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_f64() && b.is_f64() && a.as_f64() == b.as_f64()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => ours == theirs,
    }
}

#[test]
fn reads_as_pyyaml_does() {
    let python = Mutex::new(PyYaml::start());
    let config = ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(text in document())| {
        let theirs = python.lock().unwrap().load(&text);
        let ours = myelin_config::yaml::load(&text);
        match theirs.get("ok") {
            Some(theirs) if is_foreign(theirs) => {}
            Some(theirs) => {
                let ours = ours.map_err(|error| TestCaseError::fail(format!("{text:?}: {error}")))?;
                prop_assert!(same(&ours, theirs), "{text:?}: ours {ours}, theirs {theirs}");
            }
            // We may accept a little more than PyYAML, but never crash.
            None => drop(ours),
        }
    });
}
