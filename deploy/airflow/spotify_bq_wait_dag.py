"""Publishes a message for one table of spotify-bq and waits until that message's load is done.

Use it if the next task reads the table. Otherwise, `spotify_bq_dag.py` is enough.

The service publishes an event to LOADED_TOPIC after each load. Terraform creates that topic with `loaded_topic = true`. This DAG
needs a subscription of its own to it, with the filter `attributes.table = "tb_datahackers_episodios_total"`, an
acknowledgement deadline of 60 s and roles/pubsub.subscriber on it for Airflow's account (terraform/examples/complete has one).
Two DAGs must not share a subscription: each would take events that the other waits for.

The account also needs roles/pubsub.publisher on the trigger topic: list it in Terraform's `publishers`.

Set three Airflow variables: `spotify_bq_project`, `spotify_bq_topic` and `spotify_bq_loaded_subscription` (both ids,
without the project).
"""

import base64
import json
from datetime import timedelta

import pendulum
from airflow.providers.google.cloud.hooks.pubsub import PubSubHook
from airflow.providers.google.cloud.sensors.pubsub import PubSubPullSensor
from airflow.providers.google.cloud.triggers.pubsub import PubsubPullTrigger

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task


class LoadedSensor(PubSubPullSensor):
    """Waits for the event of one message's load, without taking a worker slot.

    The provider's sensor succeeds with any message, such as the event of a load that Cloud Scheduler triggered.
    """

    template_fields = (*PubSubPullSensor.template_fields, "message_id")

    def __init__(self, *, message_id, **kwargs):
        super().__init__(return_immediately=True, **kwargs)
        self.message_id = message_id

    def execute(self, context):
        self.wait()

    def wait(self):
        self.defer(
            trigger=PubsubPullTrigger(
                project_id=self.project_id,
                subscription=self.subscription,
                max_messages=self.max_messages,
                # Acknowledged below: if Airflow stops in between, Pub/Sub delivers the event again.
                ack_messages=False,
                gcp_conn_id=self.gcp_conn_id,
                poke_interval=self.poke_interval,
                impersonation_chain=self.impersonation_chain,
                return_immediately=self.return_immediately,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context, event):
        received = super().execute_complete(context, event)
        hook = PubSubHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        hook.acknowledge(
            project_id=self.project_id,
            subscription=self.subscription,
            ack_ids=[message["ack_id"] for message in received],
        )
        for message in received:
            loaded = json.loads(base64.b64decode(message["message"]["data"]))
            if loaded["messageId"] == self.message_id:
                return loaded
        self.log.info("No event of message %s among %d; still waiting", self.message_id, len(received))
        return self.wait()


@task(retries=3, retry_delay=timedelta(minutes=1))
def publish(project, topic, message):
    """Returns the message's id, which PubSubPublishMessageOperator does not."""
    data = json.dumps(message).encode()
    return PubSubHook().get_conn().publish(f"projects/{project}/topics/{topic}", data).result()


@task
def report(loaded):
    """Stands for what you do with the table: a query, a dbt run, a mail."""
    print(f"{loaded['table']} has {loaded['rows']} rows, read from Spotify at {loaded['readAt']}")


with DAG(
    dag_id="spotify_bq_wait",
    description="Replaces the table of episodes in BigQuery and waits for the load",
    schedule="0 6 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="America/Sao_Paulo"),
    catchup=False,
    # Two runs would take each other's events.
    max_active_runs=1,
    # The service retries a message for about 15 hours. Fail earlier, so that someone looks at its log.
    dagrun_timeout=timedelta(hours=2),
    tags=["spotify", "bigquery"],
) as dag:
    message_id = publish(
        project="{{ var.value.spotify_bq_project }}",
        topic="{{ var.value.spotify_bq_topic }}",
        message={"table": "episodes"},
    )
    loaded = LoadedSensor(
        task_id="wait_for_load",
        project_id="{{ var.value.spotify_bq_project }}",
        subscription="{{ var.value.spotify_bq_loaded_subscription }}",
        message_id=message_id,
        max_messages=100,
        poke_interval=15,
    )
    report(loaded.output)
