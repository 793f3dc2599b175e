//! What refusals say that blame no field, or none that an editor sees.

use maud::{Markup, html};

use crate::{
    fault::{Fault, Kind, Violation, wrong::Wrong},
    server::http::dashboard::phrases::{
        Tongue,
        wrong::{Words, api},
    },
};

/// Refusals by their stable reasons, in English and in Arabic. What is told of them stands at `{}`.
const SAID: [(&str, [&str; 2]); 47] = [
    (
        "ARTICLE_KILLED",
        [
            "This story is killed for good. Publish a new one.",
            "أُلغي هذا الخبر نهائياً. انشروا خبراً جديداً.",
        ],
    ),
    (
        "ARTICLE_WITHHELD",
        [
            "This story is withheld for now. Publish it again, or kill it.",
            "هذا الخبر محجوب مؤقتاً. أعيدوا نشره أو ألغوه.",
        ],
    ),
    (
        "ARTICLE_EMBARGOED",
        [
            "A draft under embargo until {} has this identifier, and is not on the wire yet. Give \
             another identifier, or look at the draft among those under embargo.",
            "هذا المعرّف لمسودة مؤجَّلة حتى {} ولم تُنشر بعد. اكتبوا معرّفاً آخر، أو انظروا إلى المسودة بين \
             المؤجَّلة.",
        ],
    ),
    (
        "ARTICLE_UNKNOWN",
        [
            "There is no such story. Open one from the wire.",
            "لا يوجد هذا الخبر. افتحوا خبراً من النشرة.",
        ],
    ),
    (
        "STATE_UNFIT",
        [
            "This can’t be done with the story as it is: what is killed stays so, and what is withheld \
             is published again or killed.",
            "لا يمكن ذلك والخبر على هذه الحال: ما أُلغي يبقى ملغى، وما حُجب يُعاد نشره أو يُلغى.",
        ],
    ),
    (
        "REVISION_CONFLICT",
        [
            "The story has changed meanwhile, or the form does not say which revision it is of. Open \
             the story again, and decide anew.",
            "تغيّر الخبر في الأثناء، أو لا يقول النموذج أي مراجعة يعني. افتحوا الخبر من جديد ثم قرّروا.",
        ],
    ),
    (
        "REQUEST_ID_REUSED",
        [
            "This form was sent before with another text, which is published. Send it again to publish \
             this one, too.",
            "أُرسل هذا النموذج من قبل بنص آخر، وقد نُشر. أرسلوه من جديد لنشر هذا النص أيضاً.",
        ],
    ),
    (
        "TOPICS_TOO_MANY",
        [
            "The story would have too many topics, with those of its earlier revisions. Choose fewer \
             new ones.",
            "تزيد موضوعات الخبر على المسموح به مع موضوعات مراجعاته السابقة. اختاروا موضوعات جديدة أقل.",
        ],
    ),
    (
        "EMBARGO_CONFLICT",
        [
            "The draft has changed meanwhile. Look at it again, then decide.",
            "تغيّرت المسودة في الأثناء. انظروا إليها من جديد ثم قرّروا.",
        ],
    ),
    (
        "EMBARGO_UNKNOWN",
        [
            "There is no such draft any more: it was let out or erased.",
            "لم تعد هذه المسودة موجودة: نُشرت أو مُحيت.",
        ],
    ),
    (
        "EMBARGO_BASE_MOVED",
        [
            "The story has got a newer revision since the draft was written. Hand the draft in again, \
             or cancel it.",
            "صدرت للخبر مراجعة أحدث منذ كتابة المسودة. سلّموها من جديد أو ألغوها.",
        ],
    ),
    (
        "EMBARGOES_TOO_MANY",
        [
            "Too many drafts wait under embargo already. Wait until some are out, or cancel some.",
            "بلغت المسودات المؤجَّلة حدّها. انتظروا حتى يُنشر بعضها أو ألغوا بعضها.",
        ],
    ),
    (
        "LOG_UNAVAILABLE",
        [
            "The log did not answer in time. Try again in a moment.",
            "لم يجب السجل في الوقت المحدد. أعيدوا المحاولة بعد لحظات.",
        ],
    ),
    (
        "LOG_BUSY",
        [
            "Too much waits to be written to the log. Try again in a moment.",
            "ما ينتظر الكتابة في السجل كثير. أعيدوا المحاولة بعد لحظات.",
        ],
    ),
    (
        "LOG_FULL",
        [
            "The log is full. Ask the operator to give it room.",
            "امتلأ السجل. اطلبوا من المشغّل توسيعه.",
        ],
    ),
    (
        "LOG_REFUSED",
        [
            "The log refuses this. Ask the operator.",
            "يرفض السجل هذا. راجعوا المشغّل.",
        ],
    ),
    (
        "RECORD_UNREADABLE",
        [
            "What is stored there can’t be read. Ask the operator.",
            "تعذّرت قراءة ما هو محفوظ. راجعوا المشغّل.",
        ],
    ),
    (
        "DRAINING",
        [
            "This node is stopping. Send it again in a moment.",
            "هذه العقدة تتوقف. أرسلوه من جديد بعد لحظات.",
        ],
    ),
    (
        "NOT_SERVING",
        [
            "This node does not serve yet, or no more. Come back in a moment.",
            "هذه العقدة لا تعمل بعد أو توقفت. عودوا بعد لحظات.",
        ],
    ),
    (
        "NODE_FULL",
        [
            "This node serves as many as it can. Come back in a moment.",
            "تخدم هذه العقدة أقصى ما تستطيع. عودوا بعد لحظات.",
        ],
    ),
    (
        "RATE_LIMITED",
        [
            "That is more than this key may do at a time. Wait a moment, then go on.",
            "هذا أكثر مما يُسمح به لهذا المفتاح في وقت واحد. انتظروا قليلاً ثم واصلوا.",
        ],
    ),
    (
        "BYTES_LIMIT",
        [
            "This key has taken all that it may take today. It goes on after midnight, UTC.",
            "استنفد هذا المفتاح حصته اليوم. تتجدد بعد منتصف الليل بتوقيت UTC.",
        ],
    ),
    (
        "GRANT_CHANGED",
        [
            "What this key may read has changed. Open the page again.",
            "تغيّر ما يُسمح لهذا المفتاح بقراءته. افتحوا الصفحة من جديد.",
        ],
    ),
    (
        "PATH_UNKNOWN",
        [
            "There is nothing at this address. Go on from the wire.",
            "لا شيء في هذا العنوان. واصلوا من النشرة.",
        ],
    ),
    (
        "KEY_INVALID",
        [
            "Nobody has this key: it is mistyped or not whole, or was revoked or replaced. Copy all of \
             it, or ask for another.",
            "لا أحد يملك هذا المفتاح: كُتب خطأً أو ناقصاً، أو أُلغي أو استُبدل. انسخوه كاملاً أو اطلبوا غيره.",
        ],
    ),
    (
        "KEY_MISSING",
        ["Log in with a key first.", "سجّلوا الدخول بمفتاح أولاً."],
    ),
    (
        "KEY_EXPIRED",
        [
            "This key has expired. Ask for a new one.",
            "انتهت صلاحية هذا المفتاح. اطلبوا مفتاحاً جديداً.",
        ],
    ),
    (
        "KEY_NEEDED",
        [
            "Log in with a key: this is a token.",
            "سجّلوا الدخول بمفتاح: هذا رمز مؤقت.",
        ],
    ),
    (
        "KEYS_NOT_ASKED",
        [
            "This node asks nobody for a key. Go on without one.",
            "لا تطلب هذه العقدة مفتاحاً من أحد. واصلوا بلا مفتاح.",
        ],
    ),
    (
        "KEY_IN_QUERY",
        [
            "A key stands in the address, where logs and histories keep it. Have it replaced, and log in \
             with the new one.",
            "في العنوان مفتاح، والعناوين تبقى في السجلات. اطلبوا استبداله ثم سجّلوا الدخول بالجديد.",
        ],
    ),
    (
        "PARTNER_SUSPENDED",
        [
            "The partner that has this key is suspended for now. Ask the desk.",
            "الشريك صاحب هذا المفتاح موقوف مؤقتاً. راجعوا التحرير.",
        ],
    ),
    (
        "SESSION_ENDED",
        [
            "Your session has ended. Log in again.",
            "انتهت جلستكم. سجّلوا الدخول من جديد.",
        ],
    ),
    (
        "TOKEN_EXPIRED",
        [
            "This token has expired. Get another.",
            "انتهت صلاحية هذا الرمز. احصلوا على غيره.",
        ],
    ),
    (
        "TOKEN_INVALID",
        [
            "This token is not taken here. Log in with a key.",
            "لا يُقبل هذا الرمز هنا. سجّلوا الدخول بمفتاح.",
        ],
    ),
    (
        "ROLE_MISSING",
        [
            "This key is not for this page. Log in with one that is.",
            "هذا المفتاح ليس لهذه الصفحة. سجّلوا الدخول بمفتاح يصلح لها.",
        ],
    ),
    (
        "NOT_GRANTED",
        [
            "This key may not do that, or reads only a part of the wire, where this page shows all of \
             it. Log in with another, or ask the desk.",
            "لا يُسمح لهذا المفتاح بذلك، أو يقرأ جزءاً من النشرة وهذه الصفحة تعرضها كلها. سجّلوا الدخول \
             بمفتاح آخر أو راجعوا التحرير.",
        ],
    ),
    (
        "ORIGIN_FOREIGN",
        [
            "This was sent from a page of another site, so nothing was done. Send it from this one.",
            "أُرسل هذا من صفحة موقع آخر، فلم يُنفَّذ شيء. أرسلوه من هذا الموقع.",
        ],
    ),
    (
        "CSRF_TOKEN_INVALID",
        [
            "The page that this was sent from was of another session, so nothing was done. Open it \
             again.",
            "الصفحة التي أُرسل منها هذا كانت لجلسة أخرى، فلم يُنفَّذ شيء. افتحوها من جديد.",
        ],
    ),
    (
        "NOT_RECALLED",
        [
            "Nothing of this story was corrected, withheld or killed.",
            "لم يُصحَّح شيء من هذا الخبر ولم يُحجب ولم يُلغَ.",
        ],
    ),
    (
        "WEBHOOK_UNKNOWN",
        [
            "There is no such webhook, or it is another partner’s. Open one from the list.",
            "لا يوجد هذا الويب هوك، أو هو لشريك آخر. افتحوا واحداً من القائمة.",
        ],
    ),
    (
        "WEBHOOK_CONFLICT",
        [
            "Somebody else is changing this webhook. Try again.",
            "يغيّر غيركم هذا الويب هوك الآن. أعيدوا المحاولة.",
        ],
    ),
    (
        "WEBHOOK_SUBSCRIBED",
        [
            "This is a subscription to a feed, which its subscriber alone manages.",
            "هذا اشتراك في خلاصة يديره المشترك وحده.",
        ],
    ),
    (
        "TARGET_REFUSED",
        [
            "Nothing may be sent to this webhook’s address. Ask the operator.",
            "لا يُسمح بالإرسال إلى عنوان هذا الويب هوك. راجعوا المشغّل.",
        ],
    ),
    (
        "BODY_TOO_LARGE",
        [
            "That is too long to be sent at a time. Shorten it.",
            "هذا أطول من أن يُرسل دفعة واحدة. اختصروه.",
        ],
    ),
    (
        "BODY_LATE",
        [
            "The form did not come whole in time. Send it again.",
            "لم يصل النموذج كاملاً في الوقت المحدد. أرسلوه من جديد.",
        ],
    ),
    (
        "BODY_BROKEN",
        [
            "The form did not come whole. Send it again.",
            "لم يصل النموذج كاملاً. أرسلوه من جديد.",
        ],
    ),
    (
        "MEDIA_TYPE_UNSUPPORTED",
        [
            "What was sent is no form. Open the page again, and send it from there.",
            "ما أُرسل ليس نموذجاً. افتحوا الصفحة من جديد وأرسلوا منها.",
        ],
    ),
];

impl Words<'_> {
    /// Why something was refused: by itself, or as a list.
    pub fn fault(self, fault: &Fault) -> Markup {
        let is_told = |one: &Violation| matches!(one.wrong, Wrong::Told(_));
        html! {
            @if fault.violations.iter().all(is_told) { p { (self.refusal(fault)) } }
            @else {
                ul { @for one in &fault.violations { li { (self.wrong(&one.wrong)) } } }
            }
        }
    }

    /// What a refusal says as a whole.
    pub fn refusal(self, fault: &Fault) -> Markup {
        let Some((_, said)) = SAID.iter().find(|(reason, _)| *reason == fault.reason) else {
            return html! { (self.kind(fault.kind)) " " (api(&fault.message)) };
        };
        match self.tongue {
            Tongue::English => filled(said[0], fault),
            Tongue::Arabic => filled(said[1], fault),
        }
    }

    /// What can be said of any refusal of a kind; the API's own words follow.
    fn kind(self, kind: Kind) -> &'static str {
        let [english, arabic] = match kind {
            Kind::Unauthenticated => [
                "It is not known who you are. Log in again.",
                "لا تُعرف هويتكم. سجّلوا الدخول من جديد.",
            ],
            Kind::Forbidden => [
                "This key may not do that. Ask the desk.",
                "لا يُسمح لهذا المفتاح بذلك. راجعوا التحرير.",
            ],
            Kind::Invalid => [
                "What was sent can’t be understood. Open the page again, and try once more.",
                "تعذّر فهم ما أُرسل. افتحوا الصفحة من جديد وأعيدوا المحاولة.",
            ],
            Kind::Unsupported => [
                "This release of Barid does not do that. Ask the operator.",
                "لا يفعل هذا الإصدار من بريد ذلك. راجعوا المشغّل.",
            ],
            Kind::Missing => [
                "There is no such thing here, or no more. Go on from the wire.",
                "لا يوجد هذا هنا، أو لم يعد موجوداً. واصلوا من النشرة.",
            ],
            Kind::Exists => [
                "There is one already. Give another name.",
                "يوجد واحد من قبل. اختاروا اسماً آخر.",
            ],
            Kind::Conflict => [
                "Somebody else was faster. Open the page again, then decide.",
                "سبقكم غيركم. افتحوا الصفحة من جديد ثم قرّروا.",
            ],
            Kind::Precondition => [
                "That can’t be done as things are. Open the page again to see how they are.",
                "لا يمكن ذلك في الحال الراهنة. افتحوا الصفحة من جديد لرؤيتها.",
            ],
            Kind::OutOfRange => [
                "That lies beyond what there is. Begin again at the first page.",
                "هذا أبعد من الموجود. ابدأوا من الصفحة الأولى.",
            ],
            Kind::Exhausted => [
                "A limit is reached. Wait a while, or ask the desk.",
                "بلغتم الحدّ المسموح به. انتظروا قليلاً أو راجعوا التحرير.",
            ],
            Kind::Unavailable => [
                "That does not work at the moment. Try again soon.",
                "لا يعمل هذا حالياً. أعيدوا المحاولة بعد قليل.",
            ],
            Kind::Bug => [
                "Something is wrong with Barid itself. Ask the operator.",
                "في بريد نفسه خلل. راجعوا المشغّل.",
            ],
        };
        match self.tongue {
            Tongue::English => english,
            Tongue::Arabic => arabic,
        }
    }
}

/// A sentence with what is told of its refusal.
fn filled(said: &'static str, fault: &Fault) -> Markup {
    let Some((before, after)) = said.split_once("{}") else {
        return html! { (said) };
    };
    let mut facts = fault.metadata.iter();
    let fact = facts.next().map_or("", |(_, value)| value.as_str());
    html! { (before) bdi dir="ltr" { (fact) } (after) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each reason is told once, and both languages tell the same of it.
    #[test]
    fn reasons_are_told_once() {
        for (place, (reason, [english, arabic])) in SAID.iter().enumerate() {
            let is_known = |(known, _): &(&str, [&str; 2])| known == reason;
            assert_eq!(SAID.iter().position(is_known), Some(place), "{reason}");
            assert_eq!(english.contains("{}"), arabic.contains("{}"), "{reason}");
            assert!(
                !arabic.bytes().any(|byte| byte.is_ascii_lowercase()),
                "{arabic}"
            );
        }
    }
}
