//! The values of a payload, by their names.

use std::collections::VecDeque;

use serde_json::Value;

/// Maximum depth at which a guess looks for values.
const DEPTH: usize = 4;
/// Maximum number of values that a guess looks at.
const VALUES: usize = 5_000;
/// Maximum length of a name in a guess, in bytes.
const NAME: usize = 100;

/// A value of the payload.
#[derive(Debug)]
pub(super) struct NamedValue<'a> {
    /// Names of the members that lead to it.
    pub(super) steps: Vec<String>,
    pub(super) value: &'a Value,
    /// Its name without letter case and separators, and the same with its parent's name in front.
    names: [String; 2],
}

/// All values of a payload that are not objects, those near the top first.
#[derive(Debug)]
pub(super) struct NamedValues<'a>(Vec<NamedValue<'a>>);

impl<'a> NamedValues<'a> {
    pub(super) fn of(payload: &'a Value) -> Self {
        let mut found = Vec::new();
        let mut objects = VecDeque::from([(Vec::<String>::new(), payload)]);
        while let Some((steps, object)) = objects.pop_front() {
            for (name, value) in object.as_object().into_iter().flatten() {
                if name.len() > NAME || found.len() + objects.len() >= VALUES {
                    continue;
                }
                let mut steps = steps.clone();
                let (own, parent) = (plain(name), steps.last().map(|it| plain(it)).unwrap_or_default());
                steps.push(name.clone());
                if !value.is_object() {
                    let whole = parent + &own;
                    found.push(NamedValue { steps, value, names: [own, whole] });
                } else if steps.len() < DEPTH {
                    objects.push_back((steps, value));
                }
            }
        }
        Self(found)
    }

    /// Returns the value near the top whose name is first in the list.
    pub(super) fn find(&self, names: &[&str], accepts: impl Fn(&NamedValue<'a>) -> bool) -> Option<&NamedValue<'a>> {
        let rank = |place: &NamedValue<'a>| {
            let name = names.iter().position(|name| place.names.iter().any(|it| it == name))?;
            Some((place.steps.len(), name))
        };
        let ranked = self.0.iter().filter(|it| accepts(it)).filter_map(|it| Some((rank(it)?, it)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, it)| it)
    }
}

/// Returns a name without letter case and separators.
fn plain(name: &str) -> String {
    name.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::NamedValues;

    /// Otherwise the job title of somebody becomes the title of the task.
    #[test]
    fn a_name_near_the_top_is_found_first() {
        let payload = json!({ "user": { "title": "Dr." }, "Subject": "Call", "patient": { "id": 7 }, "id": 8 });
        let places = NamedValues::of(&payload);
        let find = |names: &[&str]| places.find(names, |_| true).map(|it| it.steps.join("/"));
        assert_eq!(find(&["title", "subject"]).as_deref(), Some("Subject"));
        assert_eq!(find(&["patientid"]).as_deref(), Some("patient/id"));
        assert_eq!(find(&["usertitle"]).as_deref(), Some("user/title"));
        assert_eq!(find(&["nothing"]), None);
    }

    /// A body of 1 MiB must not take minutes.
    #[test]
    fn a_payload_of_any_size_is_read_in_bounded_time() {
        let wide: serde_json::Map<_, _> =
            (0..100_000).map(|it| (format!("n{it}"), json!({ "a": { "b": it } }))).collect();
        let started = std::time::Instant::now();
        assert!(NamedValues::of(&wide.into()).0.len() <= 5_000);
        assert!(started.elapsed() < std::time::Duration::from_secs(10));
    }
}
