//! Problems that many operations share, for their descriptions: those of the layers and the extractors.
//!
//! An operation names the sets that apply before its own responses, which take precedence.
//!
//! Depends on its neighbours.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses,
    openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder},
};

/// The media type of problems.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
const JSON: &str = "application/json";
const PROBLEM_SCHEMA: &str = "#/components/schemas/Problem";

type Responses = BTreeMap<String, RefOr<Response>>;

/// Problems of every operation.
pub(super) enum Read {}

impl IntoResponses for Read {
    fn responses() -> Responses {
        problems(&[
            (400, "A parameter or a header that cannot be understood"),
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

fn problems(known: &[(u16, &str)]) -> Responses {
    let problem = |description: &str| {
        let content = Content::new(Some(Ref::new(PROBLEM_SCHEMA)));
        ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build()
    };
    known.iter().map(|(status, description)| (status.to_string(), problem(description).into())).collect()
}

/// Adds the media type of problems, which the operations' own responses omit.
pub(super) fn name_media_types(api: &mut OpenApi) {
    let items = api.paths.paths.values_mut();
    let operations = items.flat_map(|item| [&mut item.get, &mut item.put, &mut item.post, &mut item.delete]).flatten();
    for response in operations.flat_map(|operation| operation.responses.responses.values_mut()) {
        let RefOr::T(response) = response else { continue };
        if response.content.get(JSON).is_some_and(is_problem) {
            let content = response.content.drain(..).map(|(_, content)| (PROBLEM_JSON.to_owned(), content));
            response.content = content.collect();
        }
    }
}

fn is_problem(content: &RefOr<Content>) -> bool {
    let RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. }) = content else { return false };
    schema.ref_location == PROBLEM_SCHEMA
}
