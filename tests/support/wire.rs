//! A stub at the wire: it records each call, and a hook may answer in the router's place, cut the
//! connection, or say nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
}

impl Call {
    pub fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub fn number(&self, name: &str) -> usize {
        self.query(name).parse().unwrap_or(0)
    }
}

/// What a hook makes of a call.
pub enum Act {
    /// The router answers.
    Pass,
    /// This is the answer.
    Answer(Response<Body>),
    /// The connection is cut, and nothing was done.
    Cut,
    /// What was asked is done, and the connection is cut before the answer.
    DoneThenCut,
    /// What was asked is done, and this is the answer all the same.
    DoneThenAnswer(Response<Body>),
    /// The connection is cut, and what was asked is done this much later.
    CutThenDone(std::time::Duration),
    /// There is no answer.
    Hang,
    /// The router answers after this long.
    Late(std::time::Duration),
    /// This is the answer after this long.
    LateAnswer(std::time::Duration, Response<Body>),
    /// The router answers once this is cancelled.
    Held(CancellationToken),
    /// This is the answer, once this is cancelled.
    HeldAnswer(CancellationToken, Response<Body>),
}

/// A call's failure, made anew for each call.
pub type Fault = fn() -> Act;

/// An answer with a body.
pub fn answer(status: u16, body: &str) -> Act {
    answer_with(status, &[], body)
}

/// An answer with headers and a body.
pub fn answer_with(status: u16, headers: &[(&str, &str)], body: &str) -> Act {
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Act::Answer(response.body(Body::from(body.to_owned())).unwrap())
}

type Hook = Box<dyn FnMut(&Call) -> Act + Send>;

#[derive(Clone)]
pub struct Stub {
    pub url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    hook: Arc<Mutex<Hook>>,
}

impl Stub {
    pub async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            calls: Arc::default(),
            hook: Arc::new(Mutex::new(Box::new(|_| Act::Pass))),
        };
        let inner = stub.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (router, stub) = (router.clone(), inner.clone());
                let service = service_fn(move |request| {
                    let (router, stub) = (router.clone(), stub.clone());
                    async move { stub.answer(router, request).await }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        stub
    }

    /// From now on `hook` decides about each call.
    pub fn on(&self, hook: impl FnMut(&Call) -> Act + Send + 'static) {
        *self.hook.lock().unwrap() = Box::new(hook);
    }

    /// From now on the router answers.
    pub fn heal(&self) {
        self.on(|_| Act::Pass);
    }

    /// The next `times` calls to a path with `path` in it meet `act`; after them the router answers.
    pub fn next(&self, times: usize, path: &'static str, act: impl Fn() -> Act + Send + 'static) {
        let mut left = times;
        self.on(move |call| {
            if left == 0 || !call.path.contains(path) {
                return Act::Pass;
            }
            left -= 1;
            act()
        });
    }

    /// From now on every call to a path with `path` in it meets `act`.
    pub fn always(&self, path: &'static str, act: impl Fn() -> Act + Send + 'static) {
        self.next(usize::MAX, path, act);
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub fn calls_to(&self, method: &str, path: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.method == method && call.path.contains(path));
        calls
    }

    async fn answer(
        &self,
        router: Router,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<Body>, String> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        let pairs = url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes());
        let call = Call {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: pairs.into_owned().collect(),
            headers: parts.headers.clone(),
            body: body.clone(),
            at: Instant::now(),
        };
        self.calls.lock().unwrap().push(call.clone());
        let act = (self.hook.lock().unwrap())(&call);
        let request = Request::from_parts(parts, Body::from(body));
        let routed = async || match router.oneshot(request).await {
            Ok(response) => Ok(response),
            Err(never) => match never as Infallible {},
        };
        match act {
            Act::Pass => routed().await,
            Act::Answer(response) => Ok(response),
            Act::Cut => Err("cut".to_owned()),
            Act::DoneThenCut => {
                routed().await?;
                Err("cut".to_owned())
            }
            Act::DoneThenAnswer(response) => routed().await.map(|_| response),
            Act::CutThenDone(wait) => {
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    routed().await
                });
                Err("cut".to_owned())
            }
            Act::Hang => std::future::pending().await,
            Act::Late(wait) => {
                tokio::time::sleep(wait).await;
                routed().await
            }
            Act::LateAnswer(wait, response) => {
                tokio::time::sleep(wait).await;
                Ok(response)
            }
            Act::HeldAnswer(until, response) => {
                until.cancelled().await;
                Ok(response)
            }
            Act::Held(until) => {
                until.cancelled().await;
                routed().await
            }
        }
    }
}
