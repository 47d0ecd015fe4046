"""Publishes the three daily messages of spotify-bq from Composer or another Airflow.

By default, Cloud Scheduler publishes them. Use one or the other: `schedules = {}` in the .tfvars file removes the Cloud
Scheduler jobs. This DAG only publishes, so a successful task means "published", not "loaded": Pub/Sub redelivers a failed
message, and the service's log has its outcome. If the next task reads a table, use `spotify_bq_wait_dag.py`.

Set two Airflow variables: `spotify_bq_project` and `spotify_bq_topic` (the id that `terraform output` shows).
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

# One message per table, so that a failure does not delay the others.
MESSAGES = [{"table": "podcasts"}, {"table": "episodes"}, {"table": "mentions"}]

with DAG(
    dag_id="spotify_bq",
    description="Replaces the Spotify tables in BigQuery",
    schedule="0 6 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="America/Sao_Paulo"),
    # Each load takes what Spotify shows now, so there are no past days to catch up on.
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
