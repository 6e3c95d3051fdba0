;; A component of the mapper world 1.2 that skips with what it gets of the URL: the path, then `&name=value` for each parameter.
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
  (import "hookmill:mapper/types@1.2.0" (instance $t (type $types)))
  (import "hookmill:mapper/request@1.2.0" (instance $r
    (export "headers" (func (result (list (tuple string string)))))
    (export "query" (func (result (list (tuple string string)))))
    (export "path" (func (result string)))))
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
  (core func $query (canon lower (func $r "query") (memory (core memory $mi "memory")) (realloc (core func $mi "realloc"))))
  (core func $path (canon lower (func $r "path") (memory (core memory $mi "memory")) (realloc (core func $mi "realloc"))))
  (core module $m
    (import "m" "memory" (memory 4))
    (import "m" "query" (func $query (param i32)))
    (import "m" "path" (func $path (param i32)))
    (global $end (mut i32) (i32.const 4096))
    (func $byte (param i32)
      (i32.store8 (global.get $end) (local.get 0))
      (global.set $end (i32.add (global.get $end) (i32.const 1))))
    (func $append (param $from i32) (param $length i32)
      (block $done
        (loop $next
          (br_if $done (i32.eqz (local.get $length)))
          (call $byte (i32.load8_u (local.get $from)))
          (local.set $from (i32.add (local.get $from) (i32.const 1)))
          (local.set $length (i32.sub (local.get $length) (i32.const 1)))
          (br $next))))
    (func (export "transform") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      (local $pair i32) (local $left i32)
      (call $path (i32.const 1024))
      (call $append (i32.load (i32.const 1024)) (i32.load (i32.const 1028)))
      (call $query (i32.const 1024))
      (local.set $pair (i32.load (i32.const 1024)))
      (local.set $left (i32.load (i32.const 1028)))
      (block $done
        (loop $next
          (br_if $done (i32.eqz (local.get $left)))
          (call $byte (i32.const 38))
          (call $append (i32.load (local.get $pair)) (i32.load (i32.add (local.get $pair) (i32.const 4))))
          (call $byte (i32.const 61))
          (call $append
            (i32.load (i32.add (local.get $pair) (i32.const 8))) (i32.load (i32.add (local.get $pair) (i32.const 12))))
          (local.set $pair (i32.add (local.get $pair) (i32.const 16)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $next)))
      ;; ok(skip(text)): result tag, outcome tag, pointer, length
      (i32.store (i32.const 0) (i32.const 0))
      (i32.store (i32.const 4) (i32.const 1))
      (i32.store (i32.const 8) (i32.const 4096))
      (i32.store (i32.const 12) (i32.sub (global.get $end) (i32.const 4096)))
      (i32.const 0)))
  (core instance $offered
    (export "memory" (memory $mi "memory")) (export "query" (func $query)) (export "path" (func $path)))
  (core instance $i (instantiate $m (with "m" (instance $offered))))
  (func (export "transform") (param "payload" string) (param "context" $context) (result (result $outcome (error $error)))
    (canon lift (core func $i "transform") (memory (core memory $mi "memory")) (realloc (core func $mi "realloc")))))
