//! Refusals that come after a row was checked: what the row has changed is undone, whatever happened meanwhile.
//!
//! Depends on its neighbours.

use std::cell::Cell;

use super::*;
use crate::{
    config::Config,
    domain::{
        ids::{OrderId, SellerId, UserId},
        inventory::Command as Stock,
    },
};

const ADMIN: Editor = Editor::Admin(SellerId(0));
const ASHA: Editor = Editor::Seller(SellerId(1));
const RAVI: Editor = Editor::Seller(SellerId(2));

fn id(name: &str) -> ProductId {
    name.parse().unwrap()
}

fn listing(name: &str, title: &str, stock: Option<u64>) -> Listing {
    let details = Details { title: title.into(), ..Details::default() };
    Listing { id: id(name), details, stock, keep: Vec::new() }
}

fn terms(by: Editor) -> Terms {
    Terms { by, set_stock: SetStock::Always, dry_run: false }
}

tokio::task_local! {
    /// Which of the next answers is lost, from 1, although its command is done.
    static LOST: Cell<u32>;
}

/// The answer, unless a test loses it.
pub(super) fn or_lost<E: Entity>(answer: Answer<E>) -> Answer<E> {
    let is_lost = LOST.try_with(|lost| lost.replace(lost.get().saturating_sub(1)) == 1);
    if is_lost.unwrap_or(false) { Err(AskError::Unknown) } else { answer }
}

/// A shop of its own with the products a and b, five pieces each.
async fn shop() -> (tempfile::TempDir, Shop) {
    let directory = tempfile::tempdir().unwrap();
    let shop = Shop::open(Config { data_dir: directory.path().into(), ..Config::default() }).await.unwrap();
    let row = vec![listing("a", "A", Some(5)), listing("b", "B", Some(5))];
    let imported = shop.import_products(terms(ADMIN), row).await.unwrap();
    assert_eq!(imported, Imported { changed: 2, already_so: 0, stock_changed: 2 });
    (directory, shop)
}

impl Shop {
    async fn stock_command(&self, name: &str, command: Stock) -> inventory::View {
        self.0.runtime.entities.inventories.ask(&id(name), command).await.unwrap().view
    }

    async fn reserve_for_test(&self, name: &str, quantity: u32) {
        let (order, deadline) = (OrderId(random_u128()), Timestamp(u64::MAX / 2));
        self.stock_command(name, Stock::Reserve { order, customer: UserId(9), quantity, deadline }).await;
    }

    async fn on_hand(&self, name: &str) -> u64 {
        self.0.runtime.entities.inventories.read(&id(name)).await.unwrap().view.on_hand
    }

    async fn page(&self, name: &str) -> Option<product::View> {
        self.0.runtime.entities.products.read(&id(name)).await.unwrap().view
    }

    async fn checked(&self, by: Editor, row: Vec<Listing>) -> Vec<Checked> {
        let mut checked = Vec::new();
        for listing in row {
            checked.push(self.check_listing(terms(by), listing).await.unwrap());
        }
        checked
    }
}

#[tokio::test]
async fn a_reservation_after_the_check_refuses_the_row_and_its_stock_is_set_back() {
    let (_directory, shop) = shop().await;
    let row = shop.checked(ADMIN, vec![listing("a", "New", Some(9)), listing("b", "New", Some(1))]).await;
    shop.stock_command("a", Stock::Receive { receipt: ReceiptId(1), quantity: 10 }).await;
    shop.reserve_for_test("b", 3).await;
    let mut done = Done::default();
    let refused = shop.take_row(ADMIN, &row, &mut done).await;
    assert_eq!(shop.on_hand("a").await, 9, "counted after the delivery");
    let refused = shop.or_set_back(refused, done).await.unwrap_err();
    assert_eq!(refused.to_string(), "b: 3 are reserved, so there must be at least as many on hand");
    assert!(!refused.is_fault());
    assert_eq!((shop.on_hand("a").await, shop.on_hand("b").await), (15, 5), "with the delivery");
    assert_eq!(shop.page("a").await.unwrap().details.title, "A");
    shop.close().await.unwrap();
}

#[tokio::test]
async fn stock_that_was_reserved_before_it_is_set_back_is_named() {
    let (_directory, shop) = shop().await;
    let row = shop.checked(ADMIN, vec![listing("a", "New", Some(9)), listing("b", "New", Some(1))]).await;
    shop.reserve_for_test("b", 3).await;
    let mut done = Done::default();
    let refused = shop.take_row(ADMIN, &row, &mut done).await;
    shop.reserve_for_test("a", 8).await;
    let refused = shop.or_set_back(refused, done).await.unwrap_err();
    assert!(refused.to_string().ends_with("; the stock is already changed, and could not be set back: a"), "{refused}");
    assert_eq!(shop.on_hand("a").await, 9);
    shop.close().await.unwrap();
}

#[tokio::test]
async fn what_was_put_before_another_seller_took_an_id_is_set_back() {
    let (_directory, shop) = shop().await;
    let own = vec![listing("new", "Once", None), listing("old", "Old", Some(2))];
    shop.import_products(terms(ASHA), own).await.unwrap();
    let row = vec![listing("taken", "T", Some(4)), listing("old", "Newer", Some(7)), listing("fresh", "F", Some(1))];
    let row = shop.checked(ASHA, row).await;
    shop.import_products(terms(RAVI), vec![listing("taken", "Ravi's", None)]).await.unwrap();
    let mut done = Done::default();
    let refused = shop.take_row(ASHA, &row, &mut done).await;
    assert_eq!(shop.page("old").await.unwrap().details.title, "Newer");
    let refused = shop.or_set_back(refused, done).await.unwrap_err();
    assert_eq!(refused.to_string(), "taken: the product belongs to another seller");
    assert_eq!(shop.page("old").await.unwrap().details.title, "Old");
    assert!(!shop.page("fresh").await.unwrap().listed);
    for (name, on_hand) in [("taken", 0), ("old", 2), ("fresh", 0)] {
        assert_eq!(shop.on_hand(name).await, on_hand, "{name}");
    }
    shop.close().await.unwrap();
}

#[tokio::test]
async fn a_variant_stays_with_the_page_that_lists_it() {
    let (_directory, shop) = shop().await;
    let page = |name: &str, variants: &[&str]| {
        let mut page = listing(name, name, None);
        let variant = |name: &&str| product::Variant { product: id(name), options: Vec::new() };
        page.details.variants = variants.iter().map(variant).collect();
        page
    };
    let variant = |name: &str, of: Option<&str>| {
        let mut variant = listing(name, name, None);
        variant.details.variant_of = of.map(id);
        variant
    };
    shop.import_products(terms(ADMIN), vec![page("h", &["x"]), variant("x", Some("h"))]).await.unwrap();
    for row in [vec![page("k", &["x"]), variant("x", Some("k"))], vec![variant("x", None)]] {
        let refused = shop.import_products(terms(ADMIN), row).await.unwrap_err();
        assert!(refused.to_string().starts_with("x: it is a variant of h, which lists it"), "{refused}");
    }
    assert!(shop.page("k").await.is_none());
    shop.import_products(terms(ADMIN), vec![page("h", &[])]).await.unwrap();
    shop.import_products(terms(ADMIN), vec![page("k", &["x"]), variant("x", Some("k"))]).await.unwrap();
    shop.close().await.unwrap();
}

#[tokio::test]
async fn a_price_that_is_kept_is_the_one_at_the_moment_of_the_change() {
    let (_directory, shop) = shop().await;
    let price = |minor| Some(Money { minor, currency: "EUR".parse().unwrap() });
    shop.import_change(terms(ADMIN), &id("a"), price(100), None).await.unwrap();
    let row = shop.checked(ADMIN, vec![Listing { keep: vec![Kept::Price], ..listing("a", "New", None) }]).await;
    shop.import_change(terms(ADMIN), &id("a"), price(200), None).await.unwrap();
    shop.take_row(ADMIN, &row, &mut Done::default()).await.unwrap();
    let page = shop.page("a").await.unwrap();
    assert_eq!((page.details.title.as_str(), page.details.price), ("New", price(200)));
    shop.close().await.unwrap();
}

#[tokio::test]
async fn a_refused_price_sets_the_stock_of_a_change_back() {
    let (_directory, shop) = shop().await;
    let before = shop.page("a").await.unwrap();
    let done = Done { stock: vec![(id("a"), StockChange::By(4))], products: Vec::new() };
    shop.stock_command("a", Stock::Count { on_hand: 9, if_received: None }).await;
    let refused = Err(Refused::by(&id("a"), product::Rejection::VersionMismatch { current: before.version }));
    shop.or_set_back(refused, done).await.unwrap_err();
    assert_eq!(shop.on_hand("a").await, 5);
    let change = shop.import_change(terms(RAVI), &id("a"), None, Some(9)).await.unwrap_err();
    assert_eq!((change.to_string().as_str(), shop.on_hand("a").await), ("a: the product belongs to another seller", 5));
    shop.close().await.unwrap();
}

/// Whichever answer is lost, the row is counted and undone as if it had arrived.
#[tokio::test]
async fn a_row_of_which_an_answer_is_lost_is_set_back_whole() {
    for set_stock in [SetStock::Once, SetStock::Always] {
        for lost in 1..=4 {
            let (_directory, shop) = shop().await;
            let terms = Terms { set_stock, ..terms(ADMIN) };
            let mut kept_price = listing("a", "New", Some(9));
            kept_price.keep = vec![Kept::Price];
            let mut checked = Vec::new();
            for listing in [kept_price, listing("c", "C", Some(7))] {
                checked.push(shop.check_listing(terms, listing).await.unwrap());
            }
            let mut done = Done::default();
            let imported = LOST.scope(Cell::new(lost), shop.take_row(ADMIN, &checked, &mut done)).await.unwrap();
            let stock_changed = if set_stock == SetStock::Once { 1 } else { 2 };
            assert_eq!(imported, Imported { changed: 2, already_so: 0, stock_changed }, "{set_stock:?} {lost}");
            assert_eq!((shop.on_hand("c").await, shop.page("a").await.unwrap().details.title.as_str()), (7, "New"));

            let refused = Err(Refused::by(&id("d"), product::Rejection::NotFound));
            let refused = shop.or_set_back(refused, done).await.unwrap_err();
            assert_eq!((refused.kept.len(), refused.kept_stock.len()), (0, 0), "{set_stock:?} {lost}: {refused}");
            assert_eq!((shop.on_hand("a").await, shop.on_hand("c").await), (5, 0), "{set_stock:?} {lost}");
            assert_eq!(shop.page("a").await.unwrap().details.title, "A");
            assert!(!shop.page("c").await.unwrap().listed);
        }
    }
}

/// Where somebody delivers while an answer is lost, nobody can tell by how much the row changed the stock.
#[tokio::test]
async fn a_stock_that_cannot_be_set_back_is_named() {
    let (_directory, shop) = shop().await;
    let mut done = Done::default();
    let step = shop.check_quantity(&id("a"), 9, SetStock::Always).await.unwrap();
    shop.set_stock(&id("a"), step, &mut done).await.unwrap();
    done.stock[0].1 = StockChange::Unknown;
    let refused = shop.or_set_back(Err(Refused::by(&id("d"), product::Rejection::NotFound)), done).await.unwrap_err();
    assert_eq!(refused.kept_stock, [id("a")]);
    assert!(refused.to_string().contains("the stock is already changed, and could not be set back: a"), "{refused}");
}
