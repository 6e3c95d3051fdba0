//! What the author of a script or of an expression reads when it fails: file, line, column, message and statement.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Setup, binary};

/// Runs a plugin's mapping over a payload, and returns everything that is said.
fn run(setup: &Setup, payload: &Value) -> String {
    let mut command = binary();
    command.args(["plugin", "run", "guest", "--json"]).current_dir(&setup.plugins);
    command.env("XDG_CACHE_HOME", setup.data.with_extension("c"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(payload.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    said.replace("\\\"", "\"")
}

#[test]
fn every_error_of_a_script_names_its_place_and_its_statement() {
    let mut setup = Setup::new();
    let (payload, mut wrong) = (json!({"name": "Ada", "list": [1]}), Vec::new());
    for (script, expected) in [
        (
            "export default (e) => ({\n  title: e.a.b,\n});",
            "mapper.js:2:10: TypeError: cannot read property 'b' of undefined, in: title: e.a.b,",
        ),
        ("export default (e) => {\n  const { a } = e.b;\n};", "mapper.js:2:3: TypeError: "),
        (
            "export default (e) => {\n  e.name.shout();\n};",
            "mapper.js:2:10: TypeError: `shout` is not a function, in: e.name.shout();",
        ),
        (
            "export default (e) => {\n  throw new Error('no');\n};",
            "mapper.js:2:13: Error: no, in: throw new Error('no');",
        ),
        ("export default (e) => {\n  throw 'text';\n};", "mapper.js:2:9: threw text, in: throw 'text';"),
        (
            "export default async (e) => {\n  await 1;\n  throw new TypeError('late');\n};",
            "mapper.js:3:13: TypeError: late, in: throw new TypeError('late');",
        ),
        (
            "export default (e) => {\n  Promise.reject(new Error('lost'));\n  return { title: 'a', description: 'b' };\n};",
            "mapper.js:2:22: Error: lost, in: Promise.reject",
        ),
        (
            "export default async () => {\n  Promise.reject(new Error('A'));\n  try { await Promise.reject(new Error('B')); } catch {}\n  return { title: 'a', description: 'b' };\n};",
            "mapper.js:2:22: Error: A",
        ),
        (
            "export default () => new Promise(() => {});",
            "mapper.js:1:15: the promise that the function returned never settles",
        ),
        ("export defualt (e) => 1;", "mapper.js:1:16: SyntaxError: "),
        ("export default (e) => {\n  return { title: 'unclosed };\n};", "mapper.js:2:"),
        ("export const transform = () => 1;", "mapper.js: the script has no default export; it exports `transform`"),
        ("export default { title: 'x' };", "mapper.js: `export default` must be a function"),
        ("export default () => 5;", "mapper.js:1:15: the function returned a number"),
        ("export default () => {};", "mapper.js:1:15: the function returned undefined"),
        ("export default () => [];", "mapper.js:1:15: the function returned an empty array"),
        (
            "export default (e, { skip }) => {\n  skip('no');\n  return { title: 'a', description: 'b' };\n};",
            "mapper.js:1:15: skip() was called, but what it returns was not returned",
        ),
        (
            "export default (e, { refuse }) => { refuse('no'); return { title: 'a', description: 'b' }; };",
            "refuse() was called, but what it returns was not thrown",
        ),
        (
            "export default () => ({ title: new Date().toLocaleDateString('de-DE'), description: 'b' });",
            "toLocaleDateString is not supported, because it needs Intl",
        ),
        (
            "export default () => ({ title: 'a', description: 'b', deadline: DateTime.fromISO(undefined).plus({ days: 1 }) });",
            "deadline is a date that could not be read",
        ),
        ("export default (e) => { const x = await 1; };", "only an async function can wait"),
        ("export default () => [[]];", "the function returned an array as item 0"),
        (
            "export default () => ({\n  title: 'a', description: 'b',\n  callId: 'c',\n});",
            "mapper.js:3:3: no task has the field `callId`; did you mean `call_id`?, in: callId: 'c',",
        ),
        ("export default () => ({ description: 'b' });", "mapper.js:1:8: title: required, in: export default"),
        (
            "export default () => ({\n  title: 'a', description: 'b',\n  deadline: new Date('nope'),\n});",
            "mapper.js:3:3: deadline is a date that could not be read, in: deadline: new Date('nope'),",
        ),
        (
            "export default () => ({\n  title: 'a', description: 'b',\n  deadline: DateTime.fromISO('24.12.2026'),\n});",
            "mapper.js:3:3: deadline is a date that could not be read: \"24.12.2026\" is not an ISO 8601 date",
        ),
        (
            "export default () => ({ title: 'a', description: 'b', tags: [0 / 0] });",
            "tags/0 is NaN, which is not a number in JSON",
        ),
        (
            "export default () => ({ title: 'a', description: Promise.resolve(1) });",
            "description is a promise; write `await` before it",
        ),
        ("export default () => { const x = {}; x.x = x; return x; };", "is nested too deeply, or contains itself"),
        (
            "import x from './no.js';\nexport default () => 1;",
            "mapper.js:1:15: ReferenceError: cannot import \"./no.js\": the folder has no such file",
        ),
        (
            "import x from 'lodash';\nexport default () => 1;",
            "mapper.js:1:15: ReferenceError: cannot import \"lodash\": only files next to the script",
        ),
        ("import x from '../guest/mapper.js';\nexport default () => 1;", "only files next to the script"),
        (
            "const x = require('y');\nexport default () => 1;",
            "mapper.js:1:11: ReferenceError: require is not defined; import files next to the script",
        ),
        (
            "export default () => ({ title: $json.x });",
            "ReferenceError: $json is not defined; the payload is the first argument of the function",
        ),
        ("export default () => fetch('http://x');", "ReferenceError: fetch is not defined; the sandbox has no network"),
        ("for (;;);\nexport default () => 1;", "the script takes too long before its function is called"),
        ("export default function f() { return f() + 1; }", "mapper.js:1:"),
        ("throw new Error('at once'); export default () => 1;", "mapper.js:1:11: Error: at once"),
    ] {
        setup = setup.script("guest", script);
        let said = run(&setup, &payload);
        if !said.contains(expected) {
            wrong.push(format!("{script}\nexpected: {expected}\nsaid: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn an_error_in_an_imported_file_names_that_file_and_its_callers() {
    let setup = Setup::new().mapping(
        "guest",
        "script = \"mapper.js\"\n",
        &[
            ("mapper.js", "import { f } from './lib.js';\nexport default (e) => f(e);"),
            ("lib.js", "\nexport const f = (e) => e.a.b;"),
        ],
    );
    let said = run(&setup, &json!({}));
    assert!(said.contains("lib.js:2:25: TypeError: ") && said.contains("in: export const f = (e) => e.a.b;"), "{said}");
    assert!(said.contains("called at mapper.js:2:"), "{said}");
}

#[test]
fn every_error_of_an_expression_names_its_field() {
    let mut setup = Setup::new();
    for (task, expected) in [
        (
            "title = \"{{ $json.a.b }}\"",
            "plugin.toml: [task] title: TypeError: cannot read property 'b' of undefined, in: {{ $json.a.b }}",
        ),
        ("title = \"{{ $json.a( }}\"", "plugin.toml: [task] title: SyntaxError: "),
        ("title = \"{{ $json.a\"", "plugin.toml: [task] title: SyntaxError: `{{` without `}}`"),
        ("title = \"x\"\nwhen = \"$json.a\"", "[task] when: SyntaxError: write one expression in double braces"),
        ("title = \"x\"\nwhen = \"{{ true }} && {{ false }}\"", "[task] when: SyntaxError: write one expression"),
        ("title = \"at {{ DateTime.fromISO('x') }}\"", "[task] title: RangeError: a date could not be read"),
        ("title = \"n {{ 0 / 0 }}\"", "[task] title: RangeError: the value is NaN, not a number"),
        ("title = \"{{ skip('x') }}\"", "skip is not available in expressions"),
        ("title = \"{{ }}\"", "plugin.toml: [task] title: SyntaxError: the expression is empty"),
        (
            "title = \"x\"\nwhen = \"{{ $('Webhook').item }}\"",
            "[task] when: ReferenceError: $(\"Webhook\") refers to other nodes",
        ),
        (
            "title = \"{{ $env.HOME }}\"",
            "[task] title: ReferenceError: $env is not available; put settings into [config]",
        ),
        ("title = \"x\"\neach = \"{{ $json.name }}\"", "plugin.toml: [task] each: each is \"Ada\", not a list"),
        (
            "title = \"x\"\ndeadline = \"{{ '24/12/2026'.toDateTime() }}\"",
            "[task] deadline: RangeError: in \"24/12/2026\", day and month could be either",
        ),
        (
            "title = \"x\"\ndeadline = \"{{ new Date('x') }}\"",
            "plugin.toml: [task] deadline: deadline is a date that could not be read",
        ),
        ("title = \"{{ $json.missing }}\"", "plugin.toml: [task] title: required, in: {{ $json.missing }}"),
        ("title = \"x\"\ncallId = \"y\"", "callId"),
    ] {
        setup = setup.mapping("guest", &format!("[task]\ndescription = \"d\"\n{task}\n"), &[]);
        let said = run(&setup, &json!({"name": "Ada"}));
        assert!(said.contains(expected), "{task}\nexpected: {expected}\nsaid: {said}");
    }
}
