//! Who a caller of the admin port is, and what it may: the cluster is asked.
//!
//! A TokenReview says whose a token is, a SubjectAccessReview whether its user may do something with
//! `inferenceendpoints/keys` or `/token`. Answers are kept for some seconds, by the digest of the
//! token, so that a script in a loop is no load; and unknown tokens cannot make load either, because
//! the rate of questions has a bound.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::Request;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{
    Kubernetes,
    client::{ApiServer, CallError},
    objects::ObjectKey,
};
use crate::{
    domain::{ClearText, Name, Review, Right},
    platform::Reviewer,
};

/// How long an answer of the cluster holds: who loses a right has lost it after that.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// The most answers that are kept.
const KEPT_MAX: usize = 1024;
/// The most questions to the API server within a second.
const QUESTIONS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("20 is not 0");
/// The longest user name in an answer, in characters.
const USER_CHARS_MAX: usize = 200;

/// What was asked: the digest of a token, a right, and the endpoint's object.
type Question = ([u8; 32], Right, Option<ObjectKey>);

/// The answers of the last seconds.
#[derive(Debug)]
pub(super) struct Reviews {
    kept: Mutex<HashMap<Question, (Instant, Review)>>,
    rate: DefaultDirectRateLimiter,
}

impl Default for Reviews {
    fn default() -> Self {
        let rate = RateLimiter::direct(Quota::per_second(QUESTIONS_PER_SECOND));
        Self { kept: Mutex::default(), rate }
    }
}

impl Reviewer for Kubernetes {
    fn review(&self, token: ClearText, right: Right, endpoint: Name) -> BoxFuture<'static, Review> {
        let (server, reviews) = (self.server.clone(), Arc::clone(&self.reviews));
        // An endpoint that is not there has no namespace in which somebody could have a right.
        let object = self.board.object(&endpoint);
        let board = Arc::clone(&self.board);
        Box::pin(async move {
            let review = reviews.review(&server, token, right, object.clone()).await;
            // The right is one to this object, and its name may have passed to another meanwhile.
            if board.object(&endpoint) == object {
                review
            } else {
                Review::Unavailable("the endpoint was replaced meanwhile; try again".to_owned())
            }
        })
    }
}

impl Reviews {
    async fn review(
        &self,
        server: &ApiServer,
        token: ClearText,
        right: Right,
        object: Option<ObjectKey>,
    ) -> Review {
        let question = (Sha256::digest(token.reveal()).into(), right, object);
        if let Some(kept) = self.kept(&question) {
            return kept;
        }
        if self.rate.check().is_err() {
            let why = format!(
                "more than {QUESTIONS_PER_SECOND} callers a second would have to be looked up in the \
                 cluster; try again"
            );
            return Review::Unavailable(why);
        }
        let (_, _, object) = &question;
        match ask(server, &token, right, object.as_ref()).await {
            Ok(review) => {
                self.keep(question, review.clone());
                review
            }
            Err(error) => Review::Unavailable(told(&error)),
        }
    }

    fn kept(&self, question: &Question) -> Option<Review> {
        let kept = self.kept.lock();
        let (at, review) = kept.get(question)?;
        (at.elapsed() < KEPT_FOR).then(|| review.clone())
    }

    fn keep(&self, question: Question, review: Review) {
        let mut kept = self.kept.lock();
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, (at, _)| at.elapsed() < KEPT_FOR);
        }
        if kept.len() < KEPT_MAX {
            kept.insert(question, (Instant::now(), review));
        }
    }
}

#[derive(Deserialize)]
struct Answer<S> {
    status: S,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenStatus {
    authenticated: bool,
    user: User,
}

/// Whom the cluster knows by a token; the fields go into the next question as they are.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: HashMap<String, Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AccessStatus {
    allowed: bool,
}

async fn ask(
    server: &ApiServer,
    token: &ClearText,
    right: Right,
    object: Option<&ObjectKey>,
) -> Result<Review, CallError> {
    let question = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token.reveal()},
    });
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer: Answer<TokenStatus> = server.call(post(path, &question)).await?;
    if !answer.status.authenticated || answer.status.user.username.is_empty() {
        return Ok(Review::Unknown);
    }
    let User { username, uid, groups, extra } = answer.status.user;
    let shown: String = username.chars().take(USER_CHARS_MAX).collect();
    let Some(object) = object else { return Ok(Review::Denied(shown)) };
    let (verb, subresource) = right.in_cluster();
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": username,
            "uid": uid,
            "groups": groups,
            "extra": extra,
            "resourceAttributes": {
                "group": "modelway.dev",
                "resource": "inferenceendpoints",
                "subresource": subresource,
                "verb": verb,
                "namespace": &*object.namespace,
                "name": &*object.name,
            },
        },
    });
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let answer: Answer<AccessStatus> = server.call(post(path, &question)).await?;
    Ok(if answer.status.allowed { Review::Allowed(shown) } else { Review::Denied(shown) })
}

fn post(path: &str, body: &Value) -> Request<Vec<u8>> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .expect("the path is a constant")
}

fn told(error: &CallError) -> String {
    match error.code() {
        Some(403) => {
            "the router's role lacks the verb create on tokenreviews or subjectaccessreviews, \
                      so it cannot ask who may do this: set admin.kubernetesAuth of the chart, or \
                      give the router an admin token"
                .to_owned()
        }
        _ => format!("the cluster could not be asked who may do this: {error}"),
    }
}
