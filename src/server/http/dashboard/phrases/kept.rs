//! What is said of a form that was not taken, and is kept.

/// All phrases of one language.
#[derive(Debug)]
pub struct KeptPhrases {
    /// The session is over.
    pub ended: &'static str,
    /// What was written is kept.
    pub kept: &'static str,
    /// It is not.
    pub lost: &'static str,
    /// Heading of the page from which it is sent again.
    pub heading: &'static str,
    /// After a key was taken.
    pub entered: &'static str,
    /// The page was of another session.
    pub other: &'static str,
    /// Before what was written.
    pub summary: &'static str,
    /// The button that sends it.
    pub send: &'static str,
    /// The link that does not.
    pub leave: &'static str,
}

/// In English.
pub const ENGLISH: KeptPhrases = KeptPhrases {
    ended: "Your session has ended, and nothing was done.",
    kept: "What you wrote is kept on this page: log in, and send it.",
    lost: "What you wrote is too long to be kept on this page: log in on another, go back to the \
           form with your browser, and copy it from there.",
    heading: "Not sent yet",
    entered: "You are logged in again. What you wrote is kept, and was not sent yet.",
    other: "The page that you sent this from was of another session, so nothing was done. What you \
            wrote is kept: send it again if it is yours.",
    summary: "What you wrote",
    send: "Send it now",
    leave: "Leave it",
};

/// In Arabic.
pub const ARABIC: KeptPhrases = KeptPhrases {
    ended: "انتهت جلستكم ولم يُنفَّذ شيء.",
    kept: "ما كتبتموه محفوظ في هذه الصفحة: سجّلوا الدخول ثم أرسلوه.",
    lost: "ما كتبتموه أطول من أن يُحفظ في هذه الصفحة: سجّلوا الدخول في صفحة أخرى ثم عودوا إلى النموذج في \
           المتصفح وانسخوه منه.",
    heading: "لم يُرسل بعد",
    entered: "سجّلتم الدخول من جديد. ما كتبتموه محفوظ ولم يُرسل بعد.",
    other: "الصفحة التي أرسلتم منها كانت لجلسة أخرى، فلم يُنفَّذ شيء. ما كتبتموه محفوظ: أرسلوه من جديد إن \
            كان لكم.",
    summary: "ما كتبتموه",
    send: "إرساله الآن",
    leave: "تركه",
};
