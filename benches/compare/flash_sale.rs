//! The flash sale, side by side: every engine keeps one unit of one product for one order after another.

use crate::{
    over_http::{Ask, Program},
    postgres::{Form, Server as Postgres},
    redis::{Server as Redis, Sync},
    skip,
    support::{
        self,
        flash_sale::{Engine, Row, measure, sells_exactly},
        hot_product::HotProduct,
    },
};

/// How many reserve at once.
const CALLERS: [usize; 3] = [1, 8, 64];
/// And where more of them still give more.
const CALLERS_MANY: [usize; 4] = [1, 8, 64, 1_024];

/// Runs all engines and prints the table.
pub(crate) async fn run() -> anyhow::Result<()> {
    support::ask(
        "how many units of one product a second does each engine keep for orders, durably, one by one?",
        "Souk in process 20 times PostgreSQL's best from 64 callers, 5 times Redis without a sync from 1,024; \
         over HTTP an adjustment >= 20,000/s, a paid order >= 1,000/s; nobody sells too much",
    );
    let (mut rows, mut best) = (Vec::new(), None);
    match Postgres::start().await {
        Ok(server) => {
            for form in [Form::Transaction, Form::OneStatement] {
                sale(&server.by(form), &CALLERS, &mut rows).await;
            }
            best = rows.iter().map(|row| row.per_second).max_by(f64::total_cmp);
        }
        Err(error) => skip("PostgreSQL", &error),
    }
    for sync in [Sync::Always, Sync::EverySecond] {
        match Redis::start(sync).await {
            Ok(server) => sale(&server, &CALLERS_MANY, &mut rows).await,
            Err(error) => skip(&format!("Redis ({sync:?})"), &error),
        }
    }
    let souk = HotProduct::alone().await;
    sale(&souk, &CALLERS_MANY, &mut rows).await;
    souk.close().await;
    let program = Program::start().await?;
    for ask in [Ask::Adjustment, Ask::PaidOrder] {
        sale(&program.by(ask), &CALLERS, &mut rows).await;
    }
    print(&rows, best);
    Ok(())
}

async fn sale(engine: &impl Engine, callers: &[usize], rows: &mut Vec<Row>) {
    sells_exactly(engine).await;
    for &callers in callers {
        rows.push(measure(engine, callers).await);
    }
}

fn print(rows: &[Row], best: Option<f64>) {
    println!("Result:     every engine sold exactly what there was, and kept what it acknowledged");
    println!("{:<76} {:>7} {:>9} {:>9} {:>9} {:>9}", "engine; how", "callers", "ops/s", "p50 ms", "p99 ms", "ratio");
    for Row { name, callers, per_second, latencies } in rows {
        let ratio = best.map_or_else(|| "-".into(), |best| format!("{:.2}", per_second / best));
        let (p50, p99) = (latencies.at(0.5), latencies.at(0.99));
        println!("{name:<76} {callers:>7} {per_second:>9.0} {p50:>9.3} {p99:>9.3} {ratio:>9}");
    }
    println!(
        "ratio: to PostgreSQL's best in this run; peers over Unix sockets, Souk in process or over TCP on loopback"
    );
}
