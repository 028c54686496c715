//! Metrics of the server: connections, why it ended them, what was not HTTP, and TLS.
//!
//! Depends on its neighbours.

use std::{fmt, sync::Arc};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{super::serve::Figures, rows::Rows};

#[derive(Debug)]
pub(super) struct Server(pub(super) Arc<Figures>);

impl Collector for Server {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut rows, figures) = (Rows(encoder), &self.0);
        rows.gauge("connections_open", "Connections open", figures.open() as u64)?;
        rows.counter("connections_accepted", "Connections accepted", figures.accepted())?;
        let ended = figures.ended_by_cause().map(|(cause, ended)| ([("cause", cause)], ended));
        rows.counters("connections_ended", "Connections that the server has ended", ended)?;
        let bad = figures.bad_http_by_fault().map(|(cause, refused)| ([("cause", cause)], refused));
        rows.counters("bad_http", "Requests that break the rules of HTTP itself", bad)?;
        let failed = figures.handshakes_failed();
        rows.counter("tls_handshakes_failed", "TLS handshakes that have failed", failed)?;
        let read = figures.certificates_by_outcome().map(|(outcome, times)| ([("outcome", outcome)], times));
        rows.counters("tls_certificates_read", "Times that the files of the certificate were read again", read)
    }
}
