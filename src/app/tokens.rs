//! Makes access tokens in bulk for a load run, for customers who have no password, because hashing a password for each
//! would take hours of processor time.
//!
//! It gives nobody new rights: whoever can read the data directory has the shop's keys and could sign any token.
//!
//! May depend on `shop` and `domain`.

use std::io::{self, Write};

use futures::{StreamExt, TryStreamExt, stream};
use secrecy::ExposeSecret;
use serde::Serialize;

use crate::{
    config::layout,
    domain::{account::Role, entity::Timestamp},
    shop::{Error, Shop, accounts::Session},
};

/// The mode of a file of tokens: whoever can read it can act as these customers.
pub const FILE_MODE: u32 = layout::FILE_MODE;
/// The most customers that one file is made for: as many as a load run may have.
pub const CUSTOMERS_MAX: usize = 100_000;
/// How many accounts are created at once: enough to share the journal's syncs.
const ACCOUNTS_AT_ONCE: usize = 256;

/// Why the tokens were not written.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// More than [`CUSTOMERS_MAX`], or none.
    #[error("the number of customers must be 1 to {CUSTOMERS_MAX}")]
    Customers,
    /// The operator has no account.
    #[error("{email} has no account: make one with `souk admin create`")]
    #[allow(missing_docs, reason = "the names say it")]
    NoOperator { email: String },
    /// The operator may not run the shop.
    #[error("{email} is a customer, who may neither send parcels nor change prices")]
    #[allow(missing_docs, reason = "the names say it")]
    NotAnOperator { email: String },
    /// The shop cannot be written to.
    #[error(transparent)]
    Shop(#[from] Error),
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] io::Error),
}

/// A line of the file: the members of the answer to a login, so that `souk load` reads both alike.
#[derive(Serialize)]
struct Line<'a> {
    user_id: String,
    role: Role,
    access_token: &'a str,
    access_expires_at: String,
    refresh_token: &'a str,
}

/// Logs in `customers` customers, whose accounts are created if they are missing, and an operator if one is named.
/// Writes a JSON line of tokens for each. The next call uses the same accounts, in new sessions.
///
/// # Errors
/// [`TokensError`]; the file is then incomplete.
pub async fn write(
    shop: &Shop,
    customers: usize,
    operator: Option<&str>,
    mut output: impl Write,
) -> Result<(), TokensError> {
    if !(1..=CUSTOMERS_MAX).contains(&customers) {
        return Err(TokensError::Customers);
    }
    if let Some(email) = operator {
        let session = match shop.vouch_for_operator(email).await {
            Ok(session) => session,
            Err(Error::Forbidden(_)) => return Err(TokensError::NotAnOperator { email: email.to_owned() }),
            Err(Error::NotFound(_)) => return Err(TokensError::NoOperator { email: email.to_owned() }),
            Err(error) => return Err(error.into()),
        };
        write_line(&session, &mut output)?;
    }
    let logins = stream::iter(0..customers).map(async |number| {
        let email = format!("customer-{number}@load.example");
        shop.ensure_customer_without_password(&email).await?;
        Ok::<_, TokensError>(shop.vouch(&email).await?)
    });
    let mut logins = logins.buffered(ACCOUNTS_AT_ONCE);
    while let Some(session) = logins.try_next().await? {
        write_line(&session, &mut output)?;
    }
    Ok(output.flush()?)
}

fn write_line(Session { user, role, tokens }: &Session, output: &mut impl Write) -> Result<(), TokensError> {
    let line = Line {
        user_id: user.to_string(),
        role: *role,
        access_token: tokens.access_token.expose_secret(),
        access_expires_at: time(tokens.access_expires_at),
        refresh_token: tokens.refresh_token.expose_secret(),
    };
    serde_json::to_writer(&mut *output, &line).map_err(io::Error::from)?;
    Ok(output.write_all(b"\n")?)
}

fn time(at: Timestamp) -> String {
    let milliseconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}
