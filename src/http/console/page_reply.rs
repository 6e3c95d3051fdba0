//! What a page's handler answers.

use bytes::Bytes;
use maud::Markup;
use warp::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use warp::reply::Response;

use super::compression::{accepts_gzip, gzip};
use super::layout;
use super::page::PageCall;

pub(super) use super::section::Section;

/// A response to a browser.
pub(super) struct PageReply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: PageBody,
}

/// Its body.
pub(super) enum PageBody {
    /// All of it.
    Bytes(Bytes),
    /// One that is still being made; its status and headers are added to those of the reply.
    Stream(Response),
}

impl PageReply {
    /// A page in the console's frame.
    pub(super) fn html(page: &PageCall, title: &str, section: Section, content: Markup) -> Self {
        Self::with_status(StatusCode::OK, page, title, section, content)
    }

    /// The same with another status.
    pub(super) fn with_status(
        status: StatusCode,
        page: &PageCall,
        title: &str,
        section: Section,
        content: Markup,
    ) -> Self {
        let html = layout::shell(page, title, section, &content).into_string();
        Self::markup(status, html, page.header("accept-encoding"))
    }

    /// A part of a page, for a script that puts it into one.
    pub(super) fn part(page: &PageCall, content: Markup) -> Self {
        Self::markup(StatusCode::OK, content.into_string(), page.header("accept-encoding"))
    }

    /// A whole document.
    pub(super) fn markup(status: StatusCode, html: String, accepted: Option<&str>) -> Self {
        let reply = Self::file("text/html; charset=utf-8", html.into_bytes().into()).at(status);
        reply.with("cache-control", "no-store").compressed(accepted)
    }

    /// Another page, which the browser asks for with GET (RFC 9110, section 15.4.4).
    pub(super) fn redirect(to: &str) -> Self {
        Self::bare(StatusCode::SEE_OTHER).with("location", to).with("cache-control", "no-store")
    }

    fn bare(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: PageBody::Bytes(Bytes::new()) }
    }

    /// Bytes of some type.
    pub(super) fn file(content_type: &'static str, body: Bytes) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body: PageBody::Bytes(body) }
            .with("content-type", content_type)
    }

    /// A body that is still being made.
    pub(super) fn stream(response: Response) -> Self {
        Self { status: response.status(), headers: HeaderMap::new(), body: PageBody::Stream(response) }
    }

    pub(super) fn at(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Adds a header; a value that no header can hold is left out.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(HeaderName::from_static(name), value);
        }
        self
    }

    /// Compressed with gzip, if the browser reads that and it is worth it.
    pub(super) fn compressed(mut self, accepted: Option<&str>) -> Self {
        /// A packet's worth: smaller bodies are not sent faster.
        const WORTH: usize = 1200;
        let PageBody::Bytes(body) = &self.body else { return self };
        if body.len() < WORTH || !accepted.is_some_and(accepts_gzip) {
            return self;
        }
        if let Some(small) = gzip(body, 5) {
            self.body = PageBody::Bytes(small.into());
            return self.with("content-encoding", "gzip").with("vary", "accept-encoding");
        }
        self
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = match self.body {
            PageBody::Bytes(body) => Response::new(body.into()),
            PageBody::Stream(response) => response,
        };
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
    }
}
