//! /apocryph/provisioning-capacity: what is free and what it costs. Unsigned; changes nothing.

use std::sync::Arc;

use apocryph_proto::{
    limits, protocol,
    v0::provisioning_capacity::{CapacityRequest, CapacityResponse},
};

use super::{
    convert::{self, CapacityReplies, Raw},
    session::{Exchange, Exchanged, Outcome, Session},
};
use crate::model::{
    key::Publisher,
    manifest::{Defaults, Demand},
    refusal::Refusal,
    services::{Capacity, CapacityAnswer, Door, Prices},
};

/// The one answer about capacity, for this protocol and for attest.
#[derive(Clone)]
pub struct Offering {
    pub capacity: Arc<dyn Capacity>,
    pub prices: Arc<dyn Prices>,
    pub door: Arc<dyn Door>,
    /// Chart value `payment.address`.
    pub payment_address: Option<Publisher>,
    /// What a pod is given of a resource that it does not name.
    pub defaults: Defaults,
}

impl Offering {
    /// What holds now, for a pod of this demand.
    pub fn response(&self, wanted: &Demand) -> CapacityResponse {
        let CapacityAnswer { report, fits } = self.capacity.answer(wanted);
        let accepting = self.door.accepting();
        convert::capacity(
            &report,
            convert::Terms {
                tables: self
                    .prices
                    .tables()
                    .map(|tables| convert::price_tables(&tables))
                    .unwrap_or_default(),
                payment_address: self.payment_address,
                fits: fits.as_ref().copied(),
                accepting: accepting.as_ref().copied(),
            },
        )
    }

    /// For a request that names no resource.
    pub fn of_defaults(&self) -> Result<CapacityResponse, Refusal> {
        Ok(self.response(&convert::demand(&[], &self.defaults)?))
    }
}

/// Serves the protocol.
pub struct ProvisioningCapacity(pub Offering);

impl Exchange for ProvisioningCapacity {
    const PROTOCOL: &'static str = protocol::PROVISIONING_CAPACITY;
    type Replies = CapacityReplies;

    async fn serve(&self, mut session: Session<CapacityReplies>) -> Exchanged {
        let raw: Raw = session.read(limits::SMALL_REQUEST_MAX).await?;
        let wanted = convert::request::<CapacityRequest>(&raw.0)
            .and_then(|request| convert::demand(&request.resources, &self.0.defaults));
        match wanted {
            Ok(wanted) => {
                session
                    .finish(convert::capacity_reply(self.0.response(&wanted)), Outcome::Ok)
                    .await
            }
            Err(refusal) => session.refuse(refusal).await,
        }
    }
}
