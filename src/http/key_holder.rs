//! Who calls.

use std::sync::Arc;

use crate::auth::ApiKey;

/// Who has called: a key's holder, or the operator.
#[derive(Debug, Clone)]
pub(super) enum KeyHolder {
    /// The holder of this key.
    Key(Arc<ApiKey>),
    /// The operator.
    Operator,
}
