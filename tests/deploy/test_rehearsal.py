"""deploy.sh and destroy.sh from start to end with the real terraform, a fake provider and a bucket for the state.

Skipped without the maintainers' offline fakes. test_deploy.py and test_destroy.py test what these do not show: the order of
calls, and a failure in each step.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

from scripts import CREDENTIALS, REPOSITORY

REHEARSE = REPOSITORY.parent / "shared/tf-offline/rehearse"
SERVICE = "google_cloud_run_v2_service"
OFF = "googleapi: Error 403: Cloud Run Admin API has not been used in project 123456789012 before or it is disabled."
DENIED = "Error waiting to create Service: Permission denied on secret"
NOT_READY = "Revision 'spotify-bq-00002-abc' is not ready and cannot serve traffic. The container failed to start."
REVISIONS = "projects/p1-test/locations/southamerica-east1/services/spotify-bq/revisions/spotify-bq-"
FAILED_ROLLOUT = {
    "latest_created_revision": REVISIONS + "00002-abc",
    "latest_ready_revision": REVISIONS + "00001-abc",
    "terminal_condition": [{"type": "Ready", "state": "CONDITION_FAILED", "message": NOT_READY}],
}


@unittest.skipUnless(REHEARSE.exists(), "the maintainers' offline fakes are not installed")
class Rehearsal(unittest.TestCase):
    def setUp(self):
        # A process started in the background ignores SIGINT, and so would the scripts, which inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.faults = self.folder / "faults.json"
        self.switch()

    def switch(self, **faults):
        """Replaces the provider's faults. Each message applies until the next switch: with a list of messages, the provider would
        write the file while its other threads read it."""
        whole = self.folder / "faults.new"
        whole.write_text(json.dumps(faults))
        whole.replace(self.faults)

    def run_in_cloud(self, *command, fail="", stdin=CREDENTIALS, until=None, then=None, watch=None):
        """Runs a command. At the first line with `until`, interrupts it or calls `then`. Calls `watch` with each line."""
        calls = self.folder / "gcloud.log"
        calls.unlink(missing_ok=True)
        (self.folder / "cloud/port").unlink(missing_ok=True)  # from the previous run; `rehearse` would use its port
        environment = {**os.environ, "STUB_FAULTS": str(self.faults), "GCLOUD_LOG": str(calls), "RETRY_SECONDS": "1", "POLL_SECONDS": "0"}
        run = subprocess.Popen(
            [str(REHEARSE), "--keep", str(self.folder / "cloud"), *(["--fail", fail] if fail else []), *command],
            cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )
        watchdog = threading.Timer(300, os.killpg, (run.pid, signal.SIGKILL))
        watchdog.start()
        run.stdin.write(stdin)
        run.stdin.close()
        run.output = ""
        for line in run.stdout:
            run.output += line
            if watch:
                watch(line)
            if until and until in line:
                then() if then else os.killpg(run.pid, signal.SIGINT)
                until = None
        run.wait()
        run.stdout.close()
        watchdog.cancel()
        run.gcloud = calls.read_text() if calls.exists() else ""
        return run

    def deploy(self, *arguments, status=0, **how):
        run = self.run_in_cloud("deploy/deploy.sh", "--project", "p1-test", "--yes", "--no-messages", *arguments, **how)
        self.assertEqual(run.returncode, status, run.output)
        return run

    def destroy(self, *arguments, status=0):
        run = self.run_in_cloud("deploy/destroy.sh", "--project", "p1-test", "--yes", *arguments)
        self.assertEqual(run.returncode, status, run.output)
        return run

    def new_image(self):
        """Changes the source, so that the image changes. `rehearse` keeps files that are not in git."""
        source = self.folder / "cloud/tree/src/more.rs"
        source.write_text((source.read_text() if source.exists() else "") + "// more\n")

    def assert_nothing_changes(self, run):
        self.assertEqual(run.output.count("Nothing to change."), 2, run.output)
        self.assertNotIn("builds submit", run.gcloud)

    def assert_ended_well(self, run, step):
        """Asserts that Terraform was interrupted once and ended regularly."""
        self.assertIn(f"Interrupted at: {step}", run.output)
        self.assertIn("saved its state and released the lock", run.output)
        self.assertEqual(run.output.count("Interrupt received."), 1, "a second signal would prevent it from saving its state")
        self.assertNotIn("Trying again", run.output.partition("Interrupt received.")[2])


class Lifecycle(Rehearsal):
    def test_a_stack_with_interruptions_and_failures(self):
        faults = "agents_missing,secret_needs_version"
        slow = {"seconds": 1}
        self.switch(**slow)
        run = self.deploy(status=130, fail=faults + ",api_slow", until="Creation complete")
        self.assertIn("An API that was just enabled is not in effect yet", run.output)
        self.assert_ended_well(run, "registry, build account and secret")
        run = self.deploy(status=130, fail=faults, until="google_bigquery_dataset.this[0]: Creating")
        self.assert_ended_well(run, "everything else")
        self.switch()
        run = self.deploy(fail=faults)
        self.assertIn("spotify-bq-00001-abc serves.", run.output)

        self.assert_nothing_changes(self.deploy(stdin=""))

        self.switch(values={SERVICE: FAILED_ROLLOUT})
        self.new_image()
        run = self.deploy(status=1)
        self.assertIn(f"{SERVICE}.this will be updated", run.output)
        for text in ("Stopped at: the rollout", NOT_READY, "so spotify-bq-00001-abc still serves", "gcloud run services update spotify-bq --image="):
            self.assertIn(text, run.output)
        run = self.deploy(status=1)
        self.assert_nothing_changes(run)
        self.assertIn(NOT_READY, run.output)
        self.switch()
        self.new_image()
        self.assertIn("Plan: 0 to add, 1 to change, 0 to destroy.", self.deploy().output)

        self.destroy()
        run = self.deploy(status=1)
        self.assertIn("--adopt", run.output)
        run = self.deploy("--adopt")
        self.assertIn("Importing spotify_podcasts.tb_datahackers_limitada", run.output)
        run = self.destroy("--delete-data")
        self.assertIn("there is nothing to remove", self.destroy().output)


class Recovery(Rehearsal):
    def test_a_first_revision_that_fails_and_reserved_names(self):
        github = self.folder / "github.tfvars"
        github.write_text('github_repository = "example/spotify-bq"\n')
        options = ("--var-file", str(github))
        # Interrupted between the failure and its repair, so that the service stays tainted.
        self.switch(create={SERVICE: DENIED})
        self.deploy(*options, status=130, until="Waiting: new IAM")
        self.switch()
        run = self.destroy(*options)
        self.assertIn("The service's creation had failed", run.output)

        # In one run: reserved names, APIs that reject creates at first, and the failure with its repair.
        refuse, create = {"google_pubsub_topic": OFF, "google_cloud_scheduler_job": OFF}, {SERVICE: DENIED}
        self.switch(refuse=refuse, create=create)

        def fix(line):
            """Removes the fault that the script waits for."""
            if "Waiting: new IAM" in line:
                create.clear()
            elif "Still waiting for the API" in line:
                refuse.pop("google_pubsub_topic", None)
            elif "An API that was just enabled" in line and "google_pubsub_topic" not in refuse:
                refuse.clear()
            else:
                return
            self.switch(refuse=refuse, create=create)

        run = self.deploy("--adopt", *options, watch=fix)
        self.assertEqual((refuse, create), ({}, {}), run.output)
        self.assertIn("Restoring spotify-bq-github", run.output)
        self.assertIn("Restoring github", run.output)
        self.assertIn("Still waiting for the API", run.output)
        self.assertRegex(run.gcloud, r"run services update spotify-bq --region=southamerica-east1 --image=\S+@sha256:")
        self.assertIn("spotify-bq-00001-abc serves.", run.output)

    def test_a_tainted_service_is_repaired_by_the_next_run(self):
        self.switch(create={SERVICE: DENIED})
        self.deploy(status=130, until="Waiting: new IAM")
        self.switch()
        run = self.deploy()
        self.assertIn("The service's creation had failed", run.output)
        self.assertIn("run services update", run.gcloud)
        self.assertNotIn("must be replaced", run.output)

    def kill_terraform(self):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                if command[0] == "terraform" and any(str(self.folder) in part for part in command):
                    os.kill(int(pid), signal.SIGKILL)
            except OSError:
                pass

    def test_after_terraform_was_killed_the_printed_commands_work(self):
        self.switch(seconds=1)
        self.deploy(status=1, until="google_pubsub_topic.trigger: Creation complete", then=self.kill_terraform)
        self.switch()
        run = self.deploy(status=1)
        self.assertRegex(run.output, r"gs://p1-test-spotify-bq-state is locked by \S+@\S+ since 20\S+ .* \(\d+ minutes ago\), for OperationTypeApply")
        unlock = re.search(r"deploy/tf --project p1-test force-unlock -force \d+", run.output)
        run = self.run_in_cloud("bash", "-c", unlock[0])
        self.assertEqual(run.returncode, 0, run.output)
        run = self.deploy(status=1)
        self.assertNotIn("is locked", run.output)
        self.assertIn("These already exist in p1-test, but are not in Terraform's state", run.output)
        self.assertIn("deploy/tf --project p1-test import google_pubsub_topic.trigger projects/p1-test/topics/spotify-bq\n", run.output)


MORE_GCLOUD = """#!/bin/sh
case "$*" in
  "config set project p2-test" | "auth application-default login") ;;
  *) echo "unknown: gcloud $*" >&2; exit 1 ;;
esac
"""


class Pages(Rehearsal):
    """The commands of docs/deploy.md in their order."""

    def commands(self):
        """Yields the page's commands, except those of the service, of release images, of a second stack and of destroy.sh.

        Manual steps use another project.
        """
        page = (REPOSITORY / "docs/deploy.md").read_text()
        for block in re.findall(r"```sh\n(.*?)```", page, re.S):
            if re.search(r"spotify-bq (serve|publish)|^bq |ghcr|second\.tfvars|deploy/destroy\.sh", block, re.M):
                continue
            if "auth application-default login" in block:
                yield "export CLOUDSDK_CORE_PROJECT=p2-test; rm -r terraform/.terraform\n"
            if block.startswith("terraform untaint"):
                yield "terraform taint google_cloud_run_v2_service.this\n"
            block = re.sub(r"(?m)^git pull\n", "", block)  # the copy is not a Git repository
            yield block.replace("MY-PROJECT", "p1-test").replace("my-project", "p2-test").replace("sha256:…", "sha256:" + "0" * 64)
            if block.startswith("gcloud run services describe"):
                yield "cd ..; unset CLOUDSDK_CORE_PROJECT\n"

    def test_its_commands_deploy_repair_and_destroy(self):
        more = self.folder / "more-gcloud"
        more.write_text(MORE_GCLOUD)
        more.chmod(0o755)
        credentials = self.folder / "credentials.json"
        credentials.write_text(CREDENTIALS)
        script = "".join(self.commands())
        for part in ("deploy/deploy.sh", "terraform init", "terraform untaint", "deploy/tf --project p1-test destroy"):
            self.assertIn(part, script)
        # Answers the scripts' questions.
        script = re.sub(r"deploy/deploy.sh", f"deploy/deploy.sh --yes --no-messages <{credentials}", script)
        script = re.sub(r"(?m)^(\S*set-credentials.sh.*)$", rf"\1 <{credentials}", script)
        run = self.run_in_cloud(
            "env", f"GCLOUD_MORE={more}", "TF_CLI_ARGS_apply=-auto-approve", "TF_CLI_ARGS_destroy=-auto-approve", "bash", "-euxo", "pipefail", "-c", script
        )
        self.assertEqual(run.returncode, 0, run.output)
        self.assertIn("Destroy complete!", run.output)


if __name__ == "__main__":
    unittest.main()
