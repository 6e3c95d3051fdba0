//! A request's circumstances: the client, the connection, and the original method.

use std::sync::{Arc, OnceLock};

use warp::http::Method;

use super::server::wire::Wire;
use crate::metrics::http::RouteSeries;
use crate::model::peer::Peer;

/// A request's circumstances.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    /// The method as sent; routes see GET for HEAD.
    pub(super) method: Method,
    /// Whether the client sends content.
    pub(super) has_content: bool,
    /// The client, for limits.
    pub(super) peer: Peer,
    pub(super) wire: Arc<Wire>,
    /// Counts of the route, once one has matched the request.
    pub(super) route: Arc<OnceLock<&'static RouteSeries>>,
}
