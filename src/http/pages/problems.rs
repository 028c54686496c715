//! A page for each type of problems, from the table that the answers use.
//!
//! Depends on its neighbours.

use std::fmt::Write;

use axum::{http::HeaderMap, response::Response};
use serde_json::{Value, json};

use super::{escaped, page, page_or_json};
use crate::http::{
    context::public_path,
    error::{
        Problem, TYPE_BASE,
        kinds::{self, Kind, Presence},
    },
    extract::Names,
};

/// Every type.
pub(super) async fn list(headers: HeaderMap) -> Response {
    page_or_json(&headers, list_for_people, || kinds::ALL.iter().map(|kind| for_programs(kind)).collect())
}

/// The type with the code in the path.
pub(super) async fn show(Names(code): Names<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let kind = Kind::named(&code).ok_or_else(|| Problem::not_found("type of problems"))?;
    Ok(page_or_json(&headers, || for_people(kind), || for_programs(kind)))
}

fn list_for_people() -> String {
    let mut content = String::from(
        "<h1>Problems</h1>\n<p>Errors are problems (RFC 9457). Their <code>code</code> says which of these they are.</p>\n\
         <table>\n<tr><th>status</th><th>code</th><th>what has happened</th></tr>\n",
    );
    for kind in kinds::ALL {
        let path = escaped(&public_path(&format!("/problems/{}", kind.code)));
        let (status, code, meaning) = (kind.status.as_u16(), kind.code, escaped(kind.meaning));
        let _ = writeln!(
            content,
            "<tr><td>{status}</td><td><a href=\"{path}\"><code>{code}</code></a></td><td>{meaning}</td></tr>"
        );
    }
    content.push_str("</table>\n");
    page("Problems of Souk", &content)
}

fn for_people(kind: &Kind) -> String {
    let (status, reason) = (kind.status.as_u16(), kind.status.canonical_reason().unwrap_or_default());
    let mut content = format!(
        "<h1>{}</h1>\n<p><code>{}</code>, status {status} {reason}</p>\n<p>{}</p>\n",
        escaped(kind.title),
        kind.code,
        escaped(kind.meaning),
    );
    if !kind.members.is_empty() {
        content.push_str(
            "<h2>Members</h2>\n<p>Beside <code>type</code>, <code>title</code>, <code>status</code>, <code>detail</code>, \
             <code>instance</code>, <code>code</code> and <code>trace_id</code>:</p>\n<table>\n",
        );
        for member in kind.members {
            let presence = if member.presence == Presence::Always { "" } else { "; not always there" };
            let description = escaped(member.description);
            let _ = writeln!(content, "<tr><td><code>{}</code></td><td>{description}{presence}</td></tr>", member.name);
        }
        content.push_str("</table>\n");
    }
    page(kind.title, &content)
}

fn for_programs(kind: &Kind) -> Value {
    let members: Vec<Value> =
        kind.members.iter().map(|member| json!({ "name": member.name, "description": member.description })).collect();
    json!({
        "type": format!("{TYPE_BASE}{}", kind.code), "code": kind.code, "status": kind.status.as_u16(),
        "title": kind.title, "meaning": kind.meaning, "members": members,
    })
}
