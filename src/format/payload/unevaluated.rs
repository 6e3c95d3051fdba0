//! Text that a workflow tool sends in place of a value: an expression that was not evaluated, or what JavaScript writes for
//! a value that has no text of its own.
//!
//! The whole text must be one, so prose that mentions an expression is left alone. In one-line fields, an expression
//! anywhere in the text is rejected as well: nobody writes `{{ $json.name }}` into a title by hand.

/// A text that stands for a value that was never filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unevaluated {
    /// `{{ $json.title }}`, or `=` in front of one.
    Expression,
    /// `[object Object]`
    Object,
    /// `Invalid DateTime`
    Date,
    /// What the n8n editor shows before a node has run.
    Preview,
}

/// What n8n's expressions begin with, apart from `$`: functions and objects without it.
const VARIABLES: [&str; 5] = ["DateTime.", "JSON.", "Math.", "Object.", "new Date("];
/// n8n's own variables and functions, without `$`. Others are those of another tool, or an amount of money.
const NAMES: [&str; 36] = [
    "binary",
    "customData",
    "data",
    "env",
    "evaluateExpression",
    "execution",
    "fromAI",
    "getNodeParameter",
    "if",
    "ifEmpty",
    "input",
    "item",
    "itemIndex",
    "items",
    "jmespath",
    "jmesPath",
    "json",
    "max",
    "min",
    "mode",
    "node",
    "nodeId",
    "nodeVersion",
    "now",
    "pageCount",
    "parameter",
    "position",
    "prevNode",
    "request",
    "response",
    "runIndex",
    "secrets",
    "today",
    "vars",
    "webhookId",
    "workflow",
];
/// The n8n editor's texts for a value that it does not have yet.
const PREVIEWS: [&str; 3] = ["[Execute previous nodes for preview]", "[undefined]", "[null]"];
/// What JavaScript objects call themselves in `[object Object]`.
const OBJECTS: [&str; 24] = [
    "Arguments",
    "Array",
    "ArrayBuffer",
    "AsyncFunction",
    "Blob",
    "Boolean",
    "Date",
    "Error",
    "File",
    "FormData",
    "Function",
    "Headers",
    "Map",
    "Null",
    "Number",
    "Object",
    "Promise",
    "RegExp",
    "Request",
    "Response",
    "Set",
    "String",
    "Uint8Array",
    "Undefined",
];

impl Unevaluated {
    /// Recognizes a text that is nothing else.
    pub(crate) fn whole(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.starts_with("={{") || text.strip_prefix('=').is_some_and(has_expression) {
            return Some(Self::Expression);
        }
        let inner = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        let is_one = |inner: &str| if inner.contains("}}") { has_expression(text) } else { is_expression(inner) };
        if inner.is_some_and(is_one) {
            return Some(Self::Expression);
        }
        if text.strip_prefix("[object ").and_then(|it| it.strip_suffix(']')).is_some_and(|it| OBJECTS.contains(&it)) {
            return Some(Self::Object);
        }
        if ["Invalid DateTime", "Invalid Date"].contains(&text) {
            return Some(Self::Date);
        }
        (PREVIEWS.contains(&text) || is_preview(text)).then_some(Self::Preview)
    }

    /// Recognizes a text that contains one.
    pub(crate) fn part(text: &str) -> Option<Self> {
        if has_expression(text) {
            return Some(Self::Expression);
        }
        text.contains("[object Object]").then_some(Self::Object)
    }

    /// Says what it is.
    pub(crate) fn said(self) -> &'static str {
        match self {
            Self::Expression => "is an expression that was not evaluated",
            Self::Object => "is the text of a JavaScript object",
            Self::Date => "is the text of a date that could not be read",
            Self::Preview => "is the editor's text for a value that it does not have yet",
        }
    }

    /// Says what to do about it.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Expression => "in n8n, switch the field from Fixed to Expression",
            Self::Object => {
                "in n8n, send one of the object's fields, such as {{ $json.customer.name }}, or its JSON with JSON.stringify()"
            }
            Self::Date => {
                "in n8n, check the date's format where it is parsed, e.g. DateTime.fromFormat($json.due, 'dd.MM.yyyy')"
            }
            Self::Preview => "in n8n, switch the field to Expression and drag the value in again",
        }
    }
}

/// Whether there is an expression of n8n anywhere in the text. Takes one pass.
fn has_expression(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let Some((inner, behind)) = after.split_once("}}") else { return false };
        if is_expression(inner) {
            return true;
        }
        rest = behind;
    }
    false
}

/// Whether the text between braces is one of n8n's expressions: `{{ name }}` may be another tool's template.
fn is_expression(inner: &str) -> bool {
    let is_own = |rest: &str| {
        let name = rest.split(|it: char| !it.is_ascii_alphanumeric() && it != '_').next().unwrap_or_default();
        rest.starts_with('(') || NAMES.contains(&name)
    };
    let is_variable = |(at, _): (usize, &str)| {
        // `US$each` is no variable.
        !inner[..at].ends_with(char::is_alphanumeric) && is_own(&inner[at + 1..])
    };
    inner.match_indices('$').any(is_variable) || VARIABLES.iter().any(|it| inner.trim_start().starts_with(it))
}

/// Whether the text begins as an ISO date does.
fn is_date(text: &str) -> bool {
    text.split_once('-').is_some_and(|(year, _)| year.len() == 4 && year.bytes().all(|it| it.is_ascii_digit()))
}

/// Whether the text is how the n8n editor shows a value: `[Object: {"id":1}]`, `[Array: [1]]`, `[DateTime: 2026-…]`, or
/// asks for one: `[Execute node 'Webhook' for preview]`. A person may begin a text with the same words.
fn is_preview(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')) else { return false };
    let within = |name: &str, begin: char, end: char| {
        inner.strip_prefix(name).is_some_and(|it| it.starts_with(begin) && it.ends_with(end))
    };
    within("Object: ", '{', '}')
        || within("Array: ", '[', ']')
        || inner.strip_prefix("DateTime: ").is_some_and(is_date)
        || inner.starts_with("Execute node ") && inner.ends_with(" for preview")
}

#[cfg(test)]
mod tests {
    use super::Unevaluated::{Date, Expression, Object, Preview};
    use super::*;

    /// Otherwise a task is stored whose title is the expression that should have made it.
    #[test]
    fn what_n8n_sends_without_a_value_is_recognized() {
        for (text, is) in [
            ("{{ $json.title }}", Expression),
            (" {{$json[\"title\"]}} ", Expression),
            ("={{ $json.title }}", Expression),
            ("=Call {{ $('Webhook').item.json.name }}", Expression),
            ("={{", Expression),
            ("{{ DateTime.now() }}", Expression),
            ("{{ $now }}", Expression),
            ("{{ $json.first }} {{ $json.last }}", Expression),
            ("{{ new Date() }}", Expression),
            ("[object Object]", Object),
            ("[object Undefined]", Object),
            ("Invalid DateTime", Date),
            ("Invalid Date", Date),
            ("[Execute previous nodes for preview]", Preview),
            ("[Execute node 'Webhook' for preview]", Preview),
            ("[undefined]", Preview),
            ("[Object: {\"id\":1}]", Preview),
            ("[Array: [1,2]]", Preview),
            ("[DateTime: 2026-12-01T17:00:00.000Z]", Preview),
        ] {
            assert_eq!(Unevaluated::whole(text), Some(is), "{text}");
        }
    }

    /// Otherwise a task about a template, or in another tool's notation, cannot be created.
    #[test]
    fn prose_is_left_alone() {
        for text in [
            "Use {{name}} in the letter",
            "{{name}}",
            "{{ first_name }} pays $5",
            "{{ 5$each }}",
            "{{a}} costs $five {{b}}",
            "Template {{US $Dollar}}",
            "{{ $labels.instance }}",
            "[nullable] call back]",
            "Invalid date of birth on the form",
            "The workflow sent {{ $json.title }} as a title",
            "=SUM(A1:A2)",
            "[urgent] call back",
            "[Object: swallowed button battery, X-ray done]",
            "[Array: no longer in use]",
            "[DateTime: unknown]",
            "[DateTime: 5 pm on the 3rd]",
            "[Execute node check]",
            "[object removed]",
            "[object Removed]",
            "{{ unclosed $json",
            "",
        ] {
            assert_eq!(Unevaluated::whole(text), None, "{text}");
        }
        assert_eq!(Unevaluated::part("Use {{name}}, {{ other }} and $json"), None);
        assert_eq!(Unevaluated::part("{{a}} The workflow sent {{ $json.title }}"), Some(Expression));
        assert_eq!(Unevaluated::part("from [object Object]"), Some(Object));
    }
}
