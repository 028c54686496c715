//! Problems that many operations share, for their descriptions: those of the layers and the extractors.
//!
//! An operation names the sets that apply before its own responses, which take precedence.
//!
//! Depends on its neighbours.

use std::collections::BTreeMap;

use axum::http::HeaderName;
use utoipa::{
    IntoResponses,
    openapi::{
        Content, ObjectBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder, Type,
        path::{Operation, Parameter, ParameterIn},
    },
};

/// The media type of problems.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// The media type of everything else.
pub(super) const JSON: &str = "application/json";
/// The header that names a request, so that it takes effect once.
pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header that marks the answer to a repeat.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const IF_NONE_MATCH: &str = "If-None-Match";
/// The media type of server-sent events.
pub(super) const EVENT_STREAM: &str = "text/event-stream";
const PROBLEM_SCHEMA: &str = "#/components/schemas/Problem";

type Responses = BTreeMap<String, RefOr<Response>>;

/// Problems of every operation.
pub(super) enum Read {}

impl IntoResponses for Read {
    fn responses() -> Responses {
        problems(&[
            (400, "A parameter or a header that cannot be understood"),
            (429, "The client has used up its quota: Retry-After says when to go on"),
            (500, "A fault of the shop"),
            (503, "Nothing was done: try again"),
            (504, "The answer was not ready in time"),
        ])
    }
}

/// Problems of operations that change something.
pub(super) enum Write {}

impl IntoResponses for Write {
    fn responses() -> Responses {
        let mut responses = Read::responses();
        responses.extend(problems(&[
            (504, "The outcome is unknown: repeat it with the same key"),
            (507, "The disk is nearly full: reads go on"),
        ]));
        responses
    }
}

/// Problems of operations with a JSON body.
pub(super) enum JsonBody {}

impl IntoResponses for JsonBody {
    fn responses() -> Responses {
        problems(&[
            (400, "A body that is not JSON, or a parameter or a header that cannot be understood"),
            (408, "The body did not arrive in time"),
            (413, "The body is too large"),
            (415, "The body is not application/json"),
            (422, "A field breaks its rule"),
        ])
    }
}

/// Problems of operations that read the token, even an optional one.
pub(super) enum Token {}

impl IntoResponses for Token {
    fn responses() -> Responses {
        problems(&[(401, "The token is missing or not to be believed")])
    }
}

/// Problems of operations that read `If-Match`.
pub(super) enum Conditional {}

impl IntoResponses for Conditional {
    fn responses() -> Responses {
        problems(&[(412, "It has changed since"), (428, "The shop wants an If-Match")])
    }
}

fn problems(known: &[(u16, &str)]) -> Responses {
    let problem = |description: &str| {
        let content = Content::new(Some(Ref::new(PROBLEM_SCHEMA)));
        ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build()
    };
    known.iter().map(|(status, description)| (status.to_string(), problem(description).into())).collect()
}

/// Completes every operation of the document: names the media type of problems, which the operations' own responses
/// omit, and adds the problems of the layers around all handlers.
pub(super) fn complete(api: &mut OpenApi) {
    for item in api.paths.paths.values_mut() {
        let reads = [&mut item.get];
        let writes = [&mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        reads.into_iter().flatten().for_each(|operation| complete_operation(operation, Reads::Only));
        writes.into_iter().flatten().for_each(|operation| complete_operation(operation, Reads::AndWrites));
    }
}

/// Whether an operation only reads. The body of one that does is ignored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    Only,
    AndWrites,
}

/// Whether the operation takes an `Idempotency-Key`.
pub(super) fn takes_key(operation: &Operation) -> bool {
    let is_key = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(Parameter { name, parameter_in: ParameterIn::Header, .. }) => name.eq_ignore_ascii_case(KEY.as_str()),
        RefOr::T(_) | RefOr::Ref(_) => false,
    };
    operation.parameters.iter().flatten().any(is_key)
}

fn complete_operation(operation: &mut Operation, reads: Reads) {
    let takes_key = takes_key(operation);
    let responses = &mut operation.responses.responses;
    for response in responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        if response.content.get(JSON).is_some_and(is_problem) {
            let content = response.content.drain(..).map(|(_, content)| (PROBLEM_JSON.to_owned(), content));
            response.content = content.collect();
        }
    }
    let answers = |kind: &str| {
        responses.iter().any(|(status, response)| match response {
            RefOr::T(response) => status.starts_with('2') && response.content.contains_key(kind),
            RefOr::Ref(_) => false,
        })
    };
    let (is_json, is_stream) = (answers(JSON), answers(EVENT_STREAM));
    let mut shared = problems(&[(400, "The path, the query or a header cannot be understood")]);
    if is_json || is_stream {
        shared.extend(problems(&[(406, "The Accept header excludes what this resource answers")]));
    }
    if operation.request_body.is_some() {
        shared.extend(problems(&[(415, "The body has a content coding that the shop does not decode")]));
    } else if reads == Reads::AndWrites {
        shared.extend(problems(&[
            (408, "The body did not arrive in time"),
            (413, "The body is too large"),
            (415, "There is a body, and it is not application/json"),
            (422, "There is a body with members"),
        ]));
    }
    if takes_key {
        shared.extend(problems(&[
            (409, "A request with the key is in flight"),
            (422, "The key was used with another request, or the body breaks a rule"),
        ]));
    }
    // The layers make a tag of every JSON that somebody may keep.
    if reads == Reads::Only && is_json {
        let kept = ResponseBuilder::new().description("The client's copy is still right").build();
        responses.entry("304".to_owned()).or_insert_with(|| kept.into());
        let header = Parameter::builder().name(IF_NONE_MATCH).parameter_in(ParameterIn::Header);
        let text = ObjectBuilder::new().schema_type(Type::String).build();
        let parameters = operation.parameters.get_or_insert_with(Vec::new);
        parameters.push(header.required(Required::False).schema(Some(text)).build().into());
    }
    for (status, response) in shared {
        responses.entry(status).or_insert(response);
    }
}

fn is_problem(content: &RefOr<Content>) -> bool {
    let RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. }) = content else { return false };
    schema.ref_location == PROBLEM_SCHEMA
}
