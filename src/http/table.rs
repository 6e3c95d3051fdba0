//! The routes as data: which methods a URL takes, and what a URL that is not there may have meant.

use warp::http::Method;

use super::Problem;

/// Most characters of a URL in a message.
const SHOWN: usize = 200;
/// Literal parts of a URL that are shorter are never taken for a misspelling.
const TYPO_MIN: usize = 4;

/// Every route.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<Route>);

#[derive(Debug)]
struct Route {
    method: Method,
    path: Vec<Segment>,
}

#[derive(Debug, Clone, Copy)]
enum Segment {
    Literal(&'static str),
    /// Its name.
    Parameter(&'static str),
}

impl Table {
    /// Adds a route, as it is written in `http/mod.rs`: `"v1" / "tasks" / String`, and the names of its parameters.
    pub(super) fn add(&mut self, method: &str, path: &'static str, parameters: &[&'static str]) {
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap_or_default();
        let mut names = parameters.iter();
        let mut segment = |text: &'static str| match text.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
            Some(literal) => Segment::Literal(literal),
            None => Segment::Parameter(names.next().unwrap_or(&"id")),
        };
        self.0.push(Route { method, path: path.split('/').map(|it| segment(it.trim())).collect() });
    }

    /// Why nothing answers this request.
    pub(super) fn nothing(&self, method: &Method, path: &str) -> Problem {
        let inner = path.strip_prefix('/').unwrap_or(path);
        let sent: Vec<&str> = inner.strip_suffix('/').unwrap_or(inner).split('/').collect();
        let here: Vec<&Route> = self.0.iter().filter(|it| it.fits(&sent) == Some(0)).collect();
        // `batch` is not a task's id.
        let most = here.iter().map(|it| it.literals()).max();
        let allow = allowed(here.into_iter().filter(|it| Some(it.literals()) == most));
        if allow.is_empty() {
            return Problem::NoUrl { url: shown(path), near: self.near(&sent) };
        }
        Problem::Method { method: method.as_str().chars().take(20).collect(), allow }
    }

    /// The URL that is most like this one.
    fn near(&self, sent: &[&str]) -> Option<String> {
        let parts: Vec<&str> = sent.iter().copied().filter(|it| !it.is_empty()).collect();
        let with_version: Vec<&str> = std::iter::once("v1").chain(parts.iter().copied()).collect();
        let near = [(0, parts), (1, with_version)].into_iter().flat_map(|(cost, parts)| {
            self.0.iter().filter_map(move |route| Some((cost + route.fits(&parts)?, route.filled(&parts))))
        });
        near.min_by_key(|(cost, _)| *cost).map(|(_, url)| url)
    }
}

/// For `Allow`: each method once. What takes GET takes HEAD.
fn allowed<'a>(routes: impl Iterator<Item = &'a Route>) -> String {
    let mut methods: Vec<&str> = Vec::new();
    for route in routes {
        methods.push(route.method.as_str());
        if route.method == Method::GET {
            methods.push("HEAD");
        }
    }
    methods.sort_unstable();
    methods.dedup();
    methods.join(", ")
}

impl Route {
    /// How far this path is from the route: 0 where it is its own, none where it is nothing like it.
    fn fits(&self, sent: &[&str]) -> Option<usize> {
        if sent.len() != self.path.len() {
            return None;
        }
        self.path.iter().zip(sent).map(|(segment, sent)| segment.distance(sent)).sum::<Option<usize>>()
    }

    fn literals(&self) -> usize {
        self.path.iter().filter(|it| matches!(it, Segment::Literal(_))).count()
    }

    fn filled(&self, sent: &[&str]) -> String {
        self.path.iter().zip(sent).map(|(segment, sent)| segment.filled(&escaped(sent))).collect()
    }
}

impl Segment {
    fn distance(self, sent: &str) -> Option<usize> {
        match self {
            Self::Parameter(_) => (!sent.is_empty()).then_some(0),
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
            Self::Parameter(_) => format!("/{sent}"),
        }
    }
}

/// Whether a segment is a word misspelled by one letter. Of what is far longer no distance is taken: that costs a step for
/// each pair of letters.
fn one_letter_off(word: &str, sent: &str) -> bool {
    sent.len() <= 2 * word.len() && strsim::osa_distance(word, &sent.to_ascii_lowercase()) == 1
}

/// A URL's path for a message: escaped, and cut. What may be a secret is left out: it follows an integration's name.
pub(super) fn shown(path: &str) -> String {
    let mut parts = path.split('/');
    let mut shown = String::new();
    while let Some(part) = parts.next() {
        shown.push_str(&escaped(part));
        shown.push('/');
        if part.eq_ignore_ascii_case("hooks") || one_letter_off("hooks", part) {
            if let Some(name) = parts.find(|it| !it.is_empty()) {
                shown.push_str(&escaped(name));
                shown.push('/');
            }
            if parts.next().is_some() {
                shown.push_str("…/");
            }
            break;
        }
    }
    shown.pop();
    if shown.chars().count() > SHOWN {
        shown = shown.chars().take(SHOWN).chain(['…']).collect();
    }
    shown
}

fn escaped(text: &str) -> String {
    let escape = |it: char| if it.is_ascii_graphic() { it.to_string() } else { it.escape_unicode().to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(path: &str) -> Option<String> {
        let mut table = Table::default();
        table.add("post", "\"v1\" / \"tasks\"", &[]);
        table.add("get", "\"v1\" / \"tasks\" / String", &["id"]);
        table.add("post", "\"v1\" / \"hooks\" / String / String", &["name", "secret"]);
        table.add("get", "\"healthz\"", &[]);
        match table.nothing(&Method::POST, path) {
            Problem::NoUrl { near, .. } => near,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_url_that_is_not_there_names_the_one_that_is_most_like_it() {
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
            ("/", None),
            ("/v2/tasks/1/2/3", None),
        ] {
            assert_eq!(near(sent).as_deref(), meant, "{sent}");
        }
    }

    #[test]
    fn a_url_in_a_message_is_escaped_and_cut_and_has_no_secret() {
        assert_eq!(shown("/v1/tasks/\u{1b}[31m"), "/v1/tasks/\\u{1b}[31m");
        assert_eq!(shown("//v1/Hook/fax/s3cret/more"), "//v1/Hook/fax/…");
        assert_eq!(shown("/v1/hooks/fax"), "/v1/hooks/fax");
        assert_eq!(shown(&"/x".repeat(500)).chars().count(), SHOWN + 1);
    }
}
