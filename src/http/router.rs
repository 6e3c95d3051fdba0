//! Finds the route of a request; for a URL that does not exist, finds the one that was probably meant.

use std::borrow::Cow;

use warp::http::Method;

use super::problem::Problem;
use super::shown_url::{escaped, one_letter_off, shown};

/// Literal parts of a URL that are shorter are never taken for a misspelling.
const TYPO_MIN: usize = 4;

/// Routes by URL. `R` is what a route is, for the caller.
#[derive(Debug)]
pub(super) struct Router<R>(Vec<Resource<R>>);

/// The routes of one URL.
#[derive(Debug)]
struct Resource<R> {
    path: Vec<PathPart>,
    methods: Vec<(Method, R)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathPart {
    Literal(&'static str),
    /// Its name.
    Parameter(&'static str),
    /// All further segments, at least one: the parameter `path`.
    Rest,
}

/// The name of the parameter that takes all further segments.
const REST: &str = "path";

/// A route that was found, and the values of its path parameters by name.
pub(super) struct FoundRoute<'r, R> {
    pub(super) route: &'r R,
    pub(super) parameters: Vec<(&'static str, String)>,
}

impl<R> Router<R> {
    /// Routes as (method, path, route), with parameters in braces: `/v1/tasks/{id}`.
    pub(super) fn new(routes: impl IntoIterator<Item = (Method, &'static str, R)>) -> Self {
        let mut all: Vec<Resource<R>> = Vec::new();
        for (method, path, route) in routes {
            let path: Vec<_> = path.split('/').skip(1).map(PathPart::new).collect();
            match all.iter_mut().find(|it| it.path == path) {
                Some(resource) => resource.methods.push((method, route)),
                None => all.push(Resource { path, methods: vec![(method, route)] }),
            }
        }
        // A literal comes before a parameter in its place: `batch` is not a task's id.
        all.sort_by_key(|it| it.path.iter().map(PathPart::is_parameter).collect::<Vec<_>>());
        Self(all)
    }

    /// The route of a request. One `/` at the end of a path does not count. `sent` is the method for the message, where
    /// HEAD runs as GET.
    ///
    /// # Errors
    /// The URL does not exist, or does not support the method.
    pub(super) fn find(&self, method: &Method, sent: &Method, path: &str) -> Result<FoundRoute<'_, R>, Problem> {
        // Decoded once. A segment that is not text, or would be several, is part of no URL.
        let decoded: Option<Vec<_>> = parts(path).map(segment).collect();
        let find = |decoded: &Vec<Cow<'_, str>>| {
            self.0.iter().find_map(|it| Some((it, it.parameters(decoded.iter().map(AsRef::as_ref))?)))
        };
        let Some((resource, parameters)) = decoded.as_ref().and_then(find) else {
            let near = decoded.and_then(|it| self.near(&it.iter().map(AsRef::as_ref).collect::<Vec<_>>()));
            return Err(Problem::NoUrl { url: shown(path), near });
        };
        match resource.methods.iter().find(|(it, _)| it == method) {
            Some((_, route)) => Ok(FoundRoute { route, parameters }),
            None => {
                Err(Problem::Method { method: sent.as_str().chars().take(20).collect(), allow: resource.allowed() })
            }
        }
    }

    /// The URL that is most like this one.
    fn near(&self, sent: &[&str]) -> Option<String> {
        let parts: Vec<&str> = sent.iter().copied().filter(|it| !it.is_empty()).collect();
        let with_version: Vec<&str> = std::iter::once("v1").chain(parts.iter().copied()).collect();
        let near = [(0, parts), (1, with_version)].into_iter().flat_map(|(cost, parts)| {
            self.0.iter().filter_map(move |route| Some((cost + route.distance(&parts)?, route.filled(&parts))))
        });
        near.min_by_key(|(cost, _)| *cost).map(|(_, url)| url)
    }
}

/// A segment without percent-encoding (RFC 3986 section 2.1); none if it is not UTF-8, contains a `/` or a control
/// character, or is `.` or `..`: a proxy may read these as another URL.
fn segment(sent: &str) -> Option<Cow<'_, str>> {
    unescaped(sent).filter(|it| !matches!(it.as_ref(), "." | ".."))
}

fn unescaped(sent: &str) -> Option<Cow<'_, str>> {
    if !sent.contains('%') {
        return Some(Cow::Borrowed(sent));
    }
    let mut bytes = Vec::with_capacity(sent.len());
    let mut rest = sent.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits =
            std::str::from_utf8(after.get(..2)?).ok().filter(|it| it.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after.get(2..)?;
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains(|it: char| it == '/' || it.is_control())).then_some(Cow::Owned(text))
}

/// A path's segments.
fn parts(path: &str) -> std::str::Split<'_, char> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    inner.strip_suffix('/').unwrap_or(inner).split('/')
}

impl<R> Resource<R> {
    /// The values of its parameters, if this is its path.
    fn parameters<'a>(&self, mut sent: impl Iterator<Item = &'a str>) -> Option<Vec<(&'static str, String)>> {
        let mut values = Vec::new();
        for part in &self.path {
            match (part, sent.next()?) {
                (PathPart::Literal(literal), sent) if *literal == sent => {}
                (PathPart::Parameter(name), sent) if !sent.is_empty() => values.push((*name, sent.to_owned())),
                (PathPart::Rest, first) => {
                    let all: Vec<&str> = std::iter::once(first).chain(sent.by_ref()).collect();
                    if all.contains(&"") {
                        return None;
                    }
                    values.push((REST, all.join("/")));
                }
                _ => return None,
            }
        }
        sent.next().is_none().then_some(values)
    }

    /// For `Allow`: each method once. GET includes HEAD.
    fn allowed(&self) -> String {
        let mut methods: Vec<&str> = self.methods.iter().map(|(it, _)| it.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        methods.join(", ")
    }

    /// How far this path is from the route; none where it is not similar.
    fn distance(&self, sent: &[&str]) -> Option<usize> {
        if sent.len() != self.path.len() {
            return None;
        }
        self.path.iter().zip(sent).map(|(part, sent)| part.distance(sent)).sum::<Option<usize>>()
    }

    fn filled(&self, sent: &[&str]) -> String {
        self.path.iter().zip(sent).map(|(part, sent)| part.filled(&escaped(sent))).collect()
    }
}

impl PathPart {
    fn new(text: &'static str) -> Self {
        match text.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
            Some(REST) => Self::Rest,
            Some(name) => Self::Parameter(name),
            None => Self::Literal(text),
        }
    }

    fn is_parameter(&self) -> bool {
        matches!(self, Self::Parameter(_) | Self::Rest)
    }

    fn distance(self, sent: &str) -> Option<usize> {
        match self {
            Self::Parameter(_) | Self::Rest => (!sent.is_empty()).then_some(0),
            Self::Literal(literal) if literal == sent => Some(0),
            Self::Literal(literal) => {
                if literal.eq_ignore_ascii_case(sent) {
                    return Some(1);
                }
                (literal.len() >= TYPO_MIN && one_letter_off(literal, sent)).then_some(2)
            }
        }
    }

    /// With what was sent in its place; a secret is never shown.
    fn filled(self, sent: &str) -> String {
        match self {
            Self::Literal(literal) => format!("/{literal}"),
            Self::Parameter(name) if sent.is_empty() || name == "secret" => format!("/{{{name}}}"),
            Self::Rest => format!("/{{{REST}}}"),
            Self::Parameter(_) => format!("/{sent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router<&'static str> {
        Router::new([
            (Method::POST, "/v1/tasks", "create"),
            (Method::GET, "/v1/tasks/{id}", "show"),
            (Method::PATCH, "/v1/tasks/{id}", "change"),
            (Method::POST, "/v1/tasks/batch", "batch"),
            (Method::POST, "/v1/hooks/{name}/{secret}", "receive"),
            (Method::POST, "/v1/hooks/{name}/{secret}/{path}", "receive more"),
            (Method::GET, "/healthz", "live"),
        ])
    }

    fn find(method: Method, path: &str) -> Result<(&'static str, Vec<String>), Problem> {
        let router = router();
        let found = router.find(&method, &method, path)?;
        Ok((*found.route, found.parameters.into_iter().map(|(_, value)| value).collect()))
    }

    fn near(path: &str) -> Option<String> {
        match find(Method::POST, path) {
            Err(Problem::NoUrl { near, .. }) => near,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_literal_is_found_before_a_parameter() {
        assert_eq!(find(Method::POST, "/v1/tasks/batch").unwrap(), ("batch", vec![]));
        assert_eq!(find(Method::GET, "/v1/tasks/7").unwrap(), ("show", vec!["7".to_owned()]));
        assert_eq!(find(Method::GET, "/v1/tasks/7/").unwrap().0, "show");
        assert!(matches!(find(Method::GET, "/v1/tasks/batch"), Err(Problem::Method { allow, .. }) if allow == "POST"));
        assert!(
            matches!(find(Method::PUT, "/v1/tasks/7"), Err(Problem::Method { allow, .. }) if allow == "GET, HEAD, PATCH")
        );
    }

    /// Otherwise a client that escapes more than it must gets 404, or a segment becomes two.
    #[test]
    fn segments_are_decoded_once() {
        assert_eq!(find(Method::GET, "/v1/%74asks/a%2Db").unwrap(), ("show", vec!["a-b".to_owned()]));
        assert_eq!(find(Method::GET, "/v1/tasks/%2541").unwrap(), ("show", vec!["%41".to_owned()]));
        assert_eq!(find(Method::POST, "/v1/hooks/%c3%a9/%7Ex").unwrap().1, ["é", "~x"]);
        for path in
            ["/v1/tasks/a%2Fb", "/v1/tasks/%00", "/v1/tasks/%ff", "/v1/tasks/%zz", "/v1/tasks/%4", "/v1/tasks/%"]
        {
            assert!(matches!(find(Method::GET, path), Err(Problem::NoUrl { near: None, .. })), "{path}");
        }
    }

    /// Otherwise a sender whose URL says more after the name gets 404, or a mapper gets another path than was sent.
    #[test]
    fn the_rest_of_a_path_is_all_further_segments() {
        assert_eq!(
            find(Method::POST, "/v1/hooks/fax/a/b").unwrap(),
            ("receive more", vec!["fax".into(), "a".into(), "b".into()])
        );
        assert_eq!(find(Method::POST, "/v1/hooks/fax/a/b%20c/%C3%A9/").unwrap().1, ["fax", "a", "b c/é"]);
        for path in ["a//b", "a/b//", "a/..", "a/b/..", "a/%2e%2E/b", "a/.", "a/b%2Fc", "a/b%00", "a/b%ff", "a/%4"] {
            let path = format!("/v1/hooks/fax/{path}");
            assert!(matches!(find(Method::POST, &path), Err(Problem::NoUrl { .. })), "{path}");
        }
    }

    #[test]
    fn a_url_that_does_not_exist_names_the_one_that_is_most_like_it() {
        for (sent, meant) in [
            ("//v1/tasks", Some("/v1/tasks")),
            ("/v1//tasks/7//", Some("/v1/tasks/7")),
            ("/tasks", Some("/v1/tasks")),
            ("/V1/Tasks", Some("/v1/tasks")),
            ("/v1/task", Some("/v1/tasks")),
            ("/v1/taksk", None),
            ("/v1/tsaks", Some("/v1/tasks")),
            ("/helathz", Some("/healthz")),
            ("/hook/fax/s3cret", Some("/v1/hooks/fax/{secret}")),
            ("/hook/fax/s3cret/more", Some("/v1/hooks/fax/{secret}/{path}")),
            ("/", None),
            ("/v2/tasks/1/2/3", None),
        ] {
            assert_eq!(near(sent).as_deref(), meant, "{sent}");
        }
    }
}
