//! A JSON value as nested lists that fold, with marks at places. What is rendered is limited, and the page says what was left out.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;

use super::json_node::JsonNode;
use super::visible;

/// Most values of a tree, and most members or items of one of them.
const MOST: usize = 2000;
const MOST_OF_ONE: usize = 200;
/// Deeper values are left out.
const DEEPEST: usize = 40;
/// Deeper values are folded at first.
const OPEN: usize = 3;
/// Longer texts are folded, in characters; the beginning that is shown.
const LONG: usize = 200;
const SHOWN: usize = 80;

/// What a tree says at a place.
#[derive(Debug, Clone)]
pub(in super::super) struct TreeMark {
    /// JSON Pointer. If there is no such place, the mark is at the nearest one around it.
    pub(in super::super) pointer: String,
    pub(in super::super) message: String,
}

/// A value of the API as a tree.
pub(in super::super) fn json_tree(value: &Value, marks: &[TreeMark]) -> Markup {
    node_tree(&JsonNode::of(value), marks)
}

/// JSON as it was written as a tree.
pub(in super::super) fn node_tree(node: &JsonNode<'_>, marks: &[TreeMark]) -> Markup {
    let mut at: BTreeMap<String, Vec<&TreeMark>> = BTreeMap::new();
    for mark in marks {
        at.entry(existing(node, &mark.pointer)).or_default().push(mark);
    }
    let mut tree = TreeWriter { marks: at, left: MOST };
    let content = tree.value(node, None, "", 0);
    html! {
        ul.tree { (content) }
        @if tree.left == 0 { p.muted { "Only the first " (super::count(MOST as u64)) " values are shown." } }
        @if !tree.marks.is_empty() {
            ul {
                @for mark in tree.marks.values().flatten() {
                    li { code { (visible(&mark.pointer)) } " " span.tree-mark { (visible(&mark.message)) } }
                }
            }
        }
    }
}

/// The longest beginning of a pointer that leads to a value.
fn existing(node: &JsonNode<'_>, pointer: &str) -> String {
    let (mut node, mut found) = (node, String::new());
    for step in pointer.split('/').skip(1) {
        let Some(next) = node.step(&step.replace("~1", "/").replace("~0", "~")) else { break };
        node = next;
        found.push('/');
        found.push_str(step);
    }
    found
}

struct TreeWriter<'a> {
    /// Marks that are not written yet.
    marks: BTreeMap<String, Vec<&'a TreeMark>>,
    /// Values that may still be written.
    left: usize,
}

impl TreeWriter<'_> {
    fn value(&mut self, node: &JsonNode<'_>, name: Option<&str>, pointer: &str, depth: usize) -> Markup {
        if self.left == 0 {
            return html! {};
        }
        self.left -= 1;
        let marks = self.marks.remove(pointer).unwrap_or_default();
        let label = html! { @if let Some(name) = name { span.tree-name { (visible(name)) } ": " } };
        let said = html! { @for mark in &marks { " " strong.tree-mark { (visible(&mark.message)) } } };
        let class = if marks.is_empty() { None } else { Some("tree-marked") };
        let (open, close, count) = match node {
            JsonNode::Object(fields) if !fields.is_empty() => ("{", "}", fields.len()),
            JsonNode::Array(items) if !items.is_empty() => ("[", "]", items.len()),
            leaf => return html! { li class=[class] { (label) (leaf_value(leaf)) (said) } },
        };
        let is_open = depth < OPEN || self.has_marks_in(pointer);
        let kind = if open == "{" { "member" } else { "item" };
        let content = self.content(node, pointer, depth);
        html! {
            li class=[class] {
                details open[is_open] {
                    summary {
                        (label) span.muted { (open) " " (super::count(count as u64)) " " (kind) @if count != 1 { "s" } " " (close) }
                        (said)
                    }
                    (content)
                }
            }
        }
    }

    fn content(&mut self, node: &JsonNode<'_>, pointer: &str, depth: usize) -> Markup {
        if depth == DEEPEST {
            return html! { p.muted { "Deeper values are not shown." } };
        }
        let count = match node {
            JsonNode::Object(fields) => fields.len(),
            JsonNode::Array(items) => items.len(),
            JsonNode::Text(_) | JsonNode::Other(_) => 0,
        };
        let mut shown = Vec::new();
        match node {
            JsonNode::Object(fields) => {
                for (name, it) in fields.iter().take(MOST_OF_ONE) {
                    let step = name.replace('~', "~0").replace('/', "~1");
                    shown.push(self.value(it, Some(name), &format!("{pointer}/{step}"), depth + 1));
                }
            }
            JsonNode::Array(items) => {
                for (n, it) in items.iter().enumerate().take(MOST_OF_ONE) {
                    shown.push(self.value(it, Some(&n.to_string()), &format!("{pointer}/{n}"), depth + 1));
                }
            }
            JsonNode::Text(_) | JsonNode::Other(_) => {}
        }
        html! {
            ul {
                @for it in &shown { (it) }
                @if count > MOST_OF_ONE { li.muted { "and " (super::count((count - MOST_OF_ONE) as u64)) " more" } }
            }
        }
    }

    fn has_marks_in(&self, pointer: &str) -> bool {
        let inside = format!("{pointer}/");
        self.marks.range(inside.clone()..).next().is_some_and(|(it, _)| it.starts_with(&inside))
    }
}

fn leaf_value(node: &JsonNode<'_>) -> Markup {
    match node {
        JsonNode::Text(text) => {
            let start = text.char_indices().nth(LONG).and_then(|_| text.char_indices().nth(SHOWN));
            html! {
                @match start {
                    None => { span.tree-text { "\"" (visible(text)) "\"" } }
                    Some((end, _)) => {
                        details.tree-long {
                            summary { span.tree-text { "\"" (visible(&text[..end])) "…\"" } span.muted { " " (super::bytes(text.len() as u64)) } }
                            div.tree-text { (visible(text)) }
                        }
                    }
                }
            }
        }
        JsonNode::Other(token) => html! { span.tree-other { (visible(token)) } },
        JsonNode::Object(_) => html! { span.muted { "{ }" } },
        JsonNode::Array(_) => html! { span.muted { "[ ]" } },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn marks(pointers: &[&str]) -> Vec<TreeMark> {
        pointers.iter().map(|it| TreeMark { pointer: (*it).into(), message: format!("wrong: {it}") }).collect()
    }

    /// Otherwise a reader looks for the error at another place.
    #[test]
    fn a_mark_is_at_its_place_or_the_nearest_around_it() {
        let value = json!({"a": {"b": [1, {"c": "x"}]}, "d/e": 2});
        let html = json_tree(&value, &marks(&["/a/b/1/c", "/d~1e", "/a/missing", ""])).into_string();
        assert_eq!(html.matches("tree-marked").count(), 4, "{html}");
        let before = |one: &str, other: &str| html.find(one).unwrap() < html.find(other).unwrap();
        assert!(before("wrong: /a/missing", "wrong: /a/b/1/c") && before("wrong: /a/b/1/c", "wrong: /d~1e"));
    }

    /// Otherwise a payload changes the page, or makes it too large to open.
    #[test]
    fn hostile_payloads_are_escaped_and_limited() {
        let many: serde_json::Map<String, Value> = (0..10_000).map(|n| (format!("key{n}"), json!([n]))).collect();
        let html = json_tree(&json!({"<script>": "\u{202e}<img>", "long": "x".repeat(1 << 20), "many": many}), &[]);
        let html = html.into_string();
        assert!(!html.contains("<script>") && !html.contains("<img>") && !html.contains('\u{202e}'));
        assert!(html.contains("9,800 more") || html.contains("more"), "it says what was left out");
        assert!(html.len() < 200_000, "{}", html.len());
        let beyond = json_tree(&json!({"many": many}), &marks(&["/many/key9000/0"])).into_string();
        assert!(beyond.contains("wrong: /many/key9000/0"), "a mark outside of what is shown is below the tree");
    }
}
