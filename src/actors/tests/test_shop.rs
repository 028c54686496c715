//! A small shop for tests of the checkout: real orders, carts and inventories on the real journal, the list of open
//! orders, and a payment provider that survives the shop and fails on demand.
//!
//! Depends on the runtime.

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{FutureExt, future};
use parking_lot::Mutex;

use super::{
    disk::Disk,
    runtime::{open_journal, silence_planned_panics, small_journal, until},
};
use crate::{
    actors::{
        directory::{Directory, DirectoryLimits},
        drive::DriveLimits,
        follower::CaughtUp,
        lists::{self, ListsProjection},
        projection::Projection,
        reply::{Accepted, AskError, NotDelivered},
        runtime::{Runtime, RuntimeParts},
    },
    clock::Clock,
    domain::{
        cart,
        entity::{Entity, Timestamp},
        ids::{OrderId, ProductId, RequestKey, SellerId, UserId},
        inventory,
        money::{Currency, Money},
        order::{self, Address, PaymentState, Placement, RefundState, Status},
    },
    payments::{
        Answer, Gateway, Notice, NoticeRefused, Operation, OperationKey, Payment, PaymentsPage, ProviderPayment,
        Repayment, Unknown,
        fake_provider::{FakeProvider, LedgerEffect},
    },
    storage::{Journal, Position},
};

pub(super) const PRICE_MINOR: u64 = 100;
pub(super) const DEADLINE_MS: u64 = 900_000;

/// What the provider does with a charge that it has not seen yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProviderFault {
    /// Charges, but the answer is lost.
    AnswerLost,
    /// The request is lost: it does not charge, and the outcome is unknown.
    RequestLost,
    /// Charges, and never answers.
    Hangs,
    /// Answers that it works on the payment, and forgets it.
    Processes,
}

/// The fake provider with faults. It survives the shop, and each of the next requests takes a fault from the queue.
pub(super) struct Provider {
    inner: FakeProvider,
    faults: Mutex<VecDeque<ProviderFault>>,
    calls: Mutex<Vec<OperationKey>>,
}

impl Provider {
    pub(super) fn with_faults(faults: &[ProviderFault]) -> Arc<Self> {
        let faults = Mutex::new(faults.iter().copied().collect());
        Arc::new(Self { inner: FakeProvider::in_memory(), faults, calls: Mutex::default() })
    }

    pub(super) fn add_fault(&self, fault: ProviderFault) {
        self.faults.lock().push_back(fault);
    }

    pub(super) fn calls(&self) -> Vec<OperationKey> {
        self.calls.lock().clone()
    }

    /// The sum captured and not refunded for an order, in minor units, and the number of captures.
    pub(super) fn balance(&self, order: OrderId) -> (i64, usize) {
        let (name, mut balance, mut captures) = (order.to_string(), 0, 0);
        for line in self.inner.ledger() {
            let minor = i64::try_from(line.amount.minor).unwrap();
            match line.effect {
                _ if line.parts().is_none_or(|(order, ..)| order != name) => {}
                LedgerEffect::Captured => (balance, captures) = (balance + minor, captures + 1),
                LedgerEffect::Refunded => balance -= minor,
                _ => {}
            }
        }
        (balance, captures)
    }

    /// Executes a request with the next fault, if there is one.
    fn with_fault<'a, T: Send + 'a>(&'a self, key: OperationKey, answer: Answer<'a, T>) -> Answer<'a, T> {
        async move {
            self.calls.lock().push(key);
            let fault = self.faults.lock().pop_front();
            let lost = || Err(Unknown::new("lost on purpose"));
            match fault {
                None => answer.await,
                Some(ProviderFault::AnswerLost) => {
                    let _ = answer.await;
                    lost()
                }
                Some(ProviderFault::RequestLost | ProviderFault::Processes) => lost(),
                Some(ProviderFault::Hangs) => {
                    let _ = answer.await;
                    std::future::pending().await
                }
            }
        }
        .boxed()
    }
}

impl Gateway for Provider {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn pay(&self, mut payment: Payment) -> Answer<'_, PaymentState> {
        if !payment.method.starts_with("tok_") {
            payment.method = "tok_success".into();
        }
        let processes = self.faults.lock().front() == Some(&ProviderFault::Processes);
        if processes {
            self.faults.lock().pop_front();
            self.calls.lock().push(payment.key(Operation::Charge));
            return future::ready(Ok(PaymentState::Processing { reference: "pi_1".into() })).boxed();
        }
        self.with_fault(payment.key(Operation::Charge), self.inner.pay(payment))
    }

    fn find(&self, payment: Payment) -> Answer<'_, Option<PaymentState>> {
        self.with_fault(payment.key(Operation::Charge), self.inner.find(payment))
    }

    fn look_up(&self, reference: String) -> Answer<'_, Option<ProviderPayment>> {
        self.inner.look_up(reference)
    }

    fn capture(&self, payment: Payment) -> Answer<'_, PaymentState> {
        self.with_fault(payment.key(Operation::Capture), self.inner.capture(payment))
    }

    fn void(&self, payment: Payment) -> Answer<'_, PaymentState> {
        self.with_fault(payment.key(Operation::Void), self.inner.void(payment))
    }

    fn refund(&self, repayment: Repayment) -> Answer<'_, RefundState> {
        self.with_fault(repayment.key(), self.inner.refund(repayment))
    }

    fn list_payments(&self, since: Timestamp, until: Timestamp, after: Option<String>) -> Answer<'_, PaymentsPage> {
        self.inner.list_payments(since, until, after)
    }

    fn signature_header(&self) -> &'static str {
        "scripted-signature"
    }

    fn notice(&self, _: &str, _: &[u8], _: Timestamp) -> Result<Notice, NoticeRefused> {
        Err(NoticeRefused::NotSetUp)
    }
}

/// The journal is gone, so no command can be sent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

#[derive(Clone)]
pub(super) struct TestShop {
    /// The directory of the journal.
    pub path: PathBuf,
    pub journal: Journal,
    pub disk: Arc<Disk>,
    pub clock: Clock,
    runtime: Arc<Runtime>,
}

impl std::ops::Deref for TestShop {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.runtime
    }
}

impl TestShop {
    /// A shop whose checkout repeats without a pause.
    pub(super) async fn open(path: &Path, provider: &Arc<Provider>, clock: Clock) -> Self {
        let limits = DriveLimits { back_off_ms_min: 1, back_off_ms_max: 8, ..DriveLimits::default() };
        Self::open_with(path, provider, clock, limits).await
    }

    pub(super) async fn open_with(path: &Path, provider: &Arc<Provider>, clock: Clock, limits: DriveLimits) -> Self {
        silence_planned_panics();
        let drive_limits = DriveLimits { provider_ms_max: 50, ..limits };
        let disk = Disk::new();
        let mut config = small_journal(path, &disk);
        // One batch per record, so that a crash can come between any two of them.
        config.limits.batch_records_max = 1;
        let journal = open_journal(config).await;
        // Entities that fail come back at once, because the clock of these tests stands still.
        let limits =
            DirectoryLimits { back_off_ms_min: 0, back_off_ms_max: 0, live_max: 8, ..DirectoryLimits::default() };
        let parts = RuntimeParts {
            journal: journal.clone(),
            clock: clock.clone(),
            gateway: Arc::clone(provider) as Arc<_>,
            directory_limits: limits,
            drive_limits,
            lists_commit_ms_min: 0,
            // No pass of the reconciler during a test.
            reconcile_every_ms: 86_400_000,
            payment_deadline_ms: DEADLINE_MS,
            read_models: Vec::new(),
        };
        let runtime = Arc::new(Runtime::start(parts).await.unwrap());
        Self { path: path.to_owned(), journal, disk, clock, runtime }
    }

    pub(super) async fn close(&self) {
        self.runtime.close().await;
        self.journal.close().await.unwrap();
    }

    /// Repeats a command until there is a definite answer, as a patient customer does.
    pub(super) async fn insist<E: Entity>(
        &self,
        directory: &Directory<E>,
        id: &E::Id,
        command: impl Fn() -> E::Command,
    ) -> Result<Result<Accepted<E::View>, E::Rejection>, Gone> {
        self.insist_once(directory, id, command, None).await
    }

    /// The same for a request with a key.
    pub(super) async fn insist_once<E: Entity>(
        &self,
        directory: &Directory<E>,
        id: &E::Id,
        command: impl Fn() -> E::Command,
        request: Option<RequestKey>,
    ) -> Result<Result<Accepted<E::View>, E::Rejection>, Gone> {
        loop {
            match directory.ask_once(id, command(), request).await {
                Ok(accepted) => return Ok(Ok(accepted)),
                Err(AskError::Rejected(rejection)) => return Ok(Err(rejection)),
                Err(AskError::KeyReused) => panic!("{id}: the key was used for another command"),
                Err(AskError::NotDelivered(NotDelivered::Closed)) => return Err(Gone),
                Err(AskError::Unknown | AskError::NotDelivered(_)) => {
                    if self.disk.is_broken() {
                        return Err(Gone);
                    }
                    tokio::time::timeout(std::time::Duration::from_millis(1), std::future::pending::<()>())
                        .await
                        .unwrap_err();
                }
            }
        }
    }

    pub(super) async fn stock(&self, product: u8, quantity: u64) -> Result<(), Gone> {
        let opened = self
            .insist(&self.entities.inventories, &product_id(product), || inventory::Command::Open { quantity })
            .await?;
        opened.unwrap();
        Ok(())
    }

    pub(super) async fn fill_cart(&self, customer: UserId, lines: &[(u8, u32)]) -> Result<(), Gone> {
        for (product, quantity) in lines {
            let line = cart::Line { product: product_id(*product), quantity: *quantity };
            let set = || cart::Command::Add { lines: vec![line.clone()], currency: Currency::INR };
            let request = RequestKey { key: u128::from(*product), fingerprint: 1 };
            self.insist_once(&self.entities.carts, &customer, set, Some(request)).await?.unwrap();
        }
        Ok(())
    }

    pub(super) async fn status(&self, order: OrderId) -> Option<Status> {
        self.entities.orders.read(&order).await.unwrap().view.status()
    }

    /// Waits until the checkout has nothing left to do for an order.
    pub(super) async fn until_at_rest(&self, order: OrderId) {
        until("the order is at rest", async || {
            let status = self.status(order).await;
            !matches!(status, Some(Status::Placed | Status::PaymentPending | Status::Paid | Status::Cancelling))
        })
        .await;
    }

    /// Checks everything that must hold when the whole shop is at rest. `added` is what customers put into their carts.
    pub(super) async fn check(&self, provider: &Provider, orders: &[OrderId], added: &HashMap<(UserId, u8), u32>) {
        let (mut reserved, mut sold) = (HashMap::new(), HashMap::new());
        let (mut held, mut open) = (HashMap::new(), HashMap::<UserId, Vec<OrderId>>::new());
        for id in orders {
            let order = self.entities.orders.read(id).await.unwrap().view;
            let (Some(status), Some(placement)) = (order.status(), order.placement()) else {
                assert_eq!(provider.balance(*id), (0, 0), "nothing is captured for an order that does not exist");
                continue;
            };
            let paid = if status.is_paid() { i64::try_from(placement.total.minor).unwrap() } else { 0 };
            let (balance, captures) = provider.balance(*id);
            assert!(balance == paid && captures <= 1, "{id:?} is {status:?}, {captures} captures leave {balance}");
            let was_sold = order.history().iter().any(|entry| entry.status == Status::Confirmed);
            for line in &placement.lines {
                let of_customer = held.entry((placement.customer, line.product.clone())).or_insert(0);
                match status {
                    Status::AwaitingPayment => {
                        *reserved.entry(line.product.clone()).or_insert(0) += u64::from(line.quantity);
                        *of_customer += line.quantity;
                    }
                    // An order cancelled after its sale was sold all the same; a receipt returned it to stock.
                    Status::Confirmed | Status::Cancelled if was_sold => {
                        *sold.entry(line.product.clone()).or_insert(0) += u64::from(line.quantity);
                        *of_customer += line.quantity;
                    }
                    Status::Cancelled | Status::Expired | Status::Rejected => {}
                    other => panic!("{id:?} is not at rest: {other:?}"),
                }
            }
            if status == Status::AwaitingPayment {
                open.entry(placement.customer).or_default().push(*id);
            }
        }
        let products: std::collections::BTreeSet<u8> = added.keys().map(|(_, product)| *product).collect();
        for product in products {
            let (id, view) =
                (product_id(product), self.entities.inventories.read(&product_id(product)).await.unwrap().view);
            let expected = (reserved.get(&id).copied().unwrap_or(0), sold.get(&id).copied().unwrap_or(0));
            assert_eq!((view.reserved_quantity, view.sold), expected, "reserved and sold of {id}");
            assert_eq!(view.received, view.on_hand + view.sold);
        }
        for ((customer, product), quantity) in added {
            let view = self.entities.carts.read(customer).await.unwrap().view;
            let id = product_id(*product);
            let in_cart = view.lines.iter().find(|line| line.product == id).map_or(0, |line| line.quantity);
            let in_orders = held.get(&(*customer, id.clone())).copied().unwrap_or(0);
            assert_eq!(in_cart + in_orders, *quantity, "{id} of {customer:?}: in the cart and in orders");
            let mut known: Vec<_> = view.open_orders.iter().map(|(order, _)| *order).collect();
            let mut expected = open.get(customer).cloned().unwrap_or_default();
            known.sort();
            expected.sort();
            assert_eq!(known, expected, "the open orders of {customer:?}");
        }
        self.check_lists().await;
    }

    /// Waits until the lists contain everything durable.
    pub(super) async fn lists_have_all(&self) {
        assert_eq!(self.lists_progress.catch_up(std::time::Duration::from_secs(30)).await, CaughtUp::Yes);
    }

    /// Checks that the lists equal those built from the entities themselves.
    pub(super) async fn check_lists(&self) {
        self.lists_have_all().await;
        let journal = self.journal.clone();
        let made = tokio::task::spawn_blocking(move || {
            let elsewhere = tempfile::tempdir().unwrap();
            let other = Journal::open(small_journal(elsewhere.path(), &Disk::new())).unwrap();
            let mut projection = ListsProjection::open(other.clone(), Arc::default()).unwrap();
            for kind in projection.kinds() {
                let mut scan = journal.scan(*kind as u8).unwrap();
                while let Some(stream) = scan.next() {
                    let stream = stream.unwrap();
                    projection.seed(&stream, &scan.load(&stream).unwrap()).unwrap();
                }
            }
            projection.commit(Position(1)).unwrap();
            let all = |journal: &Journal| journal.read_models().scan(lists::NAME, &[], None, usize::MAX).unwrap();
            (all(&journal), all(&other))
        });
        let (followed, made) = made.await.unwrap();
        assert!(!followed.is_empty());
        assert_eq!(followed, made);
    }

    /// Ends the checkout at once, as a bug in it would.
    pub(super) fn kill_checkout(&self) {
        if let Some(actor) = self.checkout.running() {
            actor.kill();
        }
    }

    /// Ends one of the owners at once.
    pub(super) fn kill_owner(&self, which: u8) {
        match which % 3 {
            0 => kill(&self.entities.orders),
            1 => kill(&self.entities.carts),
            _ => kill(&self.entities.inventories),
        }
    }
}

fn kill<E: Entity>(directory: &Directory<E>) {
    if let Some(owner) = directory.owner().0.owner.read().as_ref() {
        owner.kill();
    }
}

pub(super) fn product_id(product: u8) -> ProductId {
    format!("p{product}").parse().unwrap()
}

/// A placement of these lines, computed from this version of the cart.
pub(super) fn placement(customer: UserId, cart_version: u64, lines: &[(u8, u32)], now: Timestamp) -> Arc<Placement> {
    let money = |minor| Money::new(minor, Currency::INR).unwrap();
    let line = |(product, quantity): &(u8, u32)| order::OrderLine {
        product: product_id(*product),
        title: format!("Product {product}"),
        seller: SellerId(9),
        quantity: *quantity,
        unit_price: money(PRICE_MINOR),
    };
    let units: u64 = lines.iter().map(|(_, quantity)| u64::from(*quantity)).sum();
    let address = Address {
        name: "Asha".into(),
        line1: "1 Road".into(),
        line2: None,
        city: "Pune".into(),
        region: None,
        postal_code: "411001".into(),
        country: "IN".into(),
        phone: None,
    };
    Arc::new(Placement {
        customer,
        lines: lines.iter().map(line).collect(),
        shipping: money(0),
        tax: money(0),
        total: money(units * PRICE_MINOR),
        address,
        cart_version,
        fingerprint: 7,
        deadline: now.plus_ms(DEADLINE_MS),
        at: now,
    })
}
