//! `barid.v1.DeskService`: administration.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::{
    routing::taxonomy::Taxonomy,
    wire::proto::v1::{
        ListTopicsRequest, ListTopicsResponse, Topic, desk_service_server::DeskService,
    },
};

/// The desk's service.
#[derive(Clone, Debug)]
pub struct Desk {
    taxonomy: Arc<Taxonomy>,
}

impl Desk {
    /// The service over a node's taxonomy.
    pub fn new(taxonomy: Arc<Taxonomy>) -> Self {
        Self { taxonomy }
    }
}

#[tonic::async_trait]
impl DeskService for Desk {
    async fn list_topics(
        &self,
        _: Request<ListTopicsRequest>,
    ) -> Result<Response<ListTopicsResponse>, Status> {
        let entries = self.taxonomy.entries().iter();
        let topics = entries.map(|entry| Topic {
            path: entry.topic.to_string(),
            names: entry.names.clone(),
            subjects: entry.subjects.clone(),
        });
        Ok(Response::new(ListTopicsResponse {
            topics: topics.collect(),
        }))
    }
}
