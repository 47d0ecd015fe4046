//! Simulated metadata server and token endpoints of Google. Each token is different.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::wire::Stub;

pub struct Google {
    pub stub: Stub,
}

impl Google {
    pub async fn start() -> Self {
        let count = Arc::new(AtomicU32::new(0));
        let next =
            move |name: &str| format!("{name}-token-{}", count.fetch_add(1, Ordering::Relaxed) + 1);
        let (metadata, user, sts, impersonated) = (next.clone(), next.clone(), next.clone(), next);
        let router = Router::new()
            .route(
                "/computeMetadata/v1/instance/service-accounts/default/token",
                get(move |headers: HeaderMap| {
                    let token = json!({
                        "access_token": metadata("metadata"), "expires_in": 3599,
                        "token_type": "Bearer",
                    });
                    async move { with_flavor(&headers, &token.to_string()) }
                }),
            )
            .route(
                "/computeMetadata/v1/project/project-id",
                get(|headers: HeaderMap| async move { with_flavor(&headers, "p1") }),
            )
            .route(
                "/token",
                post(move || {
                    let token = user("user");
                    async move { axum::Json(oauth(&token)) }
                }),
            )
            .route(
                "/sts",
                post(move || {
                    let token = sts("sts");
                    async move { axum::Json(oauth(&token)) }
                }),
            )
            .route("/subject", get(|| async { "the-subject-token" }))
            .route(
                "/v1/projects/-/serviceAccounts/{account}",
                post(move || {
                    let token = impersonated("impersonated");
                    let answer =
                        json!({"accessToken": token, "expireTime": "2126-11-24T09:00:00Z"});
                    async move { axum::Json(answer) }
                }),
            );
        Self { stub: Stub::start(router).await }
    }

    /// Returns the value of GCE_METADATA_HOST.
    pub fn host(&self) -> &str {
        self.stub.url.trim_start_matches("http://")
    }

    pub fn authorized_user(&self) -> Value {
        json!({
            "type": "authorized_user", "client_id": "the-google-client",
            "client_secret": "the-google-secret", "refresh_token": "1//the-refresh-token",
            "token_uri": format!("{}/token", self.stub.url),
        })
    }
}

fn oauth(token: &str) -> Value {
    json!({
        "access_token": token, "expires_in": 3599, "token_type": "Bearer",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    })
}

/// The metadata server rejects requests without the header, so that browsers do not get a token.
fn with_flavor(headers: &HeaderMap, answer: &str) -> Response {
    if headers.get("metadata-flavor").is_some_and(|flavor| flavor == "Google") {
        return answer.to_owned().into_response();
    }
    (StatusCode::FORBIDDEN, "Missing Metadata-Flavor:Google header.").into_response()
}
