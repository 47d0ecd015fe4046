//! A simulated Pub/Sub with publishing; `subscriber` has pulling. gRPC is implemented by hand, because the
//! crate has no server.

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

use super::subscriber::State;

/// A published message.
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
    /// The number of messages of each call.
    pub publishes: Arc<Mutex<Vec<usize>>>,
    hook: Arc<Mutex<Hook>>,
    lost: Arc<Mutex<Hook>>,
    /// The `authorization` header of each call, or an empty string.
    pub authorizations: Arc<Mutex<Vec<String>>>,
    /// May reject a message by its data.
    pub refuses: Arc<Mutex<Hook>>,
    /// The only subscription.
    pub subscription: Arc<Mutex<State>>,
    /// Notifies about each publish.
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
            authorizations: Arc::default(),
            refuses: Arc::new(Mutex::new(Box::new(|_| None))),
            subscription: Arc::default(),
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

    /// Lets `hook` reject later publishes to a topic with a code.
    pub fn on(&self, hook: impl FnMut(&str) -> Option<tonic::Code> + Send + 'static) {
        *self.hook.lock().unwrap() = Box::new(hook);
    }

    /// Lets `hook` replace the response to an accepted publish with a code.
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
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let authorization = request.headers().get("authorization");
        let authorization = authorization.map_or("", |value| value.to_str().unwrap()).to_owned();
        self.authorizations.lock().unwrap().push(authorization);
        let mut code = Some(tonic::Code::Cancelled);
        let mut frames = Vec::new();
        // The caller may have disconnected.
        if let Ok(body) = request.into_body().collect().await {
            // A gRPC frame: a flag, four bytes of length, the message.
            let body = &body.to_bytes()[5..];
            code = if method == "Publish" {
                self.publish(PublishRequest::decode(body).unwrap(), &mut frames)
            } else {
                match self.subscription.lock().unwrap().answer(&method, body) {
                    Ok(answer) => {
                        frames.push(frame(&answer));
                        None
                    }
                    Err(code) => Some(code),
                }
            };
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
        for message in &publish.messages {
            let data = String::from_utf8_lossy(&message.data);
            if let Some(code) = (self.refuses.lock().unwrap())(&data) {
                return Some(code);
            }
        }
        let lost = (self.lost.lock().unwrap())(&publish.topic);
        let answer = PublishResponse { message_ids: self.take(publish) }.encode_to_vec();
        self.news.send_replace(());
        if lost.is_none() {
            frames.push(frame(&answer));
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

fn frame(answer: &[u8]) -> Result<Frame<Bytes>, Infallible> {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(answer.len() as u32);
    frame.put_slice(answer);
    Ok(Frame::data(frame.freeze()))
}
