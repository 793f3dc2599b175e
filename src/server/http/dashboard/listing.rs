//! Listing: what the lists of the desk's pages have in common.

use jiff::Timestamp;
use maud::{Markup, html};

use crate::{
    delivery::lag::Lag,
    server::http::dashboard::{story::View, wish::Wish},
};

/// Where the script says that the page can't be brought up to date.
pub fn stale() -> Markup {
    html! { p id="stale" role="status" data-live {} }
}

/// A table that may be wider than its page: its name, its columns and its rows.
pub fn table(name: &str, columns: &[&str], rows: &Markup) -> Markup {
    html! {
        div class="wide" role="group" aria-label=(name) tabindex="0" {
            table {
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// The ways to the next page of a list, and to the first.
pub fn further(view: &View<'_>, wish: &Wish, path: &str, next: &str) -> Markup {
    let [on, first] = view.tongue.desk().recipients.pages;
    html! {
        @if !next.is_empty() || !wish.page.is_empty() {
            p class="buttons" {
                @if !wish.page.is_empty() { a href=(wish.recipients(path, &wish.partner, "")) { (first) } }
                @if !next.is_empty() {
                    a rel="next" href=(wish.recipients(path, &wish.partner, next)) { (on) }
                }
            }
        }
    }
}

/// Where one partner's alone are shown: whose, and the way to everybody's.
pub fn of_partner(view: &View<'_>, wish: &Wish, path: &str) -> Markup {
    let texts = &view.tongue.desk().recipients;
    html! {
        @if !wish.partner.is_empty() {
            p {
                (texts.only) " " b { bdi { (wish.partner) } } " · "
                a href=(wish.recipients(path, "", "")) { (texts.everybody) }
            }
        }
    }
}

/// A partner in a list, as the way to its own.
pub fn partner(view: &View<'_>, wish: &Wish, path: &str, name: &str) -> Markup {
    html! {
        @if name.is_empty() { "–" }
        @else if view.is_desk && wish.partner.is_empty() {
            a href=(wish.recipients(path, name, "")) { bdi { (name) } }
        } @else { bdi { (name) } }
    }
}

/// How far somebody is behind.
pub fn lag(view: &View<'_>, lag: Lag) -> Markup {
    let desk = view.tongue.desk();
    let [nothing, least, time, articles] = desk.recipients.lag;
    html! {
        @if lag.articles == 0 && !lag.is_least { (nothing) }
        @else {
            @if lag.is_least { (least) " " }
            (lag.articles) " " (articles)
            @if !lag.time.is_zero() {
                " · " (time) " " bdi { (lag.time.as_secs()) " " (desk.board_texts.units[0]) }
            }
        }
    }
}

/// A time in seconds from 1970.
pub fn second(at: i64) -> Option<Timestamp> {
    Timestamp::from_second(at).ok()
}
