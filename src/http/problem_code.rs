//! Every `detail.code`: its status, its kind, and what it means. The API description lists this table.

use schemars::JsonSchema;
use serde::Serialize;
use warp::http::StatusCode;

/// The kind of an error: `detail.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ProblemKind {
    /// The caller has not proved who it is.
    AuthenticationError,
    /// The caller may not do this.
    PermissionError,
    /// The URL, or what it names, does not exist.
    NotFound,
    /// The request is malformed.
    InvalidRequest,
    /// The request was understood, and its content is not valid.
    ValidationError,
    /// The request does not fit the current state.
    Conflict,
    /// Too many requests; the response says when to try again.
    RateLimited,
    /// The server cannot do it right now; try again.
    Unavailable,
    /// The integration's plugin failed.
    PluginFailed,
    /// The server failed.
    Internal,
}

macro_rules! codes {
    ($($(#[doc = $about:literal])+ $code:ident = $status:ident $kind:ident $name:literal;)*) => {
        /// The error, for programs: `detail.code`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
        pub(super) enum ProblemCode {
            $($(#[doc = $about])+ #[serde(rename = $name)] $code,)*
        }

        impl ProblemCode {
            /// Every code.
            pub(super) const ALL: &[Self] = &[$(Self::$code),*];

            /// The code as it is sent.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$code => $name),* }
            }

            /// The status of its responses.
            pub(super) fn status(self) -> StatusCode {
                match self { $(Self::$code => StatusCode::$status),* }
            }

            /// Its kind.
            pub(super) fn kind(self) -> ProblemKind {
                match self { $(Self::$code => ProblemKind::$kind),* }
            }

            /// What it means and what to do, in a sentence or two.
            pub(super) fn about(self) -> &'static str {
                match self { $(Self::$code => concat!($($about),+).trim_ascii()),* }
            }
        }
    };
}

codes! {
    /// The `Host` header is missing, repeated or malformed.
    BadHost = BAD_REQUEST InvalidRequest "bad_host";
    /// A header that may be sent once was sent more than once.
    RepeatedHeader = BAD_REQUEST InvalidRequest "repeated_header";
    /// The connection ended before the whole body arrived.
    BodyIncomplete = BAD_REQUEST InvalidRequest "body_incomplete";
    /// A GET has a body, as if it should create something; send a POST.
    BodyOnGet = BAD_REQUEST InvalidRequest "body_on_get";
    /// The body is empty.
    EmptyBody = BAD_REQUEST InvalidRequest "empty_body";
    /// The body is not UTF-8, or not in the charset that it declares.
    NotUtf8 = BAD_REQUEST InvalidRequest "not_utf8";
    /// The body is not valid JSON; the message has the line and column.
    MalformedJson = BAD_REQUEST InvalidRequest "malformed_json";
    /// The form in the body cannot be read.
    MalformedForm = BAD_REQUEST InvalidRequest "malformed_form";
    /// The XML in the body cannot be read.
    MalformedXml = BAD_REQUEST InvalidRequest "malformed_xml";
    /// The body is not a JSON Web Token with a JSON payload.
    MalformedJwt = BAD_REQUEST InvalidRequest "malformed_jwt";
    /// The JSON or XML is nested too deeply.
    TooDeep = BAD_REQUEST InvalidRequest "too_deep";
    /// A JSON object has the same name twice.
    DuplicateKey = BAD_REQUEST InvalidRequest "duplicate_key";
    /// A number does not fit a 64-bit float, or has too many digits for one; send it as text.
    NumberOutOfRange = BAD_REQUEST InvalidRequest "number_out_of_range";
    /// The `X-API-Key` header is missing.
    NoKey = UNAUTHORIZED AuthenticationError "no_key";
    /// The API key is unknown, expired or revoked.
    WrongKey = UNAUTHORIZED AuthenticationError "wrong_key";
    /// The sender's signature is missing or does not match the body.
    WrongSignature = UNAUTHORIZED AuthenticationError "wrong_signature";
    /// The sender's password or secret is missing or wrong.
    WrongCredentials = UNAUTHORIZED AuthenticationError "wrong_credentials";
    /// The integration's secret is not set on the server, so no sender can be authenticated.
    AuthNotConfigured = UNAUTHORIZED AuthenticationError "auth_not_configured";
    /// The public keys of the sender cannot be fetched, so its signature cannot be checked.
    SenderKeysUnavailable = SERVICE_UNAVAILABLE Unavailable "sender_keys_unavailable";
    /// The API key lacks the scope that the message names.
    ScopeMissing = FORBIDDEN PermissionError "scope_missing";
    /// The API key belongs to another company than the one in `company_id`.
    OtherCompany = FORBIDDEN PermissionError "other_company";
    /// The URL does not exist, or names something that does not exist for this company.
    NotFound = NOT_FOUND NotFound "not_found";
    /// No integration of this name is live.
    UnknownIntegration = NOT_FOUND NotFound "unknown_integration";
    /// The URL does not support this method; the `Allow` header lists those that it does.
    MethodNotAllowed = METHOD_NOT_ALLOWED InvalidRequest "method_not_allowed";
    /// The body did not arrive in time.
    BodyTimeout = REQUEST_TIMEOUT InvalidRequest "body_timeout";
    /// The task changed since you read it; read it again and send its current version.
    VersionConflict = CONFLICT Conflict "version_conflict";
    /// The `Idempotency-Key` was used for a request with another body; `differs` names what differs, and `task_ids` the tasks that the first request made.
    IdempotencyConflict = CONFLICT Conflict "idempotency_conflict";
    /// The event cannot be replayed; the message says why.
    NotReplayable = CONFLICT Conflict "not_replayable";
    /// Another number of events matches than the request expects; nothing was replayed.
    OtherEvents = CONFLICT Conflict "other_events";
    /// The integration now belongs to another company.
    IntegrationMoved = CONFLICT Conflict "integration_moved";
    /// The patient's data was erased while this request was being processed; nothing was created.
    Erased = CONFLICT Conflict "erased";
    /// The plugin's shadow is not running; the message says why.
    ShadowRefused = CONFLICT Conflict "shadow_refused";
    /// The server cannot send a test delivery to this integration; the message says why.
    NoTestDelivery = CONFLICT Conflict "no_test_delivery";
    /// A learned secret cannot be set; the message says what to do.
    SecretNotSet = CONFLICT Conflict "secret_not_set";
    /// The plugin's files were changed since you read them, or are being changed; read them again.
    ScriptChanged = CONFLICT Conflict "script_changed";
    /// The plugin's folder cannot be written by the server; change it where it comes from.
    FolderReadOnly = CONFLICT Conflict "folder_read_only";
    /// The plugin has a fixture of this name; choose another name, or send `replace`.
    FixtureExists = CONFLICT Conflict "fixture_exists";
    /// The server refused the plugin with this change, which was taken back; the message says why.
    PluginNotLoaded = CONFLICT Conflict "plugin_not_loaded";
    /// The body is larger than the server accepts.
    BodyTooLarge = PAYLOAD_TOO_LARGE InvalidRequest "body_too_large";
    /// The body's content coding cannot be removed; send it uncompressed, or as gzip, deflate, br or zstd.
    UnsupportedEncoding = UNSUPPORTED_MEDIA_TYPE InvalidRequest "unsupported_encoding";
    /// The body is neither JSON, a form nor XML.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE InvalidRequest "unsupported_media_type";
    /// One or more fields are not valid; `errors` lists them.
    InvalidField = UNPROCESSABLE_ENTITY ValidationError "invalid_field";
    /// The cursor's changes are no longer known; read everything again, without a cursor.
    CursorExpired = UNPROCESSABLE_ENTITY ValidationError "cursor_expired";
    /// The body has several items; send one request per item, or a batch.
    MultipleItems = UNPROCESSABLE_ENTITY InvalidRequest "multiple_items";
    /// The body is JSON but not an object.
    NotAnObject = UNPROCESSABLE_ENTITY InvalidRequest "not_an_object";
    /// The batch has no items.
    NoItems = UNPROCESSABLE_ENTITY InvalidRequest "no_items";
    /// The batch has too many items; send several batches.
    TooManyItems = UNPROCESSABLE_ENTITY InvalidRequest "too_many_items";
    /// The body of a batch is not a list of tasks.
    NotAList = UNPROCESSABLE_ENTITY InvalidRequest "not_a_list";
    /// The integration's plugin refused the payload; the event is in quarantine.
    PluginRefused = UNPROCESSABLE_ENTITY ValidationError "plugin_refused";
    /// The plugin's output is not a valid task; the event is in quarantine until the plugin is fixed.
    PluginOutputInvalid = UNPROCESSABLE_ENTITY ValidationError "plugin_output_invalid";
    /// The script cannot be loaded; the message has the place, and nothing was saved.
    ScriptInvalid = UNPROCESSABLE_ENTITY ValidationError "script_invalid";
    /// The plugin fails its fixtures; `errors` has each place that differs, and nothing was saved.
    FixtureFailed = UNPROCESSABLE_ENTITY ValidationError "fixture_failed";
    /// This key or integration sends too many requests; the response says when to send the next one.
    RateLimited = TOO_MANY_REQUESTS RateLimited "rate_limited";
    /// A long operation is already running; try again when it has finished.
    OperationRunning = TOO_MANY_REQUESTS RateLimited "operation_running";
    /// The headers are larger than the server accepts.
    HeadersTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE InvalidRequest "headers_too_large";
    /// The parameters and the path of the URL that the integration asks for are larger than the server stores.
    UrlTooLarge = URI_TOO_LONG InvalidRequest "url_too_large";
    /// The server failed; its log has the request id.
    Internal = INTERNAL_SERVER_ERROR Internal "internal";
    /// The operation failed; the message has the cause.
    OperationFailed = INTERNAL_SERVER_ERROR Internal "operation_failed";
    /// Stored data is damaged; the server's log has the details.
    StorageDamaged = INTERNAL_SERVER_ERROR Internal "storage_damaged";
    /// Checking the payload against the integration's schema took too long.
    SchemaTime = BAD_GATEWAY PluginFailed "schema_time";
    /// The plugin exceeded its time limit.
    PluginDeadline = BAD_GATEWAY PluginFailed "plugin_deadline";
    /// The plugin exceeded its memory limit.
    PluginMemory = BAD_GATEWAY PluginFailed "plugin_memory";
    /// The plugin exceeded the limit on table elements.
    PluginTable = BAD_GATEWAY PluginFailed "plugin_table";
    /// The plugin exceeded its output limit.
    PluginOutput = BAD_GATEWAY PluginFailed "plugin_output";
    /// The plugin exceeded the stack limit.
    PluginStack = BAD_GATEWAY PluginFailed "plugin_stack";
    /// The plugin crashed.
    PluginTrap = BAD_GATEWAY PluginFailed "plugin_trap";
    /// The plugin's script threw an error.
    PluginException = BAD_GATEWAY PluginFailed "plugin_exception";
    /// The plugin could not be run.
    PluginHost = BAD_GATEWAY PluginFailed "plugin_host";
    /// The server is busy; try again.
    Overloaded = SERVICE_UNAVAILABLE Unavailable "overloaded";
    /// This integration uses its whole share of the server; try again.
    IntegrationBusy = SERVICE_UNAVAILABLE Unavailable "integration_busy";
    /// This company uses its whole share of the server; try again.
    CompanyBusy = SERVICE_UNAVAILABLE Unavailable "company_busy";
    /// The request took too long; it may still take effect.
    RequestTimeout = SERVICE_UNAVAILABLE Unavailable "request_timeout";
    /// The server's disk is full; try again later.
    StorageFull = SERVICE_UNAVAILABLE Unavailable "storage_full";
    /// The server cannot store anything right now; try again later.
    StorageUnavailable = SERVICE_UNAVAILABLE Unavailable "storage_unavailable";
    /// The integration is being loaded; try again in a few seconds.
    PluginLoading = SERVICE_UNAVAILABLE Unavailable "plugin_loading";
    /// The plugin's queue is full; try again.
    PluginBusy = SERVICE_UNAVAILABLE Unavailable "plugin_busy";
    /// The integration was removed before the delivery was processed.
    PluginRemoved = SERVICE_UNAVAILABLE Unavailable "plugin_removed";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs branch on these names: each must be there once, and be described.
    #[test]
    fn every_code_has_one_name_and_a_sentence() {
        let mut names: Vec<_> = ProblemCode::ALL.iter().map(|it| it.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ProblemCode::ALL.len());
        for code in ProblemCode::ALL {
            assert!(code.about().len() > 15 && code.about().ends_with('.'), "{code:?}");
            assert!(!code.status().is_success());
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
        }
    }
}
