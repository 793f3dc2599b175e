//! Board: how the node, its NATS and its subscribers are, as a page that the script keeps up to
//! date.

use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

use crate::server::http::{
    Phase,
    dashboard::{
        assets::{BOARD_SCRIPT, CHART_SCRIPT, CHART_STYLE, LIVE_SCRIPT},
        page,
        phrases::desk::BoardPhrases,
        story::View,
        visit::Visit,
    },
    status::{LogState, ServerState, Status, Streams},
};

/// Digits after the point of a chart's newest value.
const DIGITS: usize = 1;

/// `GET /desk/status`.
pub async fn get(visit: Visit) -> Response {
    let status = Status::of(&visit.web).await;
    visit.show(StatusCode::OK, |view| show(view, &status))
}

fn show(view: &View<'_>, status: &Status) -> Markup {
    let (desk, phrases) = (view.tongue.desk(), &view.tongue.desk().board_texts);
    let [traffic, nats, subscribers] = phrases.headings;
    let content = html! {
        (page::top(view))
        main id="board" class="board" data-live-page data-stale=(phrases.stale) {
            h2 { (desk.board) }
            p id="board-state" role="status" data-live { (state(phrases, status)) }
            section aria-labelledby="traffic" {
                h3 id="traffic" { (traffic) }
                p class="hint" { (phrases.span) }
                div class="charts" { (charts(phrases, status)) }
            }
            section aria-labelledby="nats" {
                h3 id="nats" { (nats) }
                div id="board-nats" data-live { (log(phrases, status)) }
            }
            section aria-labelledby="subscribers" {
                h3 id="subscribers" { (subscribers) }
                div id="board-streams" data-live { (streams(phrases, &status.streams)) }
            }
        }
    };
    let files = html! {
        link rel="stylesheet" href=(CHART_STYLE.path());
        script src=(CHART_SCRIPT.path()) defer {}
        // A module has names of its own.
        script type="module" src=(BOARD_SCRIPT.path()) {}
        script type="module" src=(LIVE_SCRIPT.path()) {}
    };
    page::document_with(view.tongue, desk.board, &files, &content)
}

/// The worst that there is to say.
fn state(phrases: &BoardPhrases, status: &Status) -> Markup {
    let LogState {
        caught_up, stored, ..
    } = &status.log;
    let (kind, text) = if status.node.phase != Phase::Serving {
        ("bad", phrases.not_ready)
    } else if !status.nats.connected {
        ("bad", phrases.disconnected)
    } else if !caught_up {
        ("bad", phrases.behind_log)
    } else if stored.is_none() {
        ("bad", phrases.no_answer)
    } else {
        ("good", phrases.good)
    };
    let unsynced = status.nats.servers.iter();
    let unsynced = unsynced.filter(|server| server.syncs_each_write == Some(false));
    html! {
        span class={ "verdict " (kind) } { (text) }
        @for server in unsynced {
            span class="verdict bad" { bdi { (server.name) } " " (phrases.unsynced) }
        }
    }
}

fn charts(phrases: &BoardPhrases, status: &Status) -> Markup {
    let rates = &status.rates;
    let milliseconds = rates.commit_seconds.iter();
    let milliseconds: Vec<Option<f64>> = milliseconds
        .map(|mean| mean.map(|mean| 1000.0 * mean))
        .collect();
    let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
    let [articles, deliveries, commits] = phrases.charts;
    html! {
        (chart(phrases, "articles", articles, "", &rates.at, &some(&rates.revisions_per_minute)))
        (chart(phrases, "deliveries", deliveries, "", &rates.at, &some(&rates.deliveries_per_second)))
        (chart(phrases, "commits", commits, phrases.units[1], &rates.at, &milliseconds))
    }
}

/// A chart: its newest and highest value as text, and its values for the script that draws them.
fn chart(
    phrases: &BoardPhrases,
    id: &str,
    name: &str,
    unit: &str,
    at: &[i64],
    values: &[Option<f64>],
) -> Markup {
    let newest = values.iter().rev().flatten().next();
    let highest = values.iter().flatten().copied().reduce(f64::max);
    let number = |value: f64| {
        html! {
            bdi {
                (format!("{value:.DIGITS$}"))
                @if !unit.is_empty() { " " (unit) }
            }
        }
    };
    html! {
        figure id={ "chart-" (id) } data-name=(name)
            data-at=(serde_json::to_string(at).expect("plain data"))
            data-values=(serde_json::to_string(values).expect("plain data")) {
            figcaption {
                span { (name) } " "
                @match (newest, highest) {
                    (Some(newest), Some(highest)) => {
                        b { (number(*newest)) } " "
                        small { "· " (phrases.highest) " " (number(highest)) }
                    }
                    _ => b { (phrases.counting) },
                }
            }
            div class="plot" dir="ltr" aria-hidden="true" {}
        }
    }
}

fn log(phrases: &BoardPhrases, status: &Status) -> Markup {
    let [
        connection,
        reconnects,
        position,
        proof,
        size,
        messages,
        copies,
        erasures,
        release,
    ] = phrases.facts;
    let (log, nats) = (&status.log, &status.nats);
    let connected = phrases.connection[usize::from(!nats.connected)];
    let fact = |name: &str, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    html! {
        dl class="facts" {
            (fact(connection, html! { (connected) }))
            (fact(reconnects, html! { (nats.reconnects) }))
            (fact(position, html! { bdi { (log.position) } }))
            @if let Some(age) = log.confirmed_age_seconds {
                (fact(proof, html! {
                    (phrases.ago[0]) bdi { (format!("{age:.1}")) " " (phrases.units[0]) } (phrases.ago[1])
                }))
            }
            @if let Some(stored) = &log.stored {
                (fact(size, html! {
                    bdi { (bytes(stored.bytes)) }
                    @if let Some(max) = stored.bytes_max { " " (phrases.of) " " bdi { (bytes(max)) } }
                }))
                (fact(messages, html! { (stored.messages) }))
                (fact(copies, html! { (stored.replicas) }))
                (fact(erasures, html! { (stored.erasures_pending) }))
            }
            (fact(release, html! { bdi { (status.node.version) } }))
        }
        @if !nats.servers.is_empty() { (servers(phrases, &nats.servers)) }
    }
}

fn servers(phrases: &BoardPhrases, servers: &[ServerState]) -> Markup {
    let [caption, name, release, disk] = phrases.servers;
    html! {
        div class="wide" role="group" aria-label=(caption) tabindex="0" {
            table {
                caption { (caption) }
                thead { tr { th scope="col" { (name) } th scope="col" { (release) } th scope="col" { (disk) } } }
                tbody {
                    @for server in servers {
                        tr {
                            th scope="row" { bdi { (server.name) } }
                            td { @match &server.version {
                                Some(version) => bdi { (version) },
                                None => "–",
                            } }
                            td { (match server.syncs_each_write {
                                Some(true) => phrases.synced,
                                Some(false) => phrases.unsynced,
                                None => phrases.sync_unknown,
                            }) }
                        }
                    }
                }
            }
        }
    }
}

fn streams(phrases: &BoardPhrases, streams: &Streams) -> Markup {
    if streams.count == 0 {
        return html! { p class="hint" { (phrases.nobody) } };
    }
    let [open, behind] = phrases.counts;
    html! {
        p { (open) " " b { (streams.count) } " · " (behind) " " b { (streams.behind) } }
        @if streams.first.len() < streams.count { p class="hint" { (phrases.first) } }
        div class="wide" role="group" aria-label=(phrases.headings[2]) tabindex="0" {
            table class="streams" {
                thead { tr { @for column in phrases.streams { th scope="col" { (column) } } } }
                tbody {
                    @for stream in &streams.first {
                        tr class={ (if stream.live { "live" } else { "behind" }) } {
                            th scope="row" { bdi { (stream.partner.as_deref().unwrap_or(phrases.anyone)) } }
                            td { bdi { (stream.subject.as_deref().or(stream.key_id.as_deref()).unwrap_or("–")) } }
                            td { bdi { (stream.protocol) } }
                            td { (phrases.states[usize::from(!stream.live)]) }
                            td { bdi { (format!("{:.1}", stream.lag_seconds)) " " (phrases.units[0]) } }
                            td { bdi { code { (stream.cursor) } } }
                        }
                    }
                }
            }
        }
    }
}

/// Bytes for people, in powers of 1024.
fn bytes(count: u64) -> String {
    let mut unit = 1_u64;
    for name in ["B", "KiB", "MiB", "GiB"] {
        if count < unit.saturating_mul(1024) {
            let tenths = u128::from(count) * 10 / u128::from(unit);
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
        unit *= 1024;
    }
    let tenths = u128::from(count) * 10 / u128::from(unit);
    format!("{}.{} TiB", tenths / 10, tenths % 10)
}
