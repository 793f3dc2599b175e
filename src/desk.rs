//! `barid.v1.DeskService`: administration.

use tonic::{Request, Response, Status};

use crate::{
    routing::taxonomy::LiveTaxonomy,
    topic,
    wire::proto::v1::{
        ListTopicsRequest, ListTopicsResponse, Topic, desk_service_server::DeskService,
    },
};

/// The desk's service.
#[derive(Clone, Debug)]
pub struct Desk {
    taxonomy: LiveTaxonomy,
}

impl Desk {
    /// The service over a node's taxonomy.
    pub fn new(taxonomy: LiveTaxonomy) -> Self {
        Self { taxonomy }
    }

    /// The taxonomy of now.
    pub fn topics(&self) -> ListTopicsResponse {
        let taxonomy = self.taxonomy.get();
        let aliases = |meant: &topic::Topic| {
            let aliases = taxonomy.aliases().iter();
            let aliases = aliases.filter(|(_, topic)| *topic == meant);
            aliases.map(|(alias, _)| alias.to_string()).collect()
        };
        let topics = taxonomy.entries().iter().map(|entry| Topic {
            path: entry.topic.to_string(),
            names: entry.names.clone(),
            subjects: entry.subjects.clone(),
            aliases: aliases(&entry.topic),
        });
        ListTopicsResponse {
            topics: topics.collect(),
            version: taxonomy.version().to_owned(),
        }
    }
}

#[tonic::async_trait]
impl DeskService for Desk {
    async fn list_topics(
        &self,
        _: Request<ListTopicsRequest>,
    ) -> Result<Response<ListTopicsResponse>, Status> {
        Ok(Response::new(self.topics()))
    }
}
