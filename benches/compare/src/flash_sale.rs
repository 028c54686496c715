//! The flash sale, side by side: every engine reserves one unit of one product for one order after another.
//!
//! The engines take turns, so that other load on the machine meets all of them; the median of the turns counts.
//!
//! Depends on `over_http`, `postgres`, `redis` and `support`.

use crate::{
    over_http::{Ask, Program},
    postgres::{Form, Server as Postgres},
    redis::{Server as Redis, Sync},
    skip,
    support::{
        self, Latencies,
        flash_sale::{Engine, Row, measure, sells_exactly},
        hot_product::HotProduct,
        median,
    },
};

/// The numbers of concurrent callers.
const CALLERS: [usize; 3] = [1, 8, 64];
/// The same for engines that gain from still more callers.
const CALLERS_MANY: [usize; 4] = [1, 8, 64, 1_024];
const TURNS: usize = 3;

/// Measures all engines and prints the table.
pub(crate) async fn run() -> anyhow::Result<()> {
    support::ask(
        "how many units of one product a second does each engine keep for orders, durably, one by one?",
        "Souk in process 20 times PostgreSQL's best from 64 callers, 5 times Redis without a sync from 1,024; \
         over HTTP an adjustment >= 20,000/s, a paid order >= 1,000/s; nobody sells too much",
    );
    let postgres = Postgres::start().await.inspect_err(|error| skip("PostgreSQL", error)).ok();
    let mut redis = Vec::new();
    for sync in [Sync::Always, Sync::EverySecond] {
        redis.extend(Redis::start(sync).await.inspect_err(|error| skip(&format!("Redis ({sync:?})"), error)).ok());
    }
    let program = Program::start().await?;
    let mut table = Table::default();
    for turn in 0..TURNS {
        for form in [Form::Transaction, Form::OneStatement] {
            if let Some(server) = &postgres {
                table.sale(&server.by(form), &CALLERS, turn).await;
            }
        }
        if turn == 0 {
            table.best_of = table.lines.len();
        }
        for server in &redis {
            table.sale(server, &CALLERS_MANY, turn).await;
        }
        let souk = HotProduct::alone().await;
        table.sale(&souk, &CALLERS_MANY, turn).await;
        souk.close().await;
        for ask in [Ask::Adjustment, Ask::PaidOrder] {
            table.sale(&program.by(ask), &CALLERS, turn).await;
        }
    }
    table.print();
    Ok(())
}

#[derive(Default)]
struct Table {
    lines: Vec<Line>,
    /// How many of the first lines are PostgreSQL's, whose best one is 1.
    best_of: usize,
}

struct Line {
    name: String,
    callers: usize,
    per_second: Vec<f64>,
    latencies: Latencies,
}

impl Table {
    async fn sale(&mut self, engine: &impl Engine, callers: &[usize], turn: usize) {
        if turn == 0 {
            sells_exactly(engine).await;
        }
        for &callers in callers {
            self.add(measure(engine, callers, turn).await);
        }
    }

    fn add(&mut self, row: Row) {
        let Row { name, callers, per_second, latencies } = row;
        match self.lines.iter_mut().find(|line| line.name == name && line.callers == callers) {
            Some(line) => {
                line.per_second.push(per_second);
                line.latencies.add(&latencies);
            }
            None => self.lines.push(Line { name, callers, per_second: vec![per_second], latencies }),
        }
    }

    fn print(&self) {
        let rates: Vec<f64> = self.lines.iter().map(|line| median(line.per_second.clone())).collect();
        let best = rates.iter().take(self.best_of).copied().max_by(f64::total_cmp);
        println!("Result:     every engine sold exactly what there was, and kept what it acknowledged");
        println!(
            "{:<76} {:>7} {:>9} {:>9} {:>9} {:>9}",
            "engine; how", "callers", "ops/s", "p50 ms", "p99 ms", "ratio"
        );
        for (Line { name, callers, latencies, .. }, rate) in self.lines.iter().zip(&rates) {
            let ratio = best.map_or_else(|| "-".into(), |best| format!("{:.2}", rate / best));
            let (p50, p99) = (latencies.at(0.5), latencies.at(0.99));
            println!("{name:<76} {callers:>7} {rate:>9.0} {p50:>9.3} {p99:>9.3} {ratio:>9}");
        }
        println!("ops/s: median of {TURNS} turns; ratio: to PostgreSQL's best in this run");
        println!("peers over Unix sockets, a connection a caller; Souk in process, or over TCP on loopback");
    }
}
