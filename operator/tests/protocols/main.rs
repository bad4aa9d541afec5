//! The four protocols over an in-memory stream, against fakes of the services: every answer of the accept order, every
//! fault of a credential, every way in which a status stream ends.

mod accept_order;
mod attest_and_capacity;
mod credential;
mod manage;
mod same_pod;
mod status_stream;
mod support;
