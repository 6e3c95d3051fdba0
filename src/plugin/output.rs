//! How much a plugin may say of one event, besides `output_kib`: JSON of few bytes can take much memory.

/// Most tasks of one event.
const TASKS: usize = 1000;
/// Most JSON values of all tasks together, about: each takes some 30 bytes of memory or more.
const VALUES: usize = 1_000_000;

/// About how many JSON values a text has: one more than it has commas.
pub(super) fn values(text: &[u8]) -> usize {
    1 + text.iter().filter(|byte| **byte == b',').count()
}

/// Nothing, where that many are taken.
///
/// # Errors
/// What is too much.
pub(super) fn check_size(tasks: usize, values: usize) -> Result<(), String> {
    if tasks > TASKS {
        return Err(format!("{tasks} tasks for one event; {TASKS} are taken at most"));
    }
    if values > VALUES {
        return Err(format!("its tasks have about {values} JSON values; {VALUES} are taken at most"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_are_taken_and_one_more() {
        let list = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert_eq!((values(b"0"), values(list(5).as_bytes())), (1, 5));
        assert_eq!(check_size(TASKS, values(list(VALUES).as_bytes())), Ok(()));
        assert!(check_size(1, values(list(VALUES + 1).as_bytes())).is_err_and(|it| it.contains("JSON values")));
        assert!(check_size(TASKS + 1, 1).is_err());
    }
}
