//! What operators are told of payments whose requests fail, and when that ends by itself.
//!
//! Depends on the runtime.

use super::{
    runtime::until,
    saga::{NOW, act, drive, in_one_life},
    stories::STORIES,
    test_shop::{Provider, ProviderFault, TestShop},
};
use crate::{
    actors::drive::DriveLimits,
    clock::Clock,
    domain::{
        ids::OrderId,
        order::{About, CaptureMode, Command, IssueKind, Poll, Status},
    },
};

/// The limits of a driver each of whose failures ends the drive.
fn patient() -> DriveLimits {
    DriveLimits { back_off_ms_min: 1_000, ..DriveLimits::default() }
}

/// Places the first story's order and asks for its payment, which is captured as said.
async fn pay_first(shop: &TestShop, capture: CaptureMode) {
    let story = &STORIES[0];
    story.prepare(shop).await.unwrap();
    act(shop, story.actions[0]).await.unwrap();
    let request = || Command::RequestPayment { method: "tok_success".to_owned(), key: None, capture };
    shop.insist(&shop.entities.orders, &OrderId(1), request).await.unwrap().unwrap();
    drive(shop, 1).await.unwrap();
}

async fn issues(shop: &TestShop) -> Vec<&'static str> {
    let read = shop.entities.orders.read(&OrderId(1)).await.unwrap().view;
    read.open_issue_kinds().map(IssueKind::as_str).collect()
}

#[test]
fn a_void_that_fails_for_long_raises_an_issue_also_with_long_pauses() {
    let path = tempfile::tempdir().unwrap();
    let (provider, clock) = (Provider::with_faults(&[]), Clock::manual(NOW));
    let (limits, order) = (patient(), OrderId(1));
    in_one_life(async {
        let shop = TestShop::open_with(path.path(), &provider, clock.clone(), limits).await;
        pay_first(&shop, CaptureMode::Later).await;
        assert_eq!(shop.status(order).await, Some(Status::Authorised));
        provider.add_fault(ProviderFault::RequestLost);
        shop.insist(&shop.entities.orders, &order, || Command::Cancel).await.unwrap().unwrap();
        drive(&shop, 1).await.unwrap();
        assert_eq!((shop.status(order).await, issues(&shop).await), (Some(Status::Cancelling), vec![]));
        // Longer than the time until an issue is raised, and long before the next drive.
        provider.add_fault(ProviderFault::RequestLost);
        clock.advance_ms(limits.issue_ms);
        until("an operator is told", async || issues(&shop).await == ["payment_unknown"]).await;
        clock.advance_ms(limits.back_off_ms_max);
        until("the payment is voided", async || shop.status(order).await == Some(Status::Cancelled)).await;
        until("the issue has resolved itself", async || issues(&shop).await.is_empty()).await;
        shop.close().await;
    });
}

#[test]
fn a_hold_that_is_polled_in_vain_raises_no_issue_until_that_has_lasted_and_somebody_waits() {
    let path = tempfile::tempdir().unwrap();
    let (provider, clock) = (Provider::with_faults(&[]), Clock::manual(NOW));
    let (limits, order) = (patient(), OrderId(1));
    in_one_life(async {
        let shop = TestShop::open_with(path.path(), &provider, clock.clone(), limits).await;
        pay_first(&shop, CaptureMode::Later).await;
        assert_eq!((shop.status(order).await, provider.calls().len()), (Some(Status::Authorised), 1));
        // Now the payment was requested longer ago than an answer may take.
        clock.advance_ms(2 * limits.issue_ms);
        until("the hold is polled", async || provider.calls().len() == 2).await;
        provider.add_fault(ProviderFault::RequestLost);
        shop.checkout.drive(order, None, Poll::Now).await;
        assert_eq!((provider.calls().len(), issues(&shop).await), (3, vec![]), "it was answered before");
        let news = || Command::Notify { about: About::Attempt(1), notice: None };
        shop.insist(&shop.entities.orders, &order, news).await.unwrap().unwrap();
        provider.add_fault(ProviderFault::RequestLost);
        drive(&shop, 1).await.unwrap();
        assert_eq!((provider.calls().len(), issues(&shop).await), (4, vec![]), "the trouble has only begun");
        provider.add_fault(ProviderFault::RequestLost);
        clock.advance_ms(limits.issue_ms);
        until("an operator is told", async || issues(&shop).await == ["payment_unknown"]).await;
        clock.advance_ms(limits.back_off_ms_max);
        until("the issue has resolved itself", async || issues(&shop).await.is_empty()).await;
        assert_eq!(shop.status(order).await, Some(Status::Authorised));
        shop.close().await;
    });
}

#[test]
fn an_answer_settles_the_issue_of_a_payment_on_which_the_provider_still_works() {
    // With short pauses a failed poll is followed by a rest until the next one.
    for limits in [patient(), DriveLimits { back_off_ms_min: 1, back_off_ms_max: 8, ..DriveLimits::default() }] {
        let path = tempfile::tempdir().unwrap();
        let (provider, clock) = (Provider::with_faults(&[ProviderFault::Processes]), Clock::manual(NOW));
        let order = OrderId(1);
        in_one_life(async {
            let shop = TestShop::open_with(path.path(), &provider, clock.clone(), limits).await;
            pay_first(&shop, CaptureMode::AtOnce).await;
            provider.add_fault(ProviderFault::RequestLost);
            shop.checkout.drive(order, None, Poll::Now).await;
            assert_eq!((provider.calls().len(), issues(&shop).await), (2, vec![]));
            // The customer looks at the order, which polls nothing.
            drive(&shop, 1).await.unwrap();
            provider.add_fault(ProviderFault::RequestLost);
            clock.advance_ms(limits.issue_ms);
            until("an operator is told", async || issues(&shop).await == ["payment_unknown"]).await;
            // Until it rests again: what comes after that is the next poll.
            drive(&shop, 1).await.unwrap();
            provider.add_fault(ProviderFault::Processes);
            clock.advance_ms(limits.poll_ms);
            until("the issue has resolved itself", async || issues(&shop).await.is_empty()).await;
            assert_eq!(shop.status(order).await, Some(Status::PaymentPending));
            clock.advance_ms(limits.poll_ms);
            until("it is paid", async || shop.status(order).await == Some(Status::Confirmed)).await;
            shop.close().await;
        });
    }
}
