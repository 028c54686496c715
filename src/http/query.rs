//! Says what is wrong with a query that was refused, in the names of its parameters.
//!
//! Depends on its neighbours.

use std::collections::BTreeSet;

use axum::{extract::Query, http::Uri};
use serde_json::Value;
use utoipa::{IntoParams, openapi::path::ParameterIn};

use super::{
    error::Problem,
    schema::{FAULTS_MAX, fault_of_text},
};

/// The problem of a query that is not of this type: everything that its description says against it.
pub(super) fn refused<T: IntoParams>(uri: &Uri) -> Problem {
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
