"""Imports the DAGs of deploy/airflow in a real Airflow (run by its Python; `airflow`, next to this file, does both).

Prints the messages of the publishing DAG, one per line. With PUBSUB_EMULATOR_HOST set, both DAGs also run against that
emulator, in the project and the topics of the Airflow variables; AIRFLOW_HOME then holds Airflow's migrated database.
"""

import json
import os
import sys
import threading
from pathlib import Path
from unittest import mock

from airflow.dag_processing.dagbag import DagBag
from airflow.providers.google.cloud.hooks.pubsub import PubSubHook
from airflow.providers.google.cloud.operators.pubsub import PubSubPublishMessageOperator
from google.auth.credentials import AnonymousCredentials
from google.cloud import pubsub_v1

FOLDER = Path(__file__).resolve().parents[2] / "deploy/airflow"


def check_publishing(dag):
    assert [task.task_id for task in dag.tasks] == ["publish_podcasts", "publish_episodes", "publish_mentions"]
    for task in dag.tasks:
        assert isinstance(task, PubSubPublishMessageOperator), task
        assert not task.upstream_list, "a table that fails must not hold up the others"
        PubSubHook._validate_messages(task.messages)
        for message in task.messages:
            print(json.dumps(json.loads(message["data"])))


def check_waiting(dag):
    assert [task.task_id for task in dag.topological_sort()] == ["publish", "wait_for_load", "report"]
    assert dag.dagrun_timeout, "a load that never comes must fail the run"


class Loads:
    """What the service does after a load, for the message that a DAG publishes.

    The emulator ignores the subscription's filter, so the DAG also gets the events of other tables and messages.
    """

    def __init__(self, project, topic, loaded_topic, subscription):
        self.publisher, self.subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
        self.events = f"projects/{project}/topics/{loaded_topic}"
        self.waited_for = f"projects/{project}/subscriptions/{subscription}"
        self.seen = f"projects/{project}/subscriptions/seen-by-the-test"
        self.publisher.create_topic(name=self.events)
        self.subscriber.create_subscription(name=self.waited_for, topic=self.events, ack_deadline_seconds=60)
        self.subscriber.create_subscription(name=self.seen, topic=f"projects/{project}/topics/{topic}")
        self.late, self.said = threading.Event(), []

    def publish(self, message_id, table="tb_datahackers_episodios_total"):
        event = {
            "table": table, "kind": "episodes", "term": "data hackers", "showId": "1oMIHOXsrLFENAeM743g93",
            "show": "Data Hackers", "rows": 75, "jobId": f"spotify-bq_episodes_{message_id}_0", "messageId": message_id,
            "readAt": "2026-11-25T06:10:00Z", "sharedReading": False, "loadedAt": "2026-11-25T06:10:09Z",
        }
        self.publisher.publish(self.events, json.dumps(event).encode(), kind="episodes", table=table).result()

    def run(self):
        """Publishes other events at once, and the DAG's own only once it has looked at them and waits on."""
        self.publish("another-message")
        self.publish("another-table", "tb_datahackers_limitada")
        [received] = self.subscriber.pull(subscription=self.seen, max_messages=1).received_messages
        self.said.append(json.loads(received.message.data))
        assert self.late.wait(300), "the DAG has not looked at the other events"
        self.publish(received.message.message_id)
        self.publish("a-later-message")


def run_publishing(dag):
    assert dag.test().state == "success"


def run_waiting(dag):
    loads = Loads(*(os.environ[f"AIRFLOW_VAR_SPOTIFY_BQ_{name}"] for name in ("PROJECT", "TOPIC")), "loaded",
                  os.environ["AIRFLOW_VAR_SPOTIFY_BQ_LOADED_SUBSCRIPTION"])
    sensor = type(dag.get_task("wait_for_load"))
    waits, wait = [], sensor.wait

    def counted(self):
        waits.append(self.message_id)
        if len(waits) == 2:
            loads.late.set()
        wait(self)

    helper = threading.Thread(target=loads.run, daemon=True)
    helper.start()
    with mock.patch.object(sensor, "wait", counted):
        run = dag.test()
    helper.join(60)
    assert run.state == "success", run.state
    assert loads.said == [{"table": "episodes"}], loads.said
    states = {instance.task_id: instance.state for instance in run.get_task_instances()}
    assert states == {"publish": "success", "wait_for_load": "success", "report": "success"}, states
    # Once at first, and again for each pull that brought only others' events.
    assert len(waits) >= 2 and len(set(waits)) == 1, waits
    print("waited for", waits[0], file=sys.stderr)


bag = DagBag(dag_folder=str(FOLDER))
if bag.import_errors:
    sys.exit(f"a DAG does not import: {bag.import_errors}")
dags = [bag.dags["spotify_bq"], bag.dags["spotify_bq_wait"]]
for dag in dags:
    assert not dag.catchup and dag.max_active_runs == 1
    assert str(dag.timezone) == "America/Sao_Paulo", dag.timezone
check_publishing(dags[0])
check_waiting(dags[1])
if os.environ.get("PUBSUB_EMULATOR_HOST"):
    with mock.patch.object(PubSubHook, "get_credentials", lambda self: AnonymousCredentials()):
        run_publishing(dags[0])
        run_waiting(dags[1])
