//! A gRPC client that sends and receives bytes, so that encoding takes no time.

use crate::bodies::Wire;
use crate::load::Connection;
use bytes::{Buf, BufMut, Bytes};
use std::net::SocketAddr;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

const RANK: &str = "/ncs4cvr.v1.Ranking/Rank";
const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// A channel with one connection, driven by the calling thread.
pub(crate) struct Calls {
    runtime: Runtime,
    client: Grpc<Channel>,
    path: PathAndQuery,
}

impl Calls {
    pub(crate) fn new(to: SocketAddr, wire: Wire) -> Result<Calls, String> {
        let path = match wire {
            Wire::RankGrpc => RANK,
            _ => INFER,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let endpoint = Endpoint::from_shared(format!("http://{to}"));
        let endpoint = endpoint.map_err(|error| error.to_string())?;
        let channel = runtime.block_on(endpoint.connect());
        let channel = channel.map_err(|error| format!("{to}: {error}"))?;
        Ok(Calls {
            runtime,
            client: Grpc::new(channel),
            path: PathAndQuery::from_static(path),
        })
    }
}

impl Connection for Calls {
    fn call(&mut self, request: &Bytes) -> Result<(), String> {
        let (client, path) = (&mut self.client, self.path.clone());
        let request = Request::new(request.clone());
        let answer = self.runtime.block_on(async {
            let ready = client.ready().await;
            ready.map_err(|error| Status::unavailable(error.to_string()))?;
            client.unary(request, path, AsBytes).await
        });
        match answer {
            Ok(_) => Ok(()),
            Err(status) => Err(format!("{:?}", status.code())),
        }
    }
}

/// A codec that leaves bytes unchanged.
#[derive(Clone, Copy, Default)]
struct AsBytes;

impl Codec for AsBytes {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = AsBytes;
    type Decoder = AsBytes;

    fn encoder(&mut self) -> AsBytes {
        AsBytes
    }

    fn decoder(&mut self) -> AsBytes {
        AsBytes
    }
}

impl Encoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
