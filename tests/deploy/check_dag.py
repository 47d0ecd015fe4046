"""Imports deploy/airflow/spotify_bq_dag.py in a real Airflow (run by its Python; `airflow`, beside this file, does both).

Prints the messages, one a line, so that whoever calls this can give them to the service. With PUBSUB_EMULATOR_HOST set the
operators are carried out against that emulator, in the project and topic of the Airflow variables.
"""

import json
import os
import sys
from pathlib import Path
from unittest import mock

from airflow.dag_processing.dagbag import DagBag
from airflow.providers.google.cloud.hooks.pubsub import PubSubHook
from airflow.providers.google.cloud.operators.pubsub import PubSubPublishMessageOperator
from google.auth.credentials import AnonymousCredentials

FOLDER = Path(__file__).resolve().parents[2] / "deploy/airflow"


def carry_out(task):
    variables = {name: os.environ[f"AIRFLOW_VAR_SPOTIFY_BQ_{name.upper()}"] for name in ("project", "topic")}
    task.render_template_fields({"var": {"value": {f"spotify_bq_{name}": value for name, value in variables.items()}}})
    with mock.patch.object(PubSubHook, "get_credentials", lambda self: AnonymousCredentials()):
        task.execute({"ti": mock.MagicMock(), "task": task})


bag = DagBag(dag_folder=str(FOLDER))
if bag.import_errors:
    sys.exit(f"the DAG does not import: {bag.import_errors}")
dag = bag.dags["spotify_bq"]
assert not dag.catchup and dag.max_active_runs == 1
assert str(dag.timezone) == "America/Sao_Paulo", dag.timezone
assert [task.task_id for task in dag.tasks] == ["publish_podcasts", "publish_episodes", "publish_mentions"]
for task in dag.tasks:
    assert isinstance(task, PubSubPublishMessageOperator), task
    assert not task.upstream_list, "each message goes its own way"
    PubSubHook._validate_messages(task.messages)
    for message in task.messages:
        print(json.dumps(json.loads(message["data"])))
    if os.environ.get("PUBSUB_EMULATOR_HOST"):
        carry_out(task)
