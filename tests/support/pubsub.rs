//! A simulated Pub/Sub that takes publishes: the gRPC call by hand, since the crate has no server.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use google_cloud_googleapis::pubsub::v1::{PublishRequest, PublishResponse};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A message that was published.
#[derive(Clone, Debug)]
pub struct Published {
    pub topic: String,
    pub id: String,
    pub data: Vec<u8>,
    pub attributes: BTreeMap<String, String>,
}

type Hook = Box<dyn FnMut(&str) -> Option<tonic::Code> + Send>;

#[derive(Clone)]
pub struct PubSub {
    pub host: String,
    published: Arc<Mutex<Vec<Published>>>,
    /// How many messages each publish had.
    pub publishes: Arc<Mutex<Vec<usize>>>,
    hook: Arc<Mutex<Hook>>,
    lost: Arc<Mutex<Hook>>,
    /// Changes when something was published.
    pub news: watch::Sender<()>,
}

impl PubSub {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pubsub = Self {
            host: listener.local_addr().unwrap().to_string(),
            published: Arc::default(),
            publishes: Arc::default(),
            hook: Arc::new(Mutex::new(Box::new(|_| None))),
            lost: Arc::new(Mutex::new(Box::new(|_| None))),
            news: watch::Sender::new(()),
        };
        let inner = pubsub.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let pubsub = inner.clone();
                let service = service_fn(move |request| {
                    let pubsub = pubsub.clone();
                    async move { Ok::<_, Infallible>(pubsub.answer(request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        pubsub
    }

    /// From now on `hook` may refuse a publish to a topic with a code.
    pub fn on(&self, hook: impl FnMut(&str) -> Option<tonic::Code> + Send + 'static) {
        *self.hook.lock().unwrap() = Box::new(hook);
    }

    /// From now on `hook` may put a code in the place of the answer to a publish that was taken.
    pub fn lose(&self, hook: impl FnMut(&str) -> Option<tonic::Code> + Send + 'static) {
        *self.lost.lock().unwrap() = Box::new(hook);
    }

    pub fn published(&self, topic: &str) -> Vec<Published> {
        let mut published = self.published.lock().unwrap().clone();
        published.retain(|message| message.topic == format!("projects/p1/topics/{topic}"));
        published
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Response<
        StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + use<>>,
    > {
        assert_eq!(request.uri().path(), "/google.pubsub.v1.Publisher/Publish");
        let mut code = Some(tonic::Code::Cancelled);
        let mut frames = Vec::new();
        // The caller may have gone away meanwhile.
        if let Ok(body) = request.into_body().collect().await {
            // A frame of gRPC: a flag, four bytes of length, the message.
            let publish = PublishRequest::decode(&body.to_bytes()[5..]).unwrap();
            code = self.publish(publish, &mut frames);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", (code.unwrap_or(tonic::Code::Ok) as i32).into());
        frames.push(Ok(Frame::trailers(trailers)));
        Response::builder()
            .header("content-type", "application/grpc")
            .body(StreamBody::new(futures_util::stream::iter(frames)))
            .unwrap()
    }

    fn publish(
        &self,
        publish: PublishRequest,
        frames: &mut Vec<Result<Frame<Bytes>, Infallible>>,
    ) -> Option<tonic::Code> {
        if let Some(code) = (self.hook.lock().unwrap())(&publish.topic) {
            return Some(code);
        }
        let lost = (self.lost.lock().unwrap())(&publish.topic);
        let answer = PublishResponse { message_ids: self.take(publish) }.encode_to_vec();
        self.news.send_replace(());
        if lost.is_none() {
            let mut frame = BytesMut::new();
            frame.put_u8(0);
            frame.put_u32(answer.len() as u32);
            frame.put_slice(&answer);
            frames.push(Ok(Frame::data(frame.freeze())));
        }
        lost
    }

    fn take(&self, publish: PublishRequest) -> Vec<String> {
        self.publishes.lock().unwrap().push(publish.messages.len());
        let mut published = self.published.lock().unwrap();
        let take = |message: google_cloud_googleapis::pubsub::v1::PubsubMessage| {
            let id = format!("p{}", published.len());
            published.push(Published {
                topic: publish.topic.clone(),
                id: id.clone(),
                data: message.data,
                attributes: message.attributes.into_iter().collect(),
            });
            id
        };
        publish.messages.into_iter().map(take).collect()
    }
}
