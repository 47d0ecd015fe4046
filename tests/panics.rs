//! A panic in the handler: 500, and the service goes on.

use crate::support::log::{Line, Log};
use crate::support::spotify::Spotify;
use crate::support::{EPISODES, World, table};

#[tokio::test]
async fn a_panic_is_answered_500_and_the_service_goes_on() {
    let world = World::new(Spotify::showing(3, 9).await).await;
    let app = world.app().await;
    let push = table("episodes");
    // The one thing that the handler runs and a test can give it: where its log lines go.
    let id = push.id.clone();
    let log = Log::start_with(move |line: &Line| {
        assert!(line.get("message_id") != Some(&id), "a defect, for the test's sake");
    });
    let answer = app.push(&push).await;
    assert_eq!((answer.status, answer.outcome.as_str()), (500, ""));
    drop(log);

    // Neither the table's turn nor its place at work is lost, and the load is not done again.
    assert_eq!(app.push(&push.again(2)).await.told(), (204, "already_loaded"));
    assert_eq!(app.push(&table("episodes")).await.told(), (204, "loaded"));
    assert_eq!(world.bigquery.table(EPISODES).unwrap().loads, 2);
}
