//! Reads a running shop through its API as an admin: orders and stock; with the provider's ledger, the money is
//! checked.
//!
//! A running shop changes while it is read. The checker therefore waits until orders come to rest, and a finding counts
//! only if a second reading has it, too. It sends reads and a login, and nothing else.
//!
//! Depends on its neighbours, `domain` and `clock`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};

use super::{
    VerifyError,
    answers::StockBody,
    history::{History, Line, Stock},
    ledger::Ledger,
    observed::{Observed, ObservedOrder, ObservedStock},
    report::{Invariant, Report},
};
use crate::{
    clock::Clock,
    domain::{
        entity::Timestamp,
        money::{Money, MoneyError},
        order::{Stage, Status},
    },
};

/// The time-out of a request.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// How many products are read at once.
const READS_AT_ONCE: usize = 16;
/// The pause between two readings of a shop that is not at rest.
const PAUSE: Duration = Duration::from_millis(200);

/// A running shop, and the login of an admin.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Access {
    /// The shop's address: `http://host:port`.
    pub url: String,
    pub login: Login,
    /// How long to wait for the shop to come to rest.
    pub patience: Duration,
}

/// The login of the checker.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Login {
    /// The access token of an admin.
    Token(SecretString),
    /// An admin's e-mail address and password.
    Password { email: String, password: SecretString },
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct OrderBody {
    order_id: String,
    status: Status,
    items: Vec<LineBody>,
    shipping: Money,
    tax: Money,
    total: Money,
    #[serde(default)]
    refunds: Vec<RefundBody>,
    #[serde(deserialize_with = "moment")]
    payment_deadline: Timestamp,
    history: Vec<Step>,
}

#[derive(Deserialize)]
struct RefundBody {
    status: String,
    amount: Money,
}

#[derive(Deserialize)]
struct LineBody {
    product_id: String,
    quantity: u32,
    unit_price: Money,
}

#[derive(Deserialize)]
struct Step {
    status: Status,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
}

/// An order on the list of those with open issues.
#[derive(Deserialize)]
struct Attention {
    order: AttentionOrder,
}

#[derive(Deserialize)]
struct AttentionOrder {
    order_id: String,
}

#[derive(Deserialize)]
struct Session {
    access_token: String,
}

struct Client {
    http: reqwest::Client,
    base: Url,
    token: SecretString,
}

impl Client {
    async fn log_in(access: &Access) -> Result<Self, VerifyError> {
        let wrong = |problem: String| VerifyError::Address { url: access.url.clone(), problem };
        if !access.url.contains("://") {
            return Err(wrong(format!("write http:// before it: http://{}", access.url)));
        }
        let base: Url = access.url.parse().map_err(|error| wrong(format!("it is no URL: {error}")))?;
        if base.scheme() != "http" || base.cannot_be_a_base() {
            return Err(wrong("it must begin with http://".into()));
        }
        let http = reqwest::Client::builder().timeout(REQUEST_TIME_MAX).no_proxy().build();
        let http = http.map_err(|error| VerifyError::Failed(error.to_string()))?;
        let mut client = Self { http, base, token: SecretString::default() };
        client.token = match &access.login {
            Login::Token(token) => token.clone(),
            Login::Password { email, password } => {
                let body = serde_json::json!({ "email": email, "password": password.expose_secret() });
                let request = client.http.post(client.at(&["auth", "login"])).json(&body);
                let session: Option<Session> = client.send(request, "logging in").await?;
                let session = session.ok_or_else(|| wrong("it has no login".into()))?;
                SecretString::from(session.access_token)
            }
        };
        // Ask for an admin's list, so that a wrong token is noticed at once.
        let _: Page<OrderBody> = client.page(&["orders"], &[("stage", Stage::Open.as_str()), ("limit", "1")]).await?;
        Ok(client)
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        url
    }

    /// An answer, or `None` for a 404.
    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder, doing: &str) -> Result<Option<T>, VerifyError> {
        let response = request.send().await.map_err(|error| {
            // The innermost cause says more than the error itself: "connection refused".
            let cause = std::iter::successors(std::error::Error::source(&error), |error| error.source()).last();
            let problem = cause.map_or_else(|| error.to_string(), ToString::to_string);
            VerifyError::Unreachable { url: self.base.to_string(), problem }
        })?;
        let refused = |status: StatusCode, why: &str| VerifyError::Refused {
            doing: doing.to_owned(),
            status: status.as_u16(),
            why: why.to_owned(),
        };
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status == StatusCode::UNAUTHORIZED => Err(refused(status, "the token or password is not valid")),
            status if status == StatusCode::FORBIDDEN => Err(refused(status, "an admin is needed")),
            status if status.is_success() => match response.json().await {
                Ok(body) => Ok(Some(body)),
                Err(error) => Err(refused(status, &format!("the answer is not what was expected: {error}"))),
            },
            status => Err(refused(status, "the shop does not answer")),
        }
    }

    async fn page<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Page<T>, VerifyError> {
        let mut url = self.at(path);
        url.query_pairs_mut().extend_pairs(query);
        let request = self.http.get(url).bearer_auth(self.token.expose_secret());
        let doing = format!("reading /{}", path.join("/"));
        let page = self.send(request, &doing).await?;
        page.ok_or_else(|| VerifyError::Refused { doing, status: 404, why: "this is no shop".into() })
    }

    /// Every item of a list, page by page.
    async fn list<T: DeserializeOwned>(&self, path: &[&str], filter: &[(&str, &str)]) -> Result<Vec<T>, VerifyError> {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut query = [filter, &[("limit", "100")]].concat();
            query.extend(after.as_deref().map(|cursor| ("after", cursor)));
            let page = self.page(path, &query).await?;
            found.extend(page.items);
            match page.next_cursor {
                Some(cursor) => after = Some(cursor),
                None => return Ok(found),
            }
        }
    }

    async fn orders(&self, stage: Stage) -> Result<Vec<OrderBody>, VerifyError> {
        self.list(&["orders"], &[("stage", stage.as_str())]).await
    }

    /// Every unfinished order, and whether one of them may change without a request.
    async fn under_way(&self) -> Result<(BTreeMap<String, Status>, bool), VerifyError> {
        let (mut orders, mut moving) = (BTreeMap::new(), false);
        for stage in Stage::ALL.into_iter().filter(|stage| is_unfinished(*stage)) {
            let listed = self.orders(stage).await?;
            moving |= listed.iter().any(moves);
            orders.extend(listed.into_iter().map(|order| (order.order_id, order.status)));
        }
        Ok((orders, moving))
    }

    async fn read(&self, more: &BTreeSet<String>) -> Result<Observed, VerifyError> {
        let (before, moving) = self.under_way().await?;
        let mut observed = Observed { at: Clock::system().now(), ..Observed::default() };
        for stage in Stage::ALL {
            let listed = self.orders(stage).await?;
            observed.orders.extend(listed.into_iter().map(|order| (order.order_id.clone(), observed_order(&order))));
        }
        for Attention { order } in self.list(&["admin", "payments", "attention"], &[]).await? {
            if let Some(order) = observed.orders.get_mut(&order.order_id) {
                order.has_issues = true;
            }
        }
        let listed: Vec<Listed> = self.list(&["products"], &[]).await?;
        let mut products: BTreeSet<String> = listed.into_iter().map(|product| product.id).collect();
        products.extend(observed.orders.values().flat_map(|order| &order.lines).map(|(product, _)| product.clone()));
        products.extend(more.iter().cloned());
        let reads = stream::iter(products).map(|product| async move {
            let request = self.http.get(self.at(&["products", &product, "inventory"]));
            let stock = self.send(request.bearer_auth(self.token.expose_secret()), "reading stock").await?;
            Ok::<_, VerifyError>(stock.map(|stock: StockBody| (product, observed_stock(&stock))))
        });
        let stocks: Vec<_> = reads.buffer_unordered(READS_AT_ONCE).try_collect().await?;
        observed.stocks.extend(stocks.into_iter().flatten());
        let (after, moving_still) = self.under_way().await?;
        observed.consistent = !moving && !moving_still && before == after;
        Ok(observed)
    }
}

fn observed_stock(stock: &StockBody) -> ObservedStock {
    let StockBody { received, on_hand, sold, reserved_quantity, available } = *stock;
    let stock = Stock { received, on_hand, sold, reserved: reserved_quantity, available };
    ObservedStock { stock, holds: None }
}

fn observed_order(order: &OrderBody) -> ObservedOrder {
    let lines: Vec<Line> = order.items.iter().map(|item| (item.product_id.clone(), item.quantity)).collect();
    let amounts = order.items.iter().map(|item| item.unit_price.times(item.quantity));
    let sum = |charges: Result<Money, MoneyError>| amounts.fold(charges, |sum, amount| sum?.plus(amount?));
    ObservedOrder {
        status: order.status,
        lines,
        total: order.total,
        refunded_minor: refunded_minor(order),
        sum: sum(order.shipping.plus(order.tax)).ok(),
        course: order.history.iter().map(|step| step.status).collect(),
        deadline: order.payment_deadline,
        // Another list says so.
        has_issues: false,
        resumed: None,
    }
}

/// The refunds; `None` while the provider works on one.
fn refunded_minor(order: &OrderBody) -> Option<u64> {
    let is_settled = order.refunds.iter().all(|refund| refund.status != "pending");
    let refunded = order.refunds.iter().filter(|refund| refund.status == "refunded");
    is_settled.then(|| refunded.map(|refund| refund.amount.minor).sum())
}

/// Whether orders of this stage are not finished.
fn is_unfinished(stage: Stage) -> bool {
    match stage {
        Stage::Open | Stage::Authorised | Stage::Paid => true,
        Stage::Confirmed | Stage::Packed | Stage::Shipped | Stage::Delivered | Stage::Ended => false,
    }
}

/// Whether an unfinished order may change without a request. One that waits for its customer's payment, its seller's
/// capture or the provider's refund may not, for all that the checker can wait for.
fn moves(order: &OrderBody) -> bool {
    match order.status {
        Status::AwaitingPayment | Status::Authorised => false,
        Status::Cancelling => refunded_minor(order).is_some(),
        _ => true,
    }
}

/// Parses a time of the API.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    let at: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
    u64::try_from(at.as_millisecond()).map(Timestamp).map_err(|_| D::Error::custom(format!("{text} is before 1970")))
}

/// Reads until nothing wrong is found, the same findings appear twice, or the patience is over.
pub(super) async fn check(
    access: &Access,
    history: Option<&History>,
    ledger: Option<&Path>,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let client = Client::log_in(access).await?;
    let shown = history.into_iter().flat_map(History::products).collect();
    let until = Instant::now() + access.patience;
    let mut before: Option<Report> = None;
    loop {
        let observed = client.read(&shown).await?;
        let ledger = ledger.map(Ledger::read).transpose()?;
        let mut found = Report::default();
        super::judge(&observed, history, ledger.as_ref(), &mut found);
        found.leave_open(Invariant::I1, "variants that are in no order");
        let certain =
            observed.consistent && (found.is_clean() || before.as_ref().is_some_and(|b| b.findings == found.findings));
        if certain || Instant::now() >= until {
            *report = found;
            return Ok(());
        }
        before = observed.consistent.then_some(found);
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_with_a_deadline_that_is_no_time_is_refused() {
        let body = |deadline: &str| {
            let free = serde_json::json!({"amount": 0, "currency": "INR"});
            let body = serde_json::json!({"order_id": "1", "status": "placed", "items": [], "shipping": free,
                "tax": free, "total": free, "payment_deadline": deadline, "history": []});
            serde_json::from_value::<OrderBody>(body)
        };
        assert_eq!(body("2026-11-23T00:00:00.001Z").unwrap().payment_deadline, Timestamp(1_795_392_000_001));
        for wrong in ["soon", "", "2026-11-23", "1969-12-31T23:59:59Z"] {
            assert!(body(wrong).is_err(), "the check whether it is late would never fail: {wrong}");
        }
    }
}
