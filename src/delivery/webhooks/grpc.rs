//! `barid.v1.WebhookService`: webhooks, for their owners and the desk.

use tonic::{Request, Response, Status};

use crate::{
    article::check::Checker,
    cursor::Cursor,
    delivery::webhooks::{Webhooks, owners::Shown},
    fault::Fault,
    gate::caller::{self, Caller},
    webhook::WebhookId,
    wire::{
        convert::{
            self, field,
            webhook::{self as form, Given},
        },
        proto::v1::{
            self as proto, CreateWebhookRequest, CreateWebhookResponse, DeleteWebhookRequest,
            DeleteWebhookResponse, DropParkedRequest, DropParkedResponse, GetWebhookRequest,
            GetWebhookResponse, ListParkedRequest, ListParkedResponse, ListWebhooksRequest,
            ListWebhooksResponse, PauseWebhookRequest, PauseWebhookResponse, ReplayWebhookRequest,
            ReplayWebhookResponse, ResumeWebhookRequest, ResumeWebhookResponse, RetryParkedRequest,
            RetryParkedResponse, RotateWebhookRequest, RotateWebhookResponse, TestWebhookRequest,
            TestWebhookResponse, UpdateWebhookRequest, UpdateWebhookResponse,
            webhook_service_server::WebhookService,
        },
        status::status,
    },
};

/// Most cursors of one request.
const CURSORS_MAX: usize = 500;

#[tonic::async_trait]
impl WebhookService for Webhooks {
    async fn create_webhook(
        &self,
        request: Request<CreateWebhookRequest>,
    ) -> Result<Response<CreateWebhookResponse>, Status> {
        let caller = admitted(&request)?;
        let request = request.into_inner();
        let given = given(request.webhook)?;
        let start = convert::start(request.start).map_err(refused)?;
        let secret = some(&request.secret);
        let made = self.create(&caller, given, start, secret).await;
        let (shown, secret) = made.map_err(refused)?;
        let webhook = Some(self.to_proto(&shown));
        Ok(Response::new(CreateWebhookResponse { webhook, secret }))
    }

    async fn update_webhook(
        &self,
        request: Request<UpdateWebhookRequest>,
    ) -> Result<Response<UpdateWebhookResponse>, Status> {
        let caller = admitted(&request)?;
        let webhook = request.into_inner().webhook.unwrap_or_default();
        let id = id(&webhook.id)?;
        let given = given(Some(webhook))?;
        let shown = self.update(&caller, id, given).await.map_err(refused)?;
        let webhook = Some(self.to_proto(&shown));
        Ok(Response::new(UpdateWebhookResponse { webhook }))
    }

    async fn get_webhook(
        &self,
        request: Request<GetWebhookRequest>,
    ) -> Result<Response<GetWebhookResponse>, Status> {
        let caller = admitted(&request)?;
        let id = id(&request.into_inner().id)?;
        let shown = self.get(&caller, id).await.map_err(refused)?;
        let webhook = Some(self.to_proto(&shown));
        Ok(Response::new(GetWebhookResponse { webhook }))
    }

    async fn list_webhooks(
        &self,
        request: Request<ListWebhooksRequest>,
    ) -> Result<Response<ListWebhooksResponse>, Status> {
        let caller = admitted(&request)?;
        let mut check = Checker::default();
        let partner = form::partner(&mut check, "partner", &request.into_inner().partner);
        check.finish().map_err(refused)?;
        let all = self
            .list(&caller, partner.as_ref())
            .await
            .map_err(refused)?;
        let webhooks = all.iter().map(|shown| self.to_proto(shown)).collect();
        Ok(Response::new(ListWebhooksResponse { webhooks }))
    }

    async fn delete_webhook(
        &self,
        request: Request<DeleteWebhookRequest>,
    ) -> Result<Response<DeleteWebhookResponse>, Status> {
        let caller = admitted(&request)?;
        let id = id(&request.into_inner().id)?;
        self.delete(&caller, id).await.map_err(refused)?;
        Ok(Response::new(DeleteWebhookResponse {}))
    }

    async fn pause_webhook(
        &self,
        request: Request<PauseWebhookRequest>,
    ) -> Result<Response<PauseWebhookResponse>, Status> {
        let caller = admitted(&request)?;
        let id = id(&request.into_inner().id)?;
        let shown = self.pause(&caller, id).await.map_err(refused)?;
        let webhook = Some(self.to_proto(&shown));
        Ok(Response::new(PauseWebhookResponse { webhook }))
    }

    async fn resume_webhook(
        &self,
        request: Request<ResumeWebhookRequest>,
    ) -> Result<Response<ResumeWebhookResponse>, Status> {
        let caller = admitted(&request)?;
        let id = id(&request.into_inner().id)?;
        let shown = self.resume(&caller, id).await.map_err(refused)?;
        let webhook = Some(self.to_proto(&shown));
        Ok(Response::new(ResumeWebhookResponse { webhook }))
    }

    async fn test_webhook(
        &self,
        request: Request<TestWebhookRequest>,
    ) -> Result<Response<TestWebhookResponse>, Status> {
        let caller = admitted(&request)?;
        let id = id(&request.into_inner().id)?;
        let tested = self.test(&caller, id).await.map_err(refused)?;
        Ok(Response::new(TestWebhookResponse {
            status: tested.status.map_or(0, u32::from),
            failure: tested.failure,
            body: tested.body,
            took: prost_types::Duration::try_from(tested.took).ok(),
        }))
    }

    async fn replay_webhook(
        &self,
        request: Request<ReplayWebhookRequest>,
    ) -> Result<Response<ReplayWebhookResponse>, Status> {
        let caller = admitted(&request)?;
        let request = request.into_inner();
        let id = id(&request.id)?;
        let start = convert::start(request.start).map_err(refused)?;
        let (shown, cursor) = self.replay(&caller, id, start).await.map_err(refused)?;
        Ok(Response::new(ReplayWebhookResponse {
            webhook: Some(self.to_proto(&shown)),
            cursor: cursor.to_string(),
        }))
    }

    async fn rotate_webhook(
        &self,
        request: Request<RotateWebhookRequest>,
    ) -> Result<Response<RotateWebhookResponse>, Status> {
        let caller = admitted(&request)?;
        let request = request.into_inner();
        let (id, overlap) = (
            id(&request.id)?,
            field::overlap(request.overlap).map_err(refused)?,
        );
        let secret = some(&request.secret);
        let rotated = self.rotate(&caller, id, overlap, secret).await;
        let (shown, secret) = rotated.map_err(refused)?;
        let webhook = Some(self.to_proto(&shown));
        Ok(Response::new(RotateWebhookResponse { webhook, secret }))
    }

    async fn list_parked(
        &self,
        request: Request<ListParkedRequest>,
    ) -> Result<Response<ListParkedResponse>, Status> {
        let caller = admitted(&request)?;
        let id = id(&request.into_inner().id)?;
        let shown = self.get(&caller, id).await.map_err(refused)?;
        let parked = shown.parked.0.iter().map(form::parked_to_proto).collect();
        Ok(Response::new(ListParkedResponse { parked }))
    }

    async fn retry_parked(
        &self,
        request: Request<RetryParkedRequest>,
    ) -> Result<Response<RetryParkedResponse>, Status> {
        let caller = admitted(&request)?;
        let request = request.into_inner();
        let id = id(&request.id)?;
        if request.cursors.len() > CURSORS_MAX {
            let message = format!("has more than {CURSORS_MAX}; leave it empty for all");
            return Err(refused(Fault::field("FIELD_INVALID", "cursors", message)));
        }
        let cursors: Result<Vec<Cursor>, Status> = request
            .cursors
            .iter()
            .map(|text| field::cursor("cursors", text).map_err(refused))
            .collect();
        let count = Webhooks::retry_parked(self, &caller, id, &cursors?).await;
        let count = count.map_err(refused)?;
        Ok(Response::new(RetryParkedResponse { count }))
    }

    async fn drop_parked(
        &self,
        request: Request<DropParkedRequest>,
    ) -> Result<Response<DropParkedResponse>, Status> {
        let caller = admitted(&request)?;
        let request = request.into_inner();
        let (id, cursor) = (
            id(&request.id)?,
            field::cursor("cursor", &request.cursor).map_err(refused)?,
        );
        let dropped = Webhooks::drop_parked(self, &caller, id, cursor).await;
        dropped.map_err(refused)?;
        Ok(Response::new(DropParkedResponse {}))
    }
}

impl Webhooks {
    fn to_proto(&self, shown: &Shown) -> proto::Webhook {
        form::webhook_to_proto(&shown.webhook, &shown.progress, &shown.parked, self.now())
    }
}

/// Who calls, if it manages webhooks at all: before anything is said of what it sent.
fn admitted<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = caller::of(request.extensions());
    caller.stewardship().map_err(refused)?;
    Ok(caller)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "what map_err calls takes the error itself"
)]
fn refused(fault: Fault) -> Status {
    status(&fault)
}

fn given(webhook: Option<proto::Webhook>) -> Result<Given, Status> {
    form::webhook(webhook.unwrap_or_default()).map_err(refused)
}

fn id(text: &str) -> Result<WebhookId, Status> {
    form::id(text).map_err(refused)
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
