"""Publishes the three daily messages of spotify-bq, for those who already have Composer or another Airflow.

Cloud Scheduler does the same for cents, and Terraform makes its jobs: use one or the other (`schedules = {}` in the
.tfvars turns Scheduler's off). Airflow only publishes. What became of a message stands in the service's log, and a failed
one is delivered again by Pub/Sub, so a task of this DAG that succeeds means "published", not "loaded". Where the next task
reads a table, use `spotify_bq_wait_dag.py`.

Two Airflow variables say where: `spotify_bq_project` and `spotify_bq_topic` (the id that `terraform output` shows).
Airflow's account needs roles/pubsub.publisher on that topic: list it in Terraform's `publishers`.
"""

import json
from datetime import timedelta

import pendulum
from airflow.providers.google.cloud.operators.pubsub import PubSubPublishMessageOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

# One message for each table, so that one that fails never holds up another.
MESSAGES = [{"table": "podcasts"}, {"table": "episodes"}, {"table": "mentions"}]

with DAG(
    dag_id="spotify_bq",
    description="Replaces the Spotify tables in BigQuery",
    schedule="0 6 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="America/Sao_Paulo"),
    # Every load is of what Spotify shows now: there is no past day to catch up on.
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["spotify", "bigquery"],
) as dag:
    for message in MESSAGES:
        PubSubPublishMessageOperator(
            task_id=f"publish_{message['table']}",
            project_id="{{ var.value.spotify_bq_project }}",
            topic="{{ var.value.spotify_bq_topic }}",
            messages=[{"data": json.dumps(message).encode()}],
        )
