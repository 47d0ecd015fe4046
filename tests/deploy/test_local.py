"""deploy/local: it starts, the printed commands work, and it stops.

Tests with the emulators (which need Java, gcloud, Python 3.13, and minutes for the first install) run only if BINARY is the path
of a built spotify-bq. The Airflow test also needs AIRFLOW=1.
"""

import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

from scripts import REPOSITORY

LOCAL = REPOSITORY / "deploy/local"
BINARY = os.environ.get("BINARY")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


class LocalTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.run_dir = Path(folder.name)
        ports = ("SERVICE_PORT", "PUBSUB_PORT", "BIGQUERY_PORT", "BIGQUERY_GRPC_PORT", "SPOTIFY_PORT")
        self.environment = {**os.environ, "RUN_DIR": folder.name, **{port: free_port() for port in ports}}

    def sh(self, command, **environment):
        return subprocess.run(
            command, shell=True, capture_output=True, text=True, timeout=600, env={**self.environment, **environment}
        )

    def running(self, group):
        """The processes of a group that have not ended: a zombie has."""
        processes = [line.split() for line in self.sh("ps -A -o pgid= -o pid= -o stat=").stdout.splitlines()]
        return [pid for of, pid, state in processes if of == str(group) and not state.startswith("Z")]


class Errors(LocalTest):
    """Errors before anything is started."""

    def assert_refused(self, run, message):
        self.assertNotEqual(run.returncode, 0)
        self.assertIn(message, run.stderr)
        self.assertFalse((self.run_dir / "pids").exists())

    def test_a_file_that_is_not_executable(self):
        self.assert_refused(self.sh(f"{LOCAL}/up", BINARY="/nowhere/spotify-bq"), "BINARY names /nowhere/spotify-bq")

    def test_a_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", int(self.environment["PUBSUB_PORT"])))
            taken.listen()
            run = self.sh(f"{LOCAL}/up", BINARY="/bin/true")
        self.assert_refused(run, "choose another port: PUBSUB_PORT=")

    def test_a_stack_that_is_running(self):
        (self.run_dir / "pids").write_text("")
        run = self.sh(f"{LOCAL}/up", BINARY="/bin/true")
        self.assertNotEqual(run.returncode, 0)
        self.assertIn(f"{LOCAL}/down", run.stderr)

    def test_down_does_not_end_another_process_with_a_reused_id(self):
        other = subprocess.Popen(["sleep", "60"], start_new_session=True)
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        (self.run_dir / "pids").write_text(f"{other.pid} service Mon_Jan_1_00:00:00_2001\n")
        run = self.sh(f"{LOCAL}/down")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIsNone(other.poll())

    def test_down_waits_for_a_process_that_outlives_the_one_that_started_it(self):
        ready = self.run_dir / "ready"
        child = f"trap 'sleep 1; exit' TERM; touch {ready}; while :; do sleep 0.1; done"
        command = ["bash", "-c", 'bash -c "$1" & exec sleep 60', "-", child]
        leader = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        waiting = threading.Thread(target=leader.wait)  # so that it does not stay a zombie
        waiting.start()
        self.addCleanup(waiting.join)
        self.addCleanup(leader.kill)
        while not ready.exists():
            time.sleep(0.01)
        started = self.sh(f"ps -o lstart= -p {leader.pid} | tr -s ' ' '_'").stdout.strip()
        (self.run_dir / "pids").write_text(f"{leader.pid} pubsub {started}\n")
        run = self.sh(f"{LOCAL}/down")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(self.running(leader.pid), [])

    def test_down_without_a_stack(self):
        run = self.sh(f"{LOCAL}/down")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("Nothing to stop", run.stderr)


@unittest.skipUnless(BINARY, "BINARY is not set")
class Commands(LocalTest):
    def setUp(self):
        super().setUp()
        run = self.sh(f"{LOCAL}/up")
        self.addCleanup(self.sh, f"{LOCAL}/down")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.printed = [line.strip() for line in run.stdout.splitlines()]

    def run_printed(self, part):
        """Runs the printed command that contains `part`."""
        run = self.sh(next(line for line in self.printed if part in line))
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        return run.stdout

    def wait_for(self, pattern, count=1):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            log = (self.run_dir / "service.log").read_text()
            if len(re.findall(pattern, log)) >= count:
                return
            time.sleep(0.2)
        self.fail(f"{pattern} is not in the service's log {count} times:\n{log}")

    def test_the_printed_commands_publish_load_and_show(self):
        self.run_printed("gcloud --project=spotify-bq-local pubsub topics publish")
        self.wait_for("tb_datahackers_limitada .*was replaced by 50 rows")
        self.run_printed("publish --table podcasts")
        self.wait_for("tb_datahackers_limitada .*was replaced by 50 rows", 2)
        self.assertIn("tb_datahackers_limitada", self.run_printed(" ls spotify_podcasts"))
        self.assertIn("total_episodes", self.run_printed("query"))
        self.sh(next(line for line in self.printed if "topics publish" in line).replace("podcasts", "nonsense"))
        self.wait_for("was dead-lettered")
        letter = json.loads(self.run_printed("subscriptions pull"))[0]["message"]
        self.assertIn("nonsense", letter["attributes"]["detail"])

        groups = [int(line.split()[0]) for line in (self.run_dir / "pids").read_text().splitlines()]
        self.assertEqual(len(groups), 4)
        run = self.sh(next(line for line in self.printed if line.endswith("/down")))
        self.assertEqual(run.returncode, 0, run.stderr)
        for group in groups:
            self.assertEqual(self.running(group), [])

    @unittest.skipUnless(os.environ.get("AIRFLOW"), "AIRFLOW is not set")
    def test_the_dags_load_the_tables_and_wait_for_a_load(self):
        run = self.sh(
            f"{REPOSITORY}/tests/deploy/airflow",
            PUBSUB_EMULATOR_HOST="127.0.0.1:" + self.environment["PUBSUB_PORT"],
            AIRFLOW_VAR_SPOTIFY_BQ_PROJECT="spotify-bq-local",
            AIRFLOW_VAR_SPOTIFY_BQ_TOPIC="spotify-bq",
            AIRFLOW_VAR_SPOTIFY_BQ_LOADED_SUBSCRIPTION="spotify-bq-loaded",
            SERVICE_SUBSCRIPTION="spotify-bq-push",
        )
        self.assertEqual(run.returncode, 0, run.stderr)
        for table in ("limitada", "episodios_total", "episodios_boticario"):
            self.wait_for(f"tb_datahackers_{table} .*was replaced")
        self.wait_for("tb_datahackers_episodios_total .*was replaced", 2)
