//! An HTTP stub: it records each call, and a hook may respond instead of the router, close the connection, or
//! not respond.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// A request that the stub received.
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

/// How a hook handles a call.
pub enum Act {
    /// The router responds.
    Pass,
    /// Sends this response.
    Answer(Response<Body>),
    /// Closes the connection. The router does not get the call.
    Cut,
    /// Lets the router handle the call, and closes the connection instead of responding.
    DoneThenCut,
    /// Lets the router handle the call, and sends this response.
    DoneThenAnswer(Response<Body>),
    /// Closes the connection, and lets the router handle the call later.
    CutThenDone(Duration),
    /// Never responds.
    Hang,
    /// The router responds later.
    Late(Duration),
    /// Sends this response later.
    LateAnswer(Duration, Response<Body>),
    /// The router responds when the token is cancelled.
    Held(CancellationToken),
    /// Sends this response when the token is cancelled.
    HeldAnswer(CancellationToken, Response<Body>),
}

impl Act {
    /// Delays a response.
    pub fn after(self, wait: Duration) -> Self {
        Self::LateAnswer(wait, self.response())
    }

    /// Holds a response until the token is cancelled.
    pub fn held(self, until: CancellationToken) -> Self {
        Self::HeldAnswer(until, self.response())
    }

    /// Sends a response after the router has handled the call.
    pub fn after_router(self) -> Self {
        Self::DoneThenAnswer(self.response())
    }

    fn response(self) -> Response<Body> {
        let Self::Answer(response) = self else { panic!("only a response can be delayed") };
        response
    }
}

/// Creates the failure of a call.
pub type Fault = fn() -> Act;

/// Returns a response with a body.
pub fn answer(status: u16, body: &str) -> Act {
    answer_with(status, &[], body)
}

/// Returns a response with headers and a body.
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

    /// Lets `hook` decide about each later call.
    pub fn on(&self, hook: impl FnMut(&Call) -> Act + Send + 'static) {
        *self.hook.lock().unwrap() = Box::new(hook);
    }

    /// Removes the hook.
    pub fn heal(&self) {
        self.on(|_| Act::Pass);
    }

    /// Handles the next `times` calls to paths that contain `path` with `act`.
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

    /// Handles all later calls to paths that contain `path` with `act`.
    pub fn always(&self, path: &'static str, act: impl Fn() -> Act + Send + 'static) {
        self.next(usize::MAX, path, act);
    }

    /// Holds all later calls to paths that contain `path` until the token is cancelled.
    pub fn hold(&self, path: &'static str) -> CancellationToken {
        self.hold_next(usize::MAX, path)
    }

    /// Holds the next `times` calls to paths that contain `path` until the token is cancelled.
    pub fn hold_next(&self, times: usize, path: &'static str) -> CancellationToken {
        let held = CancellationToken::new();
        let until = held.clone();
        self.next(times, path, move || Act::Held(until.clone()));
        held
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
            Act::Cut => Err("closed".to_owned()),
            Act::DoneThenCut => {
                routed().await?;
                Err("closed".to_owned())
            }
            Act::DoneThenAnswer(response) => routed().await.map(|_| response),
            Act::CutThenDone(wait) => {
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    routed().await
                });
                Err("closed".to_owned())
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
