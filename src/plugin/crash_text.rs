//! Finds why a command crashed in what it wrote to stderr, in the form in which its language says so.

use super::bounded::cut;

/// Returns the reason of a program that ended with an exit code: a Go program whose panic nobody recovered. Without its
/// stack, a line that begins with "panic: " is a refusal in the plugin's own words.
pub(super) fn of_exit(stderr: &str) -> Option<String> {
    let lines: Vec<&str> = stderr.lines().collect();
    let stack = lines.iter().rposition(|it| it.starts_with("goroutine ") && it.ends_with("]:"))?;
    let panics = |it: &&str| it.starts_with("panic: ") || it.starts_with("fatal error: ");
    let reason = lines.get(..stack)?.iter().copied().rfind(panics)?;
    // The function, and then its place: "main.main()" and "\torders/main.go:12 +0x5".
    let own = lines.get(stack..)?.windows(2).find(|it| it[0].starts_with("main."));
    let place = own.and_then(|it| it[1].split(" +0x").next()).map(|it| it.trim().rsplit('/').next().unwrap_or(it));
    Some(cut(&place.map_or_else(|| reason.to_owned(), |place| format!("{place}: {reason}"))))
}

/// Returns the reason of a program that trapped: a panic in Rust, or a failed `assert` in C.
pub(super) fn of_trap(stderr: &str) -> Option<String> {
    let lines: Vec<&str> = stderr.lines().collect();
    for (index, line) in lines.iter().enumerate().rev() {
        if line.starts_with("Assertion failed: ") {
            return Some(cut(line));
        }
        let place = line.split_once(" panicked at ").and_then(|(_, place)| place.strip_suffix(':'));
        if let (true, Some(place)) = (line.starts_with("thread "), place) {
            let reason = lines.get(index + 1).copied().unwrap_or_default();
            return Some(cut(&format!("{place}: {reason}")));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{of_exit, of_trap};

    const GO: &str = "starting\npanic: runtime error: index out of range [3] with length 2\n\ngoroutine 1 [running]:\nmain.title(...)\n\torders/main.go:40\nmain.main()\n\torders/main.go:12 +0x5\n";

    /// Otherwise the sender and the author read a stack frame.
    #[test]
    fn a_go_panic_is_its_own_line_with_its_place() {
        let said = "main.go:40: panic: runtime error: index out of range [3] with length 2";
        assert_eq!(of_exit(GO).as_deref(), Some(said));
        let foreign = "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [select (no cases)]:\nruntime.x()\n\tx.go:1 +0x1\n";
        assert_eq!(of_exit(foreign).as_deref(), Some("fatal error: all goroutines are asleep - deadlock!"));
    }

    /// What a plugin says when it refuses a payload stays its message.
    #[test]
    fn a_refusal_is_not_a_crash() {
        for text in ["", "no name", "panic: not really", "goroutine 1 [running]:\npanic: after it"] {
            assert_eq!(of_exit(text), None, "{text}");
        }
        assert_eq!(of_trap("no name\nmain panicked at noon:\n"), None);
    }

    #[test]
    fn a_rust_panic_and_a_c_assertion_have_their_place() {
        let rust = "\nthread 'main' (1) panicked at src/main.rs:3:5:\nno name\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(of_trap(rust).as_deref(), Some("src/main.rs:3:5: no name"));
        let c = "Assertion failed: text (src/main.c: main: 12)\n";
        assert_eq!(of_trap(c).as_deref(), Some("Assertion failed: text (src/main.c: main: 12)"));
    }
}
