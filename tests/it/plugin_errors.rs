//! Errors of a failing plugin: they say enough to find the cause, and nothing of the payload.

use serde_json::json;

use crate::guests::command;
use crate::harness::Setup;

const CRASH: &str = r#"
  (data (i32.const 200) "looking at the invoice\n")
  (func $parse_amount (unreachable))
  (func $read_invoice (call $parse_amount))
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 200)) (i32.store (i32.const 4) (i32.const 23))
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $read_invoice))"#;

#[test]
fn a_crash_names_plugin_reason_functions_payload_event_and_what_to_try() {
    let server = Setup::new().plugin("guest", "", &command(CRASH)).start();
    let payload = json!({"patient": "Ada Lovelace"});
    let reply = server.post("/v1/hooks/guest", &payload).expect(502);
    let (message, event) = (reply.message(), reply.header("x-event-id").to_owned());
    let size = format!("{} bytes", payload.to_string().len());
    for part in ["guest: ", "unreachable", "parse_amount < read_invoice", &size, &event, "hookmill plugin run"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // The admin finds the same in the event, with the plugin's log until then.
    let kept = server.get(&format!("/v1/events/{event}")).expect(200).json();
    assert_eq!(kept["reason"]["message"], message);
    assert_eq!(kept["plugin_log"], "looking at the invoice\n");
    let log = server.stop();
    assert!(!log.contains("Lovelace") && !log.contains("invoice\n"), "{log}");
}

#[test]
fn a_limit_names_its_setting_and_a_refusal_is_the_plugins_own_words() {
    let spin = command("(func (export \"_start\") (loop (br 0)))");
    let refuse = command(
        r#"(data (i32.const 200) "the invoice has no date\n")
        (func (export "_start")
          (i32.store (i32.const 0) (i32.const 200)) (i32.store (i32.const 4) (i32.const 24))
          (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
          (call $exit (i32.const 3)))"#,
    );
    let server = Setup::new().plugin("spin", "[limits]\ntime_ms = 20\n", &spin).plugin("refuse", "", &refuse).start();
    let message = server.post("/v1/hooks/spin", &json!({})).expect(502).message();
    assert!(message.contains("20 ms") && message.contains("raise time_ms in plugin.toml"), "{message}");
    let message = server.post("/v1/hooks/refuse", &json!({})).expect(422).message();
    assert_eq!(message, "the invoice has no date");
}
