//! Reads JSON bodies: a good one is read once, by serde; of one that is refused every fault is told. Writes long
//! answers.
//!
//! Depends on its neighbours.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;
use serde_path_to_error::Segment;
use utoipa::ToSchema;

use super::{
    error::Problem,
    responses::JSON,
    schema::{Fault, below, faults_of, value},
};

/// How many bytes most answers have at the most: an order has about a thousand.
pub(super) const ANSWER_BYTES: usize = 1_024;

/// A JSON answer, like that of `axum`, but written into a buffer that seldom has to grow.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match bytes(&self.0, ANSWER_BYTES) {
            Ok(bytes) => ([(header::CONTENT_TYPE, JSON)], bytes).into_response(),
            Err(problem) => problem.into_response(),
        }
    }
}

/// Reads a whole body.
pub(super) fn parse<T: DeserializeOwned + ToSchema>(bytes: &[u8]) -> Result<T, Problem> {
    // serde would accept a list as an object, its elements being the fields in order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        // Not JSON at all is said before that.
        value(bytes).map_err(|error| Problem::malformed_json(&error))?;
        return Err(Problem::invalid("", "must be an object"));
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => refused::<T>(bytes),
        Category::Io | Category::Syntax | Category::Eof => Problem::malformed_json(&error),
    })
}

/// The JSON of an answer of about this many bytes: one allocation instead of one for each doubling.
pub(super) fn bytes(value: &impl Serialize, about: usize) -> Result<Vec<u8>, Problem> {
    // The serializer owns its buffer: through a reference every write would be a call.
    let mut serializer = serde_json::Serializer::new(Vec::with_capacity(about));
    value.serialize(&mut serializer).map_err(|_| Problem::fault())?;
    Ok(serializer.into_inner())
}

/// What is wrong with JSON that is not of this type.
fn refused<T: DeserializeOwned + ToSchema>(bytes: &[u8]) -> Problem {
    let value = match value(bytes) {
        Ok(value) => value,
        Err(error) => return Problem::malformed_json(&error),
    };
    let mut faults = faults_of::<T>(&value);
    if faults.is_empty() {
        faults.extend(fault_beside_the_schema::<T>(bytes));
    }
    Problem::invalid_fields(&faults)
}

/// What a schema cannot say, such as that a member is given twice.
fn fault_beside_the_schema<T: DeserializeOwned>(bytes: &[u8]) -> Option<Fault> {
    let deserializer = &mut serde_json::Deserializer::from_slice(bytes);
    let error = serde_path_to_error::deserialize::<_, T>(deserializer).err()?;
    let pointer = error.path().iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => below(&pointer, &index.to_string()),
        Segment::Map { key } => below(&pointer, key),
        Segment::Enum { .. } | Segment::Unknown => pointer,
    });
    let text = error.inner().to_string();
    let twice = text.strip_prefix("duplicate field `").and_then(|rest| rest.split('`').next());
    Some(match twice {
        Some(name) if pointer == name || pointer.ends_with(&format!("/{name}")) => {
            Fault { pointer, detail: "is given twice".to_owned() }
        }
        Some(name) => Fault { pointer: below(&pointer, name), detail: "is given twice".to_owned() },
        None => Fault { pointer, detail: "has a value that it cannot have".to_owned() },
    })
}
