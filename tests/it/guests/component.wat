;; A component of the mapper world whose transform runs BODY and then skips with the reason "done".
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
  (import "hookmill:mapper/types@1.0.0" (instance $t (type $types)))
  (alias export $t "context" (type $context))
  (alias export $t "outcome" (type $outcome))
  (alias export $t "map-error" (type $error))
  (core module $m
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 65536))
    (data (i32.const 64) "done")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8)))))
    (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))
    (func (export "transform") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      BODY
      ;; ok(skip("done")): result tag, outcome tag, pointer, length
      (i32.store (i32.const 0) (i32.const 0))
      (i32.store (i32.const 4) (i32.const 1))
      (i32.store (i32.const 8) (i32.const 64))
      (i32.store (i32.const 12) (i32.const 4))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (func (export "transform") (param "payload" string) (param "context" $context) (result (result $outcome (error $error)))
    (canon lift (core func $i "transform") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
