//! `barid.v1.DeskService`: administration.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    pin::Pin,
    sync::Arc,
    time::SystemTime,
};

use futures_util::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    access::{
        key::KeyId,
        partner::{Key, Partner, PartnerName},
    },
    article::check::shown,
    desk::{
        embargoes::Embargoes,
        partners::{NewKey, Partners},
    },
    fault::Fault,
    gate::{
        Gate,
        caller::{self, Caller},
    },
    routing::taxonomy::LiveTaxonomy,
    topic,
    wire::{
        convert::{field, partner as convert, since},
        log::{Log, partners::KeptPartner},
        proto::v1::{
            self as proto, CancelEmbargoRequest, CancelEmbargoResponse, CreateKeyRequest,
            CreateKeyResponse, CreatePartnerRequest, CreatePartnerResponse, DeletePartnerRequest,
            DeletePartnerResponse, GetEmbargoRequest, GetEmbargoResponse, GetPartnerRequest,
            GetPartnerResponse, ListAuditRequest, ListAuditResponse, ListEmbargoesRequest,
            ListEmbargoesResponse, ListPartnersRequest, ListPartnersResponse, ListTopicsRequest,
            ListTopicsResponse, MoveEmbargoRequest, MoveEmbargoResponse, OpenStream,
            ReleaseEmbargoRequest, ReleaseEmbargoResponse, RevokeKeyRequest, RevokeKeyResponse,
            RotateKeyRequest, RotateKeyResponse, Topic, UpdatePartnerRequest,
            UpdatePartnerResponse, desk_service_server::DeskService,
        },
        status::status,
    },
};

pub mod embargoes;
pub mod partners;

/// Tells a partner's open streams of this node, those by tokens, too.
pub type Streams = Arc<dyn Fn(&PartnerName) -> Vec<OpenStream> + Send + Sync>;

/// The desk's service.
#[derive(Clone)]
pub struct Desk {
    taxonomy: LiveTaxonomy,
    gate: Gate,
    log: Log,
    partners: Partners,
    embargoes: Embargoes,
    streams: Streams,
    stop: CancellationToken,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    /// The service over a node's taxonomy and gate, and its log's partners. `stop` ends its streams.
    pub fn new(
        taxonomy: LiveTaxonomy,
        gate: Gate,
        (log, clock): (Log, fn() -> SystemTime),
        streams: Streams,
        stop: CancellationToken,
    ) -> Self {
        Self {
            taxonomy,
            partners: Partners::new(log.clone(), gate.clone()),
            embargoes: Embargoes::new(log.clone(), clock),
            log,
            gate,
            streams,
            stop,
        }
    }

    /// Records a change before it is made. Returns who makes it.
    async fn record(&self, caller: &Caller, action: &str, target: &str) -> Result<String, Status> {
        let kept = caller.record(&self.log, action, target).await;
        kept.map_err(|fault| status(&fault))?;
        Ok(caller.name())
    }

    /// A partner with what this node knows of its keys, and of how many streams it has by tokens.
    fn shown(&self, kept: &KeptPartner, by_tokens: &HashMap<PartnerName, u32>) -> proto::Partner {
        let mut partner = convert::partner_to_proto(kept);
        partner.streams = by_tokens.get(&kept.partner.name).copied().unwrap_or(0);
        for key in &mut partner.keys {
            let holder = key.id.parse().ok().and_then(|id| self.gate.holder(id));
            if let Some(holder) = holder {
                let time = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
                key.streams = holder.streams();
                partner.streams += key.streams;
                key.last_used = holder.last_used().map(time);
            }
        }
        partner
    }

    /// A partner that is to be made or changed, with what the aliases in its grants mean.
    async fn granted(&self, given: Option<proto::Partner>) -> Result<Partner, Status> {
        let partner = convert::partner(given).map_err(|fault| status(&fault))?;
        let known = self.with_known_topics(partner).await;
        known.map_err(|fault| status(&fault))
    }

    /// A slip of the pen would grant what never comes, and nobody would hear of it.
    async fn with_known_topics(&self, mut partner: Partner) -> Result<Partner, Fault> {
        let mut partners = self.gate.partners().into_iter();
        let former = partners.find(|kept| kept.partner.name == partner.name);
        let granted = former.iter().flat_map(|kept| kept.partner.scopes());
        let granted: BTreeSet<_> = granted
            .flat_map(|(_, scope)| scope.topics.clone())
            .collect();
        let taxonomy = self.taxonomy.get();
        for (field, scope) in partner.scopes_mut() {
            for topic in scope.topics.clone() {
                let meant = self.log.meant(&topic, &taxonomy).await;
                if let Some(meant) = meant.map_err(|error| error.fault())? {
                    scope.topics.insert(meant);
                } else if !granted.contains(&topic) {
                    let nearest = taxonomy.nearest(topic.as_str());
                    let message = format!(
                        "{topic} is in neither the taxonomy nor the log; the nearest topic is \
                         {nearest}"
                    );
                    return Err(Fault::field("TOPIC_UNKNOWN", field, message));
                }
            }
        }
        Ok(partner)
    }

    /// Partners and keys.
    pub fn partners(&self) -> &Partners {
        &self.partners
    }

    /// Drafts under embargo.
    pub fn embargoes(&self) -> &Embargoes {
        &self.embargoes
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

    async fn create_partner(
        &self,
        request: Request<CreatePartnerRequest>,
    ) -> Result<Response<CreatePartnerResponse>, Status> {
        let caller = desk(&request)?;
        let partner = self.granted(request.into_inner().partner).await?;
        let by = self.record(&caller, "partner.create", partner.name.as_str());
        let by = by.await?;
        let kept = self
            .partners
            .create(partner)
            .await
            .map_err(|fault| status(&fault))?;
        tracing::info!(by, partner = %kept.partner.name, "made a partner");
        let partner = Some(self.shown(&kept, &self.gate.token_streams()));
        Ok(Response::new(CreatePartnerResponse { partner }))
    }

    async fn update_partner(
        &self,
        request: Request<UpdatePartnerRequest>,
    ) -> Result<Response<UpdatePartnerResponse>, Status> {
        let caller = desk(&request)?;
        let given = request.into_inner().partner.unwrap_or_default();
        let revision = given.revision;
        let partner = self.granted(Some(given)).await?;
        let by = self
            .record(&caller, "partner.update", partner.name.as_str())
            .await?;
        let kept = self.partners.update(partner, revision).await;
        let kept = kept.map_err(|fault| status(&fault))?;
        tracing::info!(by, partner = %kept.partner.name, "changed a partner");
        let partner = Some(self.shown(&kept, &self.gate.token_streams()));
        Ok(Response::new(UpdatePartnerResponse { partner }))
    }

    async fn get_partner(
        &self,
        request: Request<GetPartnerRequest>,
    ) -> Result<Response<GetPartnerResponse>, Status> {
        desk(&request)?;
        let name = name("name", &request.into_inner().name)?;
        let kept = self
            .partners
            .get(&name)
            .await
            .map_err(|fault| status(&fault))?;
        let partner = self.shown(&kept, &self.gate.token_streams());
        let mut streams = (self.streams)(&name);
        let lag = |stream: &OpenStream| {
            let lag = stream.lag.unwrap_or_default();
            (lag.seconds, lag.nanos)
        };
        streams.sort_by_key(|stream| std::cmp::Reverse(lag(stream)));
        Ok(Response::new(GetPartnerResponse {
            partner: Some(partner),
            streams,
        }))
    }

    async fn list_partners(
        &self,
        request: Request<ListPartnersRequest>,
    ) -> Result<Response<ListPartnersResponse>, Status> {
        desk(&request)?;
        let partners = self.gate.partners();
        let by_tokens = self.gate.token_streams();
        let partners = partners.iter().map(|kept| self.shown(kept, &by_tokens));
        let partners = partners.collect();
        Ok(Response::new(ListPartnersResponse { partners }))
    }

    async fn delete_partner(
        &self,
        request: Request<DeletePartnerRequest>,
    ) -> Result<Response<DeletePartnerResponse>, Status> {
        let caller = desk(&request)?;
        let name = name("name", &request.into_inner().name)?;
        let by = self.record(&caller, "partner.delete", name.as_str());
        let by = by.await?;
        // First: a partner of the same name must not find them.
        let removed = self.log.remove_webhooks_of(&name).await;
        removed.map_err(|error| status(&error.fault()))?;
        self.partners
            .delete(&name)
            .await
            .map_err(|fault| status(&fault))?;
        tracing::info!(by, partner = %name, "removed a partner");
        Ok(Response::new(DeletePartnerResponse {}))
    }

    async fn create_key(
        &self,
        request: Request<CreateKeyRequest>,
    ) -> Result<Response<CreateKeyResponse>, Status> {
        let caller = desk(&request)?;
        let request = request.into_inner();
        let name = name("partner", &request.partner)?;
        let role = convert::role(request.role).map_err(|fault| status(&fault))?;
        let note = convert::note(request.note).map_err(|fault| status(&fault))?;
        let expires = convert::expires(request.expires.as_ref(), self.gate.now());
        let expires = expires.map_err(|fault| status(&fault))?;
        let certificate = convert::certificate(&request.certificate);
        let new = NewKey {
            role,
            note,
            expires,
            certificate: certificate.map_err(|fault| status(&fault))?,
        };
        let by = self.record(&caller, "key.create", name.as_str()).await?;
        let made = self.partners.create_key(&name, new).await;
        let (key, secret) = made.map_err(|fault| status(&fault))?;
        tracing::info!(by, partner = %name, key = %key.id, role = role.as_str(), "made a key");
        let (key, secret) = handed_out(&key, secret);
        Ok(Response::new(CreateKeyResponse { key, secret }))
    }

    async fn rotate_key(
        &self,
        request: Request<RotateKeyRequest>,
    ) -> Result<Response<RotateKeyResponse>, Status> {
        let caller = desk(&request)?;
        let request = request.into_inner();
        let id = key_id(&request.key_id)?;
        let overlap = field::overlap(request.overlap).map_err(|fault| status(&fault))?;
        let certificate = convert::certificate(&request.certificate);
        let certificate = certificate.map_err(|fault| status(&fault))?;
        let by = self.record(&caller, "key.rotate", id.as_str()).await?;
        let rotated = self.partners.rotate_key(id, overlap, certificate).await;
        let (key, secret) = rotated.map_err(|fault| status(&fault))?;
        tracing::info!(by, key = %id, ?overlap, "rotated a key");
        let (key, secret) = handed_out(&key, secret);
        Ok(Response::new(RotateKeyResponse { key, secret }))
    }

    async fn revoke_key(
        &self,
        request: Request<RevokeKeyRequest>,
    ) -> Result<Response<RevokeKeyResponse>, Status> {
        let caller = desk(&request)?;
        let id = key_id(&request.into_inner().key_id)?;
        let by = self.record(&caller, "key.revoke", id.as_str()).await?;
        self.partners
            .revoke_key(id)
            .await
            .map_err(|fault| status(&fault))?;
        tracing::info!(by, key = %id, "revoked a key");
        Ok(Response::new(RevokeKeyResponse {}))
    }

    type ListAuditStream = Pin<Box<dyn Stream<Item = Result<ListAuditResponse, Status>> + Send>>;

    async fn list_audit(
        &self,
        request: Request<ListAuditRequest>,
    ) -> Result<Response<Self::ListAuditStream>, Status> {
        let caller = desk(&request)?;
        let request = request.into_inner();
        let since = since(request.since.as_ref());
        let since = since.map_err(|fault| status(&fault))?;
        let lines = self.log.audit_lines(since, request.follow).await;
        let lines = lines.map_err(|error| status(&error.fault()))?;
        let lines = lines.map(|line| match line {
            Ok(line) => Ok(convert::audit_line(line)),
            Err(error) => Err(status(&error.fault())),
        });
        // Whoever follows it may be of the desk no more.
        let lines = lines.take_until(async move { caller.ended().await });
        let stop = self.stop.clone();
        let lines = lines.take_until(stop.cancelled_owned());
        Ok(Response::new(Box::pin(lines)))
    }

    async fn list_embargoes(
        &self,
        request: Request<ListEmbargoesRequest>,
    ) -> Result<Response<ListEmbargoesResponse>, Status> {
        let caller = caller::of(request.extensions());
        let page = self.embargoes.list(&caller, request.get_ref());
        page.map(Response::new).map_err(|fault| status(&fault))
    }

    async fn get_embargo(
        &self,
        request: Request<GetEmbargoRequest>,
    ) -> Result<Response<GetEmbargoResponse>, Status> {
        let caller = caller::of(request.extensions());
        let draft = self.embargoes.get(&caller, request.get_ref()).await;
        draft.map(Response::new).map_err(|fault| status(&fault))
    }

    async fn move_embargo(
        &self,
        request: Request<MoveEmbargoRequest>,
    ) -> Result<Response<MoveEmbargoResponse>, Status> {
        let caller = caller::of(request.extensions());
        let moved = self.embargoes.move_to(&caller, request.get_ref()).await;
        let embargo = Some(moved.map_err(|fault| status(&fault))?);
        Ok(Response::new(MoveEmbargoResponse { embargo }))
    }

    async fn cancel_embargo(
        &self,
        request: Request<CancelEmbargoRequest>,
    ) -> Result<Response<CancelEmbargoResponse>, Status> {
        let caller = caller::of(request.extensions());
        let ended = self.embargoes.cancel(&caller, request.get_ref()).await;
        ended.map_err(|fault| status(&fault))?;
        Ok(Response::new(CancelEmbargoResponse {}))
    }

    async fn release_embargo(
        &self,
        request: Request<ReleaseEmbargoRequest>,
    ) -> Result<Response<ReleaseEmbargoResponse>, Status> {
        let caller = caller::of(request.extensions());
        let released = self.embargoes.release(&caller, request.get_ref()).await;
        released.map(Response::new).map_err(|fault| status(&fault))
    }
}

/// A caller that is of the desk.
fn desk<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = caller::of(request.extensions());
    caller.desk().map_err(|fault| status(&fault))?;
    Ok(caller)
}

fn handed_out(key: &Key, secret: String) -> (Option<proto::Key>, String) {
    (Some(convert::key_to_proto(key)), secret)
}

fn name(field: &str, text: &str) -> Result<PartnerName, Status> {
    text.parse().map_err(|error| {
        let message = format!("{}: {error}", shown(text));
        status(&Fault::field("FIELD_INVALID", field, message))
    })
}

fn key_id(text: &str) -> Result<KeyId, Status> {
    text.parse().map_err(|error| {
        let message = format!("{}: {error}", shown(text));
        status(&Fault::field("FIELD_INVALID", "key_id", message))
    })
}
