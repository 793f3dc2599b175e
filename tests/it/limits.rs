//! What clients are held to.
