//! Suggests the name that a misspelled one most likely means.

/// Maximum length of a name that is compared, in bytes: the distance takes a step for each pair of letters.
const LONGEST: usize = 40;

/// Returns the known name that a misspelled one most likely means. Case and punctuation do not count: `patientId` and
/// `patient-id` mean `patient_id`.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let sent = plain(name);
    let distances = known.into_iter().map(|it| (strsim::osa_distance(&sent, &plain(it)), it));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    let most = if nearest.len() > 16 { 3 } else { 2 };
    (distance <= nearest.len().div_ceil(3).min(most)).then_some(nearest)
}

fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|it| it.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    /// A wrong suggestion is worse than none.
    #[test]
    fn only_a_likely_name_is_suggested() {
        let known = ["module", "schema", "call_id", "fax_id", "type"];
        for (sent, meant) in [
            ("modul", Some("module")),
            ("shcema", Some("schema")),
            ("callId", Some("call_id")),
            ("Call-ID", Some("call_id")),
            ("typ", Some("type")),
            ("tpye", Some("type")),
            ("title", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(sent, known), meant, "{sent}");
        }
        assert_eq!(nearest(&"module".repeat(8), ["module".repeat(8).as_str()]), None, "long names are not compared");
    }
}
