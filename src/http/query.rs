//! Reads queries: what has no value counts as absent, and what is refused is named by its parameters.
//!
//! Depends on its neighbours.

use std::collections::BTreeSet;

use axum::{extract::Query, http::Uri};
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::{IntoParams, openapi::path::ParameterIn};

use super::{
    error::Problem,
    schema::{FAULTS_MAX, fault_of_text},
};

/// The query as its type.
pub(super) fn read<T: DeserializeOwned + IntoParams>(uri: &Uri) -> Result<T, Problem> {
    let filled_in = filled_in::<T>(uri);
    let uri = filled_in.as_ref().unwrap_or(uri);
    match Query::try_from_uri(uri) {
        Ok(Query(value)) => Ok(value),
        Err(_) => Err(refused::<T>(uri)),
    }
}

/// The target without parameters that have no value: a form sends every field, also those that are left empty. `None`
/// if there are none. Unknown parameters stay, and are refused.
fn filled_in<T: IntoParams>(uri: &Uri) -> Option<Uri> {
    let is_empty = |pair: &str| pair.split_once('=').is_none_or(|(_, value)| value.is_empty());
    let query = uri.query()?;
    if !query.split('&').any(is_empty) {
        return None;
    }
    let described = T::into_params(|| Some(ParameterIn::Query));
    let is_known = |pair: &str| described.iter().any(|parameter| parameter.name == pair.trim_end_matches('='));
    let kept: Vec<&str> = query.split('&').filter(|pair| !(is_empty(pair) && is_known(pair))).collect();
    format!("{}?{}", uri.path(), kept.join("&")).parse().ok()
}

/// The problem of a query that is not of this type: everything that its description says against it.
fn refused<T: IntoParams>(uri: &Uri) -> Problem {
    let described = T::into_params(|| Some(ParameterIn::Query));
    let known = |name: &str| described.iter().find(|parameter| parameter.name == name);
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, text) in pairs(uri).into_iter().take(FAULTS_MAX) {
        let fault = match known(&name) {
            None => Some("is no parameter of this resource".to_owned()),
            Some(_) if !seen.insert(name.clone()) => Some("is given twice".to_owned()),
            Some(parameter) => {
                let schema = serde_json::to_value(&parameter.schema).unwrap_or(Value::Null);
                fault_of_text(&text, &schema)
            }
        };
        faults.extend(fault.map(|fault| format!("{} {fault}", name.escape_debug())));
    }
    if faults.is_empty() {
        faults.push("a parameter has a value that it cannot have".to_owned());
    }
    Problem::invalid_query(faults.join("; "))
}

fn pairs(uri: &Uri) -> Vec<(String, String)> {
    Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::paging::PageQuery;

    #[test]
    fn a_parameter_without_a_value_counts_as_absent() {
        let read = |query: &str| read::<PageQuery>(&format!("/orders?{query}").parse().unwrap());
        for (query, limit, after) in [
            ("limit=&after=", None, None),
            ("limit&after", None, None),
            ("limit=&limit=5", Some(5), None),
            ("&limit=5&", Some(5), None),
            ("after=a%3D&limit=", None, Some("a=")),
        ] {
            let page = read(query).unwrap_or_else(|_| panic!("{query}"));
            assert_eq!((page.limit, page.after.as_deref()), (limit, after), "{query}");
        }
        for query in ["limt=", "limit=5&limt", "limit=5&limit=6", "limit=x&after=", "limit=%20"] {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
