//! The descriptors of every message, for walking fields by name: JSON, unknown fields, the table of what is served.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    #[expect(
        clippy::expect_used,
        reason = "made by this crate's build script from the same files as the types"
    )]
    DescriptorPool::decode(bytes).expect("our own descriptors")
});

/// Every message and enum of the schema.
pub fn pool() -> &'static DescriptorPool {
    &POOL
}

/// The descriptor of a message by its name without the common prefix: `pod.Pod`, `provisionPod.ProvisionPodRequest`.
pub fn message(name: &str) -> Option<MessageDescriptor> {
    POOL.get_message_by_name(&format!("apocryph.proto.v0.{name}"))
}

/// Decodes into a message whose fields, unknown ones included, can be walked.
pub fn decode(descriptor: MessageDescriptor, bytes: &[u8]) -> Result<DynamicMessage, prost::DecodeError> {
    DynamicMessage::decode(descriptor, bytes)
}
