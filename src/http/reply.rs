//! What handlers answer: types that write themselves, and describe what they write.

use schemars::JsonSchema;
use serde::Serialize;
use warp::http::StatusCode;

use super::answer::Answer;
use super::openapi::describer::Describer;
use super::problem::Problem;

/// A typed answer. The same type writes it and describes it, so a response without a description does not exist.
pub(super) trait TypedReply: Sized {
    /// Writes it.
    fn write(self) -> Result<Answer<Self>, Problem>;

    /// Describes every response that [`Self::write`] can give.
    fn describe(to: &mut Describer<'_>);
}

/// What a handler may return for an `R`: the value, or its bytes where they were written before, as for a repeated request.
pub(super) trait IntoAnswer<R> {
    /// The bytes.
    fn into_answer(self) -> Result<Answer<R>, Problem>;
}

impl<R: TypedReply> IntoAnswer<R> for R {
    fn into_answer(self) -> Result<Answer<R>, Problem> {
        self.write()
    }
}

impl<R: TypedReply> IntoAnswer<R> for Answer<R> {
    fn into_answer(self) -> Result<Answer<R>, Problem> {
        Ok(self)
    }
}

/// 200 with JSON.
pub(super) struct Success<T>(pub(super) T);

impl<T: Serialize + JsonSchema> TypedReply for Success<T> {
    fn write(self) -> Result<Answer<Self>, Problem> {
        Answer::json(StatusCode::OK, &self.0)
    }

    fn describe(to: &mut Describer<'_>) {
        to.answers::<T>(200, "Success.", &[]);
    }
}

/// 201 with JSON.
pub(super) struct Created<T>(pub(super) T);

impl<T: Serialize + JsonSchema> TypedReply for Created<T> {
    fn write(self) -> Result<Answer<Self>, Problem> {
        Answer::json(StatusCode::CREATED, &self.0)
    }

    fn describe(to: &mut Describer<'_>) {
        to.answers::<T>(201, "Created.", &[]);
    }
}

/// 204
pub(super) struct NoContent;

impl TypedReply for NoContent {
    fn write(self) -> Result<Answer<Self>, Problem> {
        Ok(Answer::empty())
    }

    fn describe(to: &mut Describer<'_>) {
        to.answers_nothing(204, "Done.");
    }
}

/// Everything there is of a kind.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub(super) struct List<T> {
    pub(super) data: Vec<T>,
}

impl<T: Serialize + JsonSchema> TypedReply for List<T> {
    fn write(self) -> Result<Answer<Self>, Problem> {
        Answer::json(StatusCode::OK, &self)
    }

    fn describe(to: &mut Describer<'_>) {
        to.answers::<Self>(200, "All of them.", &[]);
    }
}

/// A part of a list, newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub(super) struct Page<T, P = CursorPagination> {
    pub(super) data: Vec<T>,
    pub(super) pagination: P,
}

/// Where a list continues.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CursorPagination {
    /// Most items of a page.
    pub(super) limit: usize,
    /// Send it as `cursor` to get the next page; null on the last one.
    pub(super) next_cursor: Option<String>,
}

/// Which part of a list this is, and where the list continues.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Pagination {
    /// There is a next page.
    pub(super) has_more: bool,
    /// How many items there are on all pages.
    pub(super) total: u64,
    /// Only present, and false, where there are more items than were counted: `total` is then the number that was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) total_is_exact: Option<bool>,
    /// The page's number; 1 for a page behind a cursor, which is not counted.
    pub(super) page: u64,
    /// Most items of a page.
    pub(super) limit: usize,
    /// Send it as `cursor` to get the next page; null on the last one.
    pub(super) next_cursor: Option<String>,
}

impl<T: Serialize + JsonSchema, P: Serialize + JsonSchema> TypedReply for Page<T, P> {
    fn write(self) -> Result<Answer<Self>, Problem> {
        Answer::json(StatusCode::OK, &self)
    }

    fn describe(to: &mut Describer<'_>) {
        to.answers::<Self>(200, "A page, newest first.", &[]);
    }
}
