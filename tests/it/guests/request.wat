;; A component of the mapper world 1.1 that skips with the value of the first header that it gets.
(component
  (type $types (instance
    (type $context (record
      (field "event-id" string) (field "integration" string) (field "received-at" string)
      (field "company-id" string) (field "config" string)))
    (export "context" (type (eq $context)))
    (type $outcome (variant (case "tasks" (list string)) (case "skip" string)))
    (export "outcome" (type (eq $outcome)))
    (type $error (record (field "message" string) (field "pointer" (option string))))
    (export "map-error" (type (eq $error)))))
  (import "hookmill:mapper/types@1.1.0" (instance $t (type $types)))
  (import "hookmill:mapper/request@1.1.0" (instance $r
    (export "headers" (func (result (list (tuple string string)))))))
  (alias export $t "context" (type $context))
  (alias export $t "outcome" (type $outcome))
  (alias export $t "map-error" (type $error))
  (core module $memory
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8))))))
  (core instance $mi (instantiate $memory))
  (core func $headers (canon lower (func $r "headers") (memory (core memory $mi "memory")) (realloc (core func $mi "realloc"))))
  (core module $m
    (import "m" "memory" (memory 4))
    (import "m" "headers" (func $headers (param i32)))
    (func (export "transform") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      (local $first i32)
      (call $headers (i32.const 1024))
      (local.set $first (i32.load (i32.const 1024)))
      ;; ok(skip(value)): result tag, outcome tag, pointer, length
      (i32.store (i32.const 0) (i32.const 0))
      (i32.store (i32.const 4) (i32.const 1))
      (i32.store (i32.const 8) (i32.load (i32.add (local.get $first) (i32.const 8))))
      (i32.store (i32.const 12) (i32.load (i32.add (local.get $first) (i32.const 12))))
      (i32.const 0)))
  (core instance $offered (export "memory" (memory $mi "memory")) (export "headers" (func $headers)))
  (core instance $i (instantiate $m (with "m" (instance $offered))))
  (func (export "transform") (param "payload" string) (param "context" $context) (result (result $outcome (error $error)))
    (canon lift (core func $i "transform") (memory (core memory $mi "memory")) (realloc (core func $mi "realloc")))))
