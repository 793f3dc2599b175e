//! What recipients were sent of a story, where only its earlier revisions tell.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::future::{BoxFuture, FutureExt as _, Shared};

use crate::{
    access::scope::Scope,
    article::Action,
    delivery::{
        Entry,
        group::Group,
        history::{History, Lookup},
        hub::Hub,
    },
    filter::Filter,
    recipient::{Coverage, Follows, Had, Past, Revised, trail::Trail},
    wire::log::ReadError,
};

/// Whether a correction goes to a group, on its way; whoever waits for it drives it on.
pub type Asking = Shared<BoxFuture<'static, Result<bool, Arc<ReadError>>>>;

impl Hub {
    /// Reads whether a correction goes to a group to which only what it had before brings it.
    pub fn ask(&self, group: &Arc<Group>, entry: &Arc<Entry>) -> Asking {
        let (hub, group, entry) = (self.clone(), Arc::clone(group), Arc::clone(entry));
        let asking = async move {
            match group.strays() {
                Some(strays) => hub.had_text(&strays.past, &entry, &strays.unsent).await,
                None => Ok(false),
            }
        };
        asking.boxed().shared()
    }

    /// Whether the text of a revision before this one was surely sent; `unsent` as for [`Past::had`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn had_text(
        &self,
        past: &Past,
        entry: &Entry,
        unsent: &[u64],
    ) -> Result<bool, Arc<ReadError>> {
        let judge = |seq: u64, earlier: Option<&Entry>| {
            if unsent.binary_search(&seq).is_ok() {
                return Had::No;
            }
            match past.sent(seq, |filter| is_match(earlier, filter)) {
                Had::Yes => Had::Yes,
                Had::No | Had::Maybe => Had::No,
            }
        };
        let had = |revised: &Revised<'_>| past.had(revised, unsent);
        Ok(self.each_judged(entry, judge, had).await? == Had::Yes)
    }

    /// As [`Coverage::had`], by the words of earlier revisions; or whether it was itself sent.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn had(
        &self,
        coverage: &Coverage,
        end: u64,
        entry: &Entry,
        unsent: &[u64],
    ) -> Result<Had, Arc<ReadError>> {
        let revised = entry.revised();
        let itself = coverage
            .past()
            .sent(entry.seq(), |filter| entry.matches(filter));
        let itself = itself.min(Had::Maybe);
        let had = coverage.had(end, &revised, unsent);
        if had != Had::Maybe || revised.facets.action != Action::Correct {
            return Ok(had.max(itself));
        }
        let judge = |seq: u64, earlier: Option<&Entry>| {
            let sent = coverage.sent(seq, end, |filter| is_match(earlier, filter));
            if unsent.binary_search(&seq).is_ok() {
                sent.min(Had::Maybe)
            } else {
                sent
            }
        };
        let had = |revised: &Revised<'_>| coverage.had(end, revised, unsent);
        let judged = self.each_judged(entry, judge, had).await?.max(itself);
        if judged == Had::No && coverage.past().may_have_forgotten(&revised) {
            return Ok(Had::Maybe);
        }
        Ok(judged)
    }

    /// As [`Coverage::was_sent`] of a recipient that has come to a sequence.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn was_sent(
        &self,
        coverage: &Coverage,
        at: u64,
        entry: &Entry,
        unsent: &[u64],
    ) -> Result<Had, Arc<ReadError>> {
        let (places, revised) = ((entry.seq(), at), entry.revised());
        let matches = |filter: &_| entry.matches(filter);
        let sent = coverage.was_sent(places, &revised, matches, unsent);
        let follows = sent == Had::Maybe
            && revised.facets.action == Action::Correct
            && self.had_text(coverage.past(), entry, unsent).await?;
        Ok(if follows { Had::Yes } else { sent })
    }

    /// As [`Coverage::reaches`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn reaches(
        &self,
        coverage: &Coverage,
        recall: &Entry,
        granted: Option<&Scope>,
        unsent: &[u64],
    ) -> Result<bool, Arc<ReadError>> {
        match coverage.reaches(recall.seq(), &recall.revised(), granted, unsent) {
            Follows::No => Ok(false),
            Follows::Yes => Ok(true),
            Follows::IfHadText => self.had_text(coverage.past(), recall, unsent).await,
        }
    }

    /// Judges each earlier revision that has text by its words, and by the trail those that are kept no
    /// more. `judge` is asked first, without the entry, whether that can tell anything.
    async fn each_judged(
        &self,
        entry: &Entry,
        judge: impl Fn(u64, Option<&Entry>) -> Had,
        had: impl Fn(&Revised<'_>) -> Had,
    ) -> Result<Had, Arc<ReadError>> {
        let (mut most, mut read) = (Had::No, Vec::new());
        let revised = entry.revised();
        let named: BTreeSet<u64> = revised.trail.into_iter().flat_map(Trail::named).collect();
        // The newest tells as a rule.
        for seq in named.into_iter().rev() {
            if judge(seq, None) == Had::No {
                continue;
            }
            let Some(earlier) = self.shared_entry_at(seq).await? else {
                continue;
            };
            if !earlier.stored.record.action.is_notice() {
                most = most.max(judge(seq, Some(&earlier)));
            }
            if most == Had::Yes {
                return Ok(most);
            }
            read.push(seq);
        }
        read.sort_unstable();
        let rest = Revised {
            read: &read,
            ..revised
        };
        Ok(most.max(had(&rest)))
    }

    /// As [`Hub::entry_at`], from a page that is shared with others.
    async fn shared_entry_at(&self, seq: u64) -> Result<Option<Arc<Entry>>, Arc<ReadError>> {
        if let Some(entry) = self.entry_in_ring(seq) {
            return Ok(Some(entry));
        }
        if seq < self.log().retained_from() {
            // Pages begin there; before it only newest revisions are kept.
            return Ok(self.entry_at(seq).await?);
        }
        let mut start = History::page_start(seq.saturating_sub(1));
        loop {
            let page = match self.history().page(start) {
                Lookup::Page(page) => page,
                Lookup::Reading(reading) => match reading.await {
                    Ok(page) => page,
                    Err(error) if self.history().is_passing(&error) => continue,
                    Err(error) => return Err(error),
                },
            };
            if page.end >= seq || page.end <= start {
                return Ok(page.entry_at(seq));
            }
            start = page.end;
        }
    }
}

/// Whether an entry matches a filter; none = it may.
fn is_match(entry: Option<&Entry>, filter: &Filter) -> bool {
    entry.is_none_or(|entry| entry.matches(filter))
}
