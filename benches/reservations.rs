//! Question: how many durable reservations per second does one hot product take, in process? Prediction: at least
//! 200,000/s with 1,024 callers (a prototype of one actor and one log did 852,000), at least 50,000/s with 64, and with
//! one caller as many as the disk syncs (some thousands). `-- 1024` picks a number of callers. Against other engines:
//! `cargo run --release -p compare -- flash-sale`.
//!
//! Depends on `support`.
#![allow(clippy::print_stdout, missing_docs, reason = "a bench prints")]

mod support;

use support::{
    flash_sale::{Row, measure},
    hot_product::HotProduct,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let picked = support::picked().iter().map(|text| text.parse()).collect::<Result<Vec<usize>, _>>()?;
    support::ask(
        "how many durable reservations a second does one product take, in process?",
        ">= 200,000/s from 1,024 callers; >= 50,000/s from 64; what the disk syncs from 1",
    );
    for callers in if picked.is_empty() { vec![1, 64, 1_024] } else { picked } {
        let souk = HotProduct::alone().await;
        let Row { per_second, latencies, .. } = measure(&souk, callers, 0).await;
        let records = souk.records_per_sync();
        println!(
            "Result:     {callers:>5} callers: {per_second:>9.0}/s   {}   {records:.0} records a sync",
            latencies.show()
        );
        souk.close().await;
    }
    Ok(())
}
