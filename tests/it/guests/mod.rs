//! Small guests as WebAssembly text.

/// A command that writes this text to stdout.
pub fn says(text: &str) -> String {
    include_str!("command.wat").replace("TEXT", &escaped(text)).replace("LENGTH", &text.len().to_string())
}

/// A component whose transform runs this code first.
pub fn component(body: &str) -> String {
    include_str!("component.wat").replace("BODY", body)
}

/// A command with these definitions; `$exit`, `$write` and one page of memory are there.
pub fn command(definitions: &str) -> String {
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_filestat_get" (func $filestat (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
          (memory (export "memory") 1)
          {definitions})"#
    )
}

/// A component that writes this error to its log, and then runs this code.
pub fn logs_error(text: &str, body: &str) -> String {
    let wat = include_str!("crash.wat").replace("LENGTH", &text.len().to_string());
    wat.replace("\"LOG\"", &format!("\"{}\"", escaped(text))).replace("BODY", body)
}

/// A command that writes this text to stderr, and then runs this code.
pub fn complains(text: &str, body: &str) -> String {
    command(&format!(
        r#"(data (i32.const 1024) "{}")
        (func (export "_start")
          (i32.store (i32.const 0) (i32.const 1024))
          (i32.store (i32.const 4) (i32.const {}))
          (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
          {body})"#,
        escaped(text),
        text.len()
    ))
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("\\{byte:02x}")).collect()
}
