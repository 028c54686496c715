//! The cursors of every list: each continues its own list, and no other.

use serde_json::{Value, json};

use crate::{
    issues,
    provider::Provider,
    support::{Client, product, units},
};

/// A list as a client reads it, one item a page.
struct List<'a>(&'a Client, &'static str);

impl List<'_> {
    fn path(&self) -> String {
        let joint = if self.1.contains('?') { '&' } else { '?' };
        format!("{}{joint}limit=1", self.1)
    }

    async fn first(&self) -> Value {
        self.0.get(&self.path()).await.expect(200)
    }

    /// The page after the item that the first page shows.
    async fn continues(&self, cursor: &str) {
        let next = self.0.get(&format!("{}&after={cursor}", self.path())).await.expect(200);
        assert_eq!(next["items"].as_array().unwrap().len(), 1, "{}", self.1);
        assert_ne!(next["items"], self.first().await["items"], "{}", self.1);
    }

    async fn refuses(&self, cursor: &str) {
        self.0.get(&format!("{}&after={cursor}", self.path())).await.problem(400, "invalid-cursor");
    }
}

/// Texts that are nearly this cursor.
fn damaged(cursor: &str) -> Vec<String> {
    let flip = |at: usize| {
        let other = if &cursor[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &cursor[..at], &cursor[at + 1..])
    };
    let last = cursor.len() - 1;
    vec![
        flip(0),
        flip(1),
        flip(last / 2),
        flip(last),
        cursor[..last].to_owned(),
        format!("{cursor}A"),
        cursor.repeat(9),
    ]
}

#[tokio::test]
async fn every_list_takes_its_own_cursors_only() {
    let provider = Provider::new().await;
    let (app, seller, asha, admin) = issues::shop(&provider).await;
    let ravi = app.customer("ravi").await;
    for id in ["CABLE-2", "PHONE-2"] {
        seller.post("/products", &product(id, "Braided USB cable for a phone", 10_000)).await.expect(201);
    }
    for customer in [&asha, &ravi] {
        for id in ["CABLE", "PHONE"] {
            customer.buy(id, 1).await;
            let review = json!({"rating": 4, "title": "Good"});
            customer.post(&format!("/products/{id}/reviews"), &review).await.expect(201);
        }
        let order = customer.order("CABLE", 1).await;
        customer.pay(&order, "tok_refund_fails").await.expect(200);
        seller.deliver(&order).await;
        let refund = json!({"items": units(&[("CABLE", 1)]), "restock": true, "reason": "broken"});
        seller.refund(&order, &refund).await.expect(201);
    }
    app.caught_up().await;
    let anonymous = app.anonymous();
    let lists = [
        List(&asha, "/orders"),
        List(&ravi, "/orders"),
        List(&seller, "/orders?as=seller"),
        List(&admin, "/orders?stage=confirmed"),
        List(&admin, "/orders?stage=delivered"),
        List(&admin, issues::LIST),
        List(&anonymous, "/products/CABLE/reviews"),
        List(&anonymous, "/products/PHONE/reviews"),
        List(&anonymous, "/products"),
        List(&anonymous, "/products?sort=price_asc"),
        List(&anonymous, "/products?q=phone"),
        List(&anonymous, "/products?q=phone&max_price=20000"),
        List(&anonymous, "/products/search_item=cable"),
        List(&asha, "/orders?stage=confirmed"),
        List(&asha, "/orders?from=2020-01-01"),
        List(&asha, "/orders?from=2020-01-02&to=2099-01-01"),
        List(&asha, "/orders?updated_since=2020-01-01"),
        List(&seller, "/orders?as=seller&stage=confirmed"),
        List(&admin, "/orders?stage=confirmed&from=2020-01-01"),
    ];
    let without_items =
        [List(&seller, "/orders"), List(&admin, "/orders?as=seller"), List(&admin, "/orders?stage=shipped")];
    let mut cursors = Vec::new();
    for list in &lists {
        let first = list.first().await;
        cursors.push(first["next_cursor"].as_str().unwrap_or_else(|| panic!("{}: {first}", list.1)).to_owned());
    }
    for (at, list) in lists.iter().enumerate() {
        list.continues(&cursors[at]).await;
        let foreign = cursors.iter().enumerate().filter(|(of, _)| *of != at).map(|(_, cursor)| cursor.clone());
        let junk = ["!", "nonsense", "AQ", "%00", "%C3%A9"].map(str::to_owned);
        for cursor in foreign.chain(damaged(&cursors[at])).chain(junk) {
            list.refuses(&cursor).await;
        }
    }
    for list in &without_items {
        assert_eq!(list.first().await["items"], json!([]), "{}", list.1);
        for cursor in &cursors {
            list.refuses(cursor).await;
        }
    }
    // The same search by its other path.
    List(&anonymous, "/products?q=cable").continues(&cursors[12]).await;
}
