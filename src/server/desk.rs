//! The desk of a node, with what is open on the node.

use std::sync::Arc;

use crate::{
    access::partner::PartnerName,
    desk::Desk,
    server::{Node, clock},
    wire::proto::v1::OpenStream,
};

impl Node {
    /// Its desk.
    pub(super) fn desk(&self) -> Desk {
        let hub = self.hub.clone();
        let streams = move |partner: &PartnerName| {
            let streams = hub.open_streams(clock()).into_iter();
            let shown = streams.filter_map(|stream| {
                let holder = stream.holder.filter(|holder| holder.partner() == partner)?;
                Some(OpenStream {
                    key_id: holder.id().to_string(),
                    subject: holder.subject().unwrap_or_default().to_owned(),
                    protocol: stream.protocol.as_str().to_owned(),
                    cursor: hub.log().cursor(stream.at).to_string(),
                    lag: prost_types::Duration::try_from(stream.lag).ok(),
                })
            });
            shown.collect()
        };
        Desk::new(
            self.taxonomy.clone(),
            self.gate.clone(),
            (self.log.clone(), clock),
            Arc::new(streams),
            self.end_streams.clone(),
        )
    }
}
