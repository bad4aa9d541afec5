//! Framing: each protobuf message is preceded by its length as an unsigned varint (libp2p's usual form).
//!
//! The declared length is compared with the limit before a byte of the body is awaited or allocated.

use std::{io, marker::PhantomData};

use asynchronous_codec::{Decoder, Encoder};
use bytes::{Buf, BufMut, BytesMut};
use prost::Message;
use unsigned_varint::{decode, encode};

/// Bytes reserved at once for a message that has not come yet: what a peer declares costs nothing until it sends it.
const RESERVE_MAX: usize = 64 << 10;

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

impl<Out, In: Message + Default> Decoder for Codec<Out, In> {
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
            from.reserve((header + declared - from.len()).min(RESERVE_MAX));
            return Ok(None);
        }
        from.advance(header);
        Ok(Some(In::decode(from.split_to(declared))?))
    }
}
