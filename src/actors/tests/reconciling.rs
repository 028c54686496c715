//! What the reconciler does beside comparing payments.
//!
//! Depends on the runtime.

use super::{
    saga::in_one_life,
    test_shop::{Provider, TestShop},
};
use crate::{
    actors::reconciler::Pass,
    clock::Clock,
    domain::{
        entity::Timestamp,
        unmatched_notices::{Command, DAYS_KEPT, Day, UnmatchedNotice},
    },
};

#[test]
fn old_notices_are_forgotten_also_after_a_long_downtime() {
    const TODAY: u32 = 20_000;
    let path = tempfile::tempdir().unwrap();
    let now = Timestamp(u64::from(TODAY) * 86_400_000);
    in_one_life(async {
        let shop = TestShop::open(path.path(), &Provider::with_faults(&[]), Clock::manual(now)).await;
        let notices = &shop.entities.unmatched_notices;
        let days = [0, DAYS_KEPT - 1, DAYS_KEPT, 2 * DAYS_KEPT, 400, 3_000].map(|ago| Day(TODAY - ago));
        for day in days {
            let notice = UnmatchedNotice::new("payment_intent.succeeded", "pi_1", "", now);
            shop.insist(notices, &day, || Command::Keep { id: 1, notice: notice.clone() }).await.unwrap().unwrap();
        }
        let result = shop.reconciler.request(Pass::Full).await.unwrap();
        assert_eq!(result.problem, None);
        for (index, day) in days.into_iter().enumerate() {
            let is_forgotten = notices.read(&day).await.unwrap().view.is_empty();
            assert_eq!(is_forgotten, index >= 2, "day {day}");
        }
        shop.close().await;
    });
}
