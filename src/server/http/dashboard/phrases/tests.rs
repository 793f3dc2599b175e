//! In which language a reader is spoken to.

use http::HeaderMap;

use super::Tongue::{self, Arabic, English};

#[test]
fn readers_are_understood() {
    for (ui, accepted, expected) in [
        ("", "", English),
        ("", "ar", Arabic),
        ("", "AR-jo,en;q=0.5", Arabic),
        ("", "fr-FR, ar;q=0.8, en;q=0.5", Arabic),
        ("", "en-GB,ar", English),
        // The Spanish of Argentina.
        ("", "es-ar", English),
        ("", "arc", English),
        ("ar", "en", Arabic),
        ("en", "ar", English),
        ("xx", "ar", Arabic),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("accept-language", accepted.parse().unwrap());
        assert_eq!(Tongue::of(ui, &headers), expected, "{ui:?} {accepted:?}");
    }
}
