//! The secret that browser sessions are sealed with: made once, for all nodes and restarts.

use async_nats::jetstream::kv::{CreateErrorKind, Operation};
use data_encoding::HEXLOWER;

use crate::{
    access::session::SEAL_SECRET_BYTES,
    wire::log::{Log, ReadError, bucket, unavailable},
};

/// Where it is kept. Whoever removes it ends all sessions, as each node starts anew.
const SEAL_SECRET: &str = "session-secret";

impl Log {
    /// The secret, made now if there is none. Whoever can read the bucket owns the log anyway.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn session_secret(&self) -> Result<[u8; SEAL_SECRET_BYTES], ReadError> {
        let meta = self.meta();
        let entry = bucket::entry(meta, SEAL_SECRET).await?;
        let kept = entry.filter(|entry| entry.operation == Operation::Put);
        let Some(kept) = kept else {
            let secret: [u8; SEAL_SECRET_BYTES] = rand::random();
            let text = HEXLOWER.encode(&secret);
            return match meta.create(SEAL_SECRET, text.into()).await {
                Ok(_) => Ok(secret),
                // Another node was faster: its secret counts, and is read at the next try.
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                    Err(ReadError::Behind)
                }
                Err(error) => Err(unavailable(error)),
            };
        };
        let secret = HEXLOWER.decode(&kept.value).ok();
        let secret = secret.and_then(|secret| secret.try_into().ok());
        secret.ok_or_else(|| {
            tracing::error!(
                key = SEAL_SECRET,
                "is not readable; remove it from barid-meta"
            );
            ReadError::Behind
        })
    }
}
