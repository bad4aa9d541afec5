//! Framing: each protobuf message is preceded by its length as an unsigned varint (libp2p's usual form).
//!
//! The declared length is compared with the limit before a byte of the body is awaited or allocated.

use std::{io, marker::PhantomData};

use asynchronous_codec::{Decoder, Encoder};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use unsigned_varint::{decode, encode};

/// What a frame is read as: a message, or its bytes as they came ([`Frame`]).
pub trait Incoming: Sized {
    fn read(bytes: Bytes) -> Result<Self, prost::DecodeError>;
}

impl<M: Message + Default> Incoming for M {
    fn read(bytes: Bytes) -> Result<M, prost::DecodeError> {
        M::decode(bytes)
    }
}

/// The bytes of one message, for [`crate::served::decode`], which sees in them what a decoder drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(pub Bytes);

impl Incoming for Frame {
    fn read(bytes: Bytes) -> Result<Frame, prost::DecodeError> {
        Ok(Frame(bytes))
    }
}

/// Writes `Out`, reads `In`.
pub struct Codec<Out, In> {
    read_limit: usize,
    messages: PhantomData<fn(Out) -> In>,
}

/// Why a frame was not a message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the message declares {declared} bytes; at most {limit} are read")]
    TooLarge { declared: usize, limit: usize },
    #[error("the length before the message is not an unsigned varint: {0}")]
    Length(decode::Error),
    #[error("not the expected message: {0}")]
    Message(#[from] prost::DecodeError),
    #[error("the message to send has {size} bytes, more than the {limit} that a peer reads")]
    Unsendable { size: usize, limit: usize },
}

impl<Out, In> Codec<Out, In> {
    /// `read_limit`: bytes of one incoming message.
    pub fn new(read_limit: usize) -> Self {
        Codec {
            read_limit,
            messages: PhantomData,
        }
    }
}

impl<Out: Message, In> Encoder for Codec<Out, In> {
    type Item<'a> = Out;
    type Error = Error;

    fn encode(&mut self, message: Out, to: &mut BytesMut) -> Result<(), Error> {
        let size = message.encoded_len();
        if size > crate::limits::MESSAGE_MAX {
            return Err(Error::Unsendable {
                size,
                limit: crate::limits::MESSAGE_MAX,
            });
        }
        let mut length = encode::usize_buffer();
        let length = encode::usize(size, &mut length);
        to.reserve(length.len() + size);
        to.put_slice(length);
        message.encode(to).map_err(|short| io::Error::other(short).into())
    }
}

impl<Out, In: Incoming> Decoder for Codec<Out, In> {
    type Item = In;
    type Error = Error;

    fn decode(&mut self, from: &mut BytesMut) -> Result<Option<In>, Error> {
        let (declared, header) = match decode::usize(from) {
            Ok((declared, rest)) => (declared, from.len() - rest.len()),
            Err(decode::Error::Insufficient) => return Ok(None),
            Err(other) => return Err(Error::Length(other)),
        };
        if declared > self.read_limit {
            return Err(Error::TooLarge {
                declared,
                limit: self.read_limit,
            });
        }
        if from.len() < header + declared {
            // Nothing is reserved: memory grows with what arrives, not with what is promised.
            return Ok(None);
        }
        from.advance(header);
        Ok(Some(In::read(from.split_to(declared).freeze())?))
    }
}

#[cfg(test)]
mod tests {
    use asynchronous_codec::{FramedRead, FramedWrite};
    use futures::{SinkExt, StreamExt, executor::block_on, io::Cursor};
    use proptest::prelude::*;

    use super::*;
    use crate::v0::attest::{AttestReply, AttestRequest};

    const LIMIT: usize = 100;
    type Requests = Codec<AttestRequest, AttestRequest>;

    fn encoded(message: &AttestRequest) -> BytesMut {
        let mut bytes = BytesMut::new();
        Requests::new(LIMIT).encode(message.clone(), &mut bytes).unwrap();
        bytes
    }

    /// A request of exactly this many bytes.
    fn sized(size: usize) -> AttestRequest {
        let request = AttestRequest {
            nonce: vec![7; size - 2],
            want_capacity: false,
        };
        assert_eq!(request.encoded_len(), size);
        request
    }

    #[test]
    fn a_message_split_anywhere_is_read_when_it_is_complete() {
        let request = AttestRequest {
            nonce: vec![1; 64],
            want_capacity: true,
        };
        let whole = encoded(&request);
        for cut in 0..whole.len() {
            let mut codec = Requests::new(LIMIT);
            let mut arrived = BytesMut::from(&whole[..cut]);
            assert!(
                codec.decode(&mut arrived).unwrap().is_none(),
                "{cut} of {} bytes",
                whole.len()
            );
            arrived.extend_from_slice(&whole[cut..]);
            assert_eq!(codec.decode(&mut arrived).unwrap(), Some(request.clone()));
            assert!(arrived.is_empty());
        }
    }

    #[test]
    fn the_limit_is_the_largest_message_that_is_read() {
        let mut exact = encoded(&sized(LIMIT));
        assert!(Requests::new(LIMIT).decode(&mut exact).unwrap().is_some());
        let mut over = encoded(&sized(LIMIT + 1));
        let error = Requests::new(LIMIT).decode(&mut over).unwrap_err();
        assert!(
            matches!(error, Error::TooLarge { declared, limit: LIMIT } if declared == LIMIT + 1),
            "{error}"
        );
    }

    #[test]
    fn a_declared_length_costs_no_memory() {
        for declared in [LIMIT + 1, 1 << 31, 1 << 63, usize::MAX] {
            let mut buffer = encode::usize_buffer();
            let mut bytes = BytesMut::from(encode::usize(declared, &mut buffer));
            let before = bytes.capacity();
            assert!(
                matches!(Requests::new(LIMIT).decode(&mut bytes), Err(Error::TooLarge { .. })),
                "{declared}"
            );
            assert_eq!(bytes.capacity(), before);
        }
        // Within the limit neither: memory grows with what arrives.
        let mut bytes = BytesMut::from(&[0xff, 0xff, 0x3f][..]);
        let before = bytes.capacity();
        assert!(
            Requests::new(crate::limits::MESSAGE_MAX)
                .decode(&mut bytes)
                .unwrap()
                .is_none()
        );
        assert_eq!(bytes.capacity(), before);
    }

    #[test]
    fn lengths_that_are_no_varint_are_refused() {
        for bytes in [&[0xff; 11][..], &[0x81, 0x00]] {
            let error = Requests::new(LIMIT).decode(&mut BytesMut::from(bytes)).unwrap_err();
            assert!(matches!(error, Error::Length(_)), "{error}");
        }
    }

    #[test]
    fn an_empty_message_is_a_message_and_another_message_is_not() {
        let mut bytes = BytesMut::from(&[0][..]);
        assert_eq!(
            Requests::new(LIMIT).decode(&mut bytes).unwrap(),
            Some(AttestRequest::default())
        );
        let mut bytes = BytesMut::from(&[2, 0x0a, 0x05][..]);
        assert!(matches!(
            Requests::new(LIMIT).decode(&mut bytes),
            Err(Error::Message(_))
        ));
    }

    #[test]
    fn a_frame_is_the_bytes_as_they_came() {
        // A field that the message does not know.
        let mut bytes = BytesMut::from(&[2, 0x78, 0x01][..]);
        let frame = Codec::<AttestReply, Frame>::new(LIMIT).decode(&mut bytes).unwrap();
        assert_eq!(frame, Some(Frame(Bytes::from_static(&[0x78, 0x01]))));
    }

    #[test]
    fn a_message_that_no_peer_reads_is_not_sent() {
        let message = AttestRequest {
            nonce: vec![0; crate::limits::MESSAGE_MAX],
            want_capacity: false,
        };
        let error = Requests::new(LIMIT).encode(message, &mut BytesMut::new()).unwrap_err();
        assert!(matches!(error, Error::Unsendable { .. }), "{error}");
    }

    #[test]
    fn a_stream_that_ends_within_a_message_is_an_error() {
        let mut bytes = encoded(&sized(20)).to_vec();
        bytes.pop();
        let mut stream = FramedRead::new(Cursor::new(bytes), Requests::new(LIMIT));
        let last = block_on(stream.next()).unwrap();
        assert!(matches!(last, Err(Error::Io(_))), "{last:?}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            nonces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..90), any::<bool>()), 0..8)
        ) {
            let requests: Vec<AttestRequest> =
                nonces.into_iter().map(|(nonce, want_capacity)| AttestRequest { nonce, want_capacity }).collect();
            let read: Vec<AttestRequest> = block_on(async {
                let mut sink = FramedWrite::new(Cursor::new(Vec::new()), Requests::new(LIMIT));
                for request in &requests {
                    sink.send(request.clone()).await.unwrap();
                }
                let bytes = sink.into_inner().into_inner();
                FramedRead::new(Cursor::new(bytes), Requests::new(LIMIT)).map(|read| read.unwrap()).collect().await
            });
            prop_assert_eq!(read, requests);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Requests::new(LIMIT).decode(&mut bytes) {}
        }
    }
}
