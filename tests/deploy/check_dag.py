"""Imports the DAGs of deploy/airflow in a real Airflow (run by its Python; `airflow`, next to this file, does both).

Prints the messages of the publishing DAG, one per line. With PUBSUB_EMULATOR_HOST set, both DAGs also run against that
emulator, in the project and the topics of the Airflow variables; AIRFLOW_HOME then holds Airflow's migrated database.
With SERVICE_SUBSCRIPTION set to the push subscription of a running service, the waiting DAG waits for that service's event.
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
from google.cloud import pubsub_v1

FOLDER = Path(__file__).resolve().parents[2] / "deploy/airflow"


def check_publishing(dag):
    assert [task.task_id for task in dag.tasks] == ["publish_podcasts", "publish_episodes", "publish_mentions"]
    for task in dag.tasks:
        assert isinstance(task, PubSubPublishMessageOperator), task
        assert not task.upstream_list, "a table that fails must not block the others"
        PubSubHook._validate_messages(task.messages)
        for message in task.messages:
            print(json.dumps(json.loads(message["data"])))


def check_waiting(dag):
    assert [task.task_id for task in dag.topological_sort()] == ["publish", "wait_for_load", "report"]
    assert dag.dagrun_timeout, "a load that never happens must fail the run"


class HandMadeLoads:
    """Publishes events as the service does, to an emulator without the service.

    The emulator ignores the subscription's filter, so the DAG also gets the events of other tables and messages.
    """

    def __init__(self, project, topic, subscription):
        self.publisher, self.subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
        self.events = f"projects/{project}/topics/loaded"
        self.seen = f"projects/{project}/subscriptions/seen-by-the-test"
        self.publisher.create_topic(name=self.events)
        waited_for = f"projects/{project}/subscriptions/{subscription}"
        self.subscriber.create_subscription(name=waited_for, topic=self.events, ack_deadline_seconds=60)
        self.topic = f"projects/{project}/topics/{topic}"

    def publish(self, message_id, table="tb_datahackers_episodios_total"):
        event = {
            "table": table, "kind": "episodes", "term": "data hackers", "showId": "1oMIHOXsrLFENAeM743g93",
            "show": "Data Hackers", "rows": 75, "jobId": f"spotify-bq_episodes_{message_id}_0", "messageId": message_id,
            "readAt": "2026-11-25T06:10:00Z", "sharedReading": False, "loadedAt": "2026-11-25T06:10:09Z",
        }
        self.publisher.publish(self.events, json.dumps(event).encode(), kind="episodes", table=table).result()
        return event

    def others(self):
        self.subscriber.create_subscription(name=self.seen, topic=self.topic)
        self.publish("another-message")
        self.publish("another-table", "tb_datahackers_limitada")

    def release(self, message_id):
        [received] = self.subscriber.pull(subscription=self.seen, max_messages=1).received_messages
        assert received.message.message_id == message_id, received
        assert json.loads(received.message.data) == {"table": "episodes"}, received
        self.event = self.publish(message_id)
        self.publish("a-later-message")

    def event_of(self, message_id):
        return self.event


class ServiceLoads:
    """The events of a running service, which gets its messages from a push subscription.

    The loads of the publishing DAG are the other events, among them one of the same table. The waiting DAG's own message
    is held back until the DAG has seen those.
    """

    def __init__(self, project, push, subscription):
        self.subscriber = pubsub_v1.SubscriberClient()
        self.push, waited_for, self.seen = (
            f"projects/{project}/subscriptions/{name}" for name in (push, subscription, "seen-by-the-test")
        )
        self.push_config = self.subscriber.get_subscription(subscription=self.push).push_config
        assert self.push_config.push_endpoint, f"{push} does not push"
        events = self.subscriber.get_subscription(subscription=waited_for).topic
        self.subscriber.create_subscription(name=self.seen, topic=events)
        self.loaded = {}

    def pull(self):
        for received in self.subscriber.pull(subscription=self.seen, max_messages=100).received_messages:
            self.subscriber.acknowledge(subscription=self.seen, ack_ids=[received.ack_id])
            event = json.loads(received.message.data)
            self.loaded[event["messageId"]] = event

    def others(self):
        while len(self.loaded) < 3:
            self.pull()
        kinds = sorted(event["kind"] for event in self.loaded.values())
        assert kinds == ["episodes", "mentions", "podcasts"], self.loaded
        self.subscriber.modify_push_config(subscription=self.push, push_config=pubsub_v1.types.PushConfig())

    def release(self, message_id):
        assert message_id not in self.loaded, self.loaded
        self.subscriber.modify_push_config(subscription=self.push, push_config=self.push_config)

    def event_of(self, message_id):
        while message_id not in self.loaded:
            self.pull()
        return self.loaded[message_id]


def loads_of_this_run():
    project, topic, subscription = (
        os.environ[f"AIRFLOW_VAR_SPOTIFY_BQ_{name}"] for name in ("PROJECT", "TOPIC", "LOADED_SUBSCRIPTION")
    )
    if push := os.environ.get("SERVICE_SUBSCRIPTION"):
        return ServiceLoads(project, push, subscription)
    return HandMadeLoads(project, topic, subscription)


def run_publishing(dag):
    assert dag.test().state == "success"


def run_waiting(dag, loads):
    sensor = type(dag.get_task("wait_for_load"))
    waits, wait = [], sensor.wait

    def counted(self):
        waits.append(self.message_id)
        if len(waits) == 2:
            loads.release(self.message_id)
        wait(self)

    loads.others()
    with mock.patch.object(sensor, "wait", counted):
        run = dag.test()
    assert run.state == "success", run.state
    states = {instance.task_id: instance.state for instance in run.get_task_instances()}
    assert states == {"publish": "success", "wait_for_load": "success", "report": "success"}, states
    # Once at first, and once for each pull with only other events.
    assert len(waits) >= 2 and len(set(waits)) == 1, waits
    returned = run.get_task_instance("wait_for_load").xcom_pull(task_ids="wait_for_load")
    assert returned == loads.event_of(waits[0]), returned
    assert returned["messageId"] == waits[0] and returned["table"] == "tb_datahackers_episodios_total", returned
    print("waited for", returned, file=sys.stderr)


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
        loads = loads_of_this_run()
        run_publishing(dags[0])
        run_waiting(dags[1], loads)
