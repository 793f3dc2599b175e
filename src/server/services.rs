//! What runs in a node beside its listeners.

use tokio_util::sync::CancellationToken;

use crate::{
    delivery::recalls::Recalls,
    server::{Node, Options, Services, clock, keys, reload::Reload},
    wire::log::batch::Writers,
};

impl Node {
    /// Starts what runs beside the listeners, until the services are to end.
    pub(super) fn start_services(&self, writers: Writers, options: &Options) -> Services {
        let mut services = Services::new();
        let stop = &self.end_services;
        let (hub, end) = (self.hub.clone(), stop.clone());
        services.spawn(async move { Ok(hub.run(end).await.map(|()| "hub")?) });
        let (hub, access, end) = (self.hub.clone(), self.gate.changes(), stop.clone());
        services.spawn(async move {
            hub.run_usher(access, end).await;
            Ok("usher")
        });
        let (hub, end) = (self.hub.clone(), stop.clone());
        services.spawn(async move {
            tokio::join!(hub.run_rounds(clock, end.clone()), hub.history().run(end));
            Ok("rounds and history")
        });
        // With the streams, and not after them: who is called has to be let go before NATS is.
        let (webhooks, end) = (self.webhooks.clone(), self.end_streams.clone());
        let ended = stop.clone();
        services.spawn(async move {
            webhooks.run(end).await;
            ended.cancelled().await;
            Ok("webhooks")
        });
        let (durables, end) = (self.hub.durables().clone(), stop.clone());
        let (writer, written) = (writers.subscriptions, CancellationToken::new());
        services.spawn(async move {
            let keep = async {
                durables.run(end).await;
                written.cancel();
            };
            // The last places are written at the stop: its writer ends after them.
            tokio::join!(keep, writer.run(written.clone()));
            Ok("subscriptions")
        });
        let recalls = Recalls::new(self.hub.clone());
        let (webhooks, end) = (self.webhooks.clone(), stop.clone());
        services.spawn(async move {
            recalls.run(webhooks, end).await;
            Ok("recalls")
        });
        let (gate, log, end) = (self.gate.clone(), self.log.clone(), stop.clone());
        services.spawn(async move {
            gate.run(log, end).await;
            Ok("gate")
        });
        let end = stop.clone();
        services.spawn(async move {
            writers.log.run(end).await;
            Ok("writer")
        });
        let (log, end) = (self.log.clone(), stop.clone());
        services.spawn(async move {
            log.run_pulse(end).await;
            Ok("pulse")
        });
        let (log, hub, end) = (self.log.clone(), self.hub.clone(), stop.clone());
        services.spawn(async move {
            log.run_eraser(|| hub.ring_first(), end).await;
            Ok("eraser")
        });
        let (log, end) = (self.log.clone(), stop.clone());
        services.spawn(async move {
            // Beside the start, which it must not delay: a server that is away answers late.
            tokio::select! {
                biased;
                () = end.cancelled() => {}
                // A question that is dropped only tells nobody.
                () = log.warn_of_servers() => end.cancelled().await,
            }
            Ok("servers")
        });
        self.start_keeper(&mut services);
        self.start_chosen(&mut services, options);
        services
    }

    /// Those that keep embargoes.
    fn start_keeper(&self, services: &mut Services) {
        let (log, end) = (self.log.clone(), self.end_services.clone());
        services.spawn(async move {
            log.run_embargo_tail(end).await;
            Ok("embargo tail")
        });
        let (log, end) = (self.log.clone(), self.end_services.clone());
        services.spawn(async move {
            log.run_releases(clock, end).await;
            Ok("releases")
        });
        let (log, end) = (self.log.clone(), self.end_services.clone());
        services.spawn(async move {
            log.run_embargo_rounds(clock, end).await;
            Ok("embargo rounds")
        });
        let (log, end) = (self.log.clone(), self.end_services.clone());
        services.spawn(async move {
            log.run_draft_eraser(end).await;
            Ok("draft eraser")
        });
    }

    /// Those that settings ask for.
    fn start_chosen(&self, services: &mut Services, options: &Options) {
        let stop = &self.end_services;
        if let Some(readers) = self.readers.clone() {
            let (gate, end) = (self.gate.clone(), stop.clone());
            services.spawn(async move {
                tokio::select! {
                    biased;
                    () = end.cancelled() => {}
                    () = keys::run_readers(gate, readers) => {}
                }
                Ok("readers")
            });
        }
        if let Some(keep) = options.retain {
            let (log, end) = (self.log.clone(), stop.clone());
            services.spawn(async move {
                log.run_sweeper(keep, clock, end).await;
                Ok("sweeper")
            });
        }
        if let Some(tls) = options.tls.clone() {
            let end = stop.clone();
            services.spawn(async move {
                tls.run(end).await;
                Ok("tls")
            });
        }
        if let Some(jwks) = options.jwks.clone() {
            let end = stop.clone();
            services.spawn(async move {
                jwks.run(end).await;
                Ok("jwks")
            });
        }
        if let Some(file) = options.taxonomy_file.clone() {
            let reload = Reload::new(file, self.taxonomy.clone());
            let end = stop.clone();
            services.spawn(async move {
                reload.run(end).await;
                Ok("taxonomy")
            });
        }
    }
}
