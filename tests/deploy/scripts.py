"""Runs the scripts of deploy/ with a fake cloud and fake tools. No test calls Google Cloud or a registry."""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "5ecre7" * 5
CREDENTIALS = json.dumps({"client_id": "c11en7", "client_secret": SECRET})
# The real tools that the scripts may use. Users need no others.
TOOLS = "bash env awk cat cut dirname find git grep mktemp rm sed sha256sum sleep sort tr".split()
FIRST_RESOURCES = [
    "google_artifact_registry_repository_iam_member.build",
    "google_storage_bucket_iam_member.build",
    "google_project_iam_member.build_logs",
    "google_secret_manager_secret.spotify",
    "google_secret_manager_secret_iam_member.runtime",
    "google_project_iam_member.runtime_jobs",
    "google_pubsub_topic_iam_member.runtime",
    "google_pubsub_topic_iam_member.agent_dead_letter",
    "google_service_account_iam_member.agent_signs_as_push",
]


class ScriptTest(unittest.TestCase):
    """A test with its own fake cloud, which `self.cloud` changes before a run."""

    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)
        self.copy_repository()
        self.bin = self.home / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        (self.bin / "python3").symlink_to(sys.executable)
        stand_in = self.bin / "stand-in"
        stand_in.write_text(f"#!{sys.executable} -IS\n" + (REPOSITORY / "tests/deploy/stand_in.py").read_text())
        stand_in.chmod(0o755)
        for tool in ("gcloud", "terraform", "docker", "bq", "curl"):
            (self.bin / tool).symlink_to(stand_in)
        self.cloud(
            account="person@example.com",
            apis=["bigquery.googleapis.com"],
            buckets={},
            made=[],
            versions=[],
            next_version=1,
            images=[],
            published=0,
            polls=0,
            log=[["1|loaded||podcasts was replaced by 50 rows", "2|loaded||episodes was replaced by 312 rows", "3|already_loaded||mentions had been replaced"]],
            state={},
            first_resources=FIRST_RESOURCES,
            spotify_status="200",
            slow={},
            tainted=False,
            rollout={},
        )

    def copy_repository(self):
        """Copies the files that the scripts read, so that concurrent edits have no effect."""
        self.repository = self.home / "repository"
        for folder in ("deploy", "src", "terraform/schemas"):
            (self.repository / folder).mkdir(parents=True)
        for file in ("Cargo.toml", "Cargo.lock", "Dockerfile", ".dockerignore", "src/main.rs", "terraform/schemas/tables.json"):
            (self.repository / file).write_text(file)
        for script in [*(REPOSITORY / "deploy").glob("*.sh"), REPOSITORY / "deploy/tf"]:
            shutil.copy(script, self.repository / "deploy")

    def cloud(self, **changes):
        file = self.home / "cloud.json"
        cloud = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**cloud, **changes}))

    def now(self, name):
        return json.loads((self.home / "cloud.json").read_text())[name]

    def environment(self):
        return {
            "PATH": str(self.bin),
            "HOME": str(self.home),
            "STAND_IN_HOME": str(self.home),
            "POLL_SECONDS": "0",
            "MESSAGE_TIMEOUT_SECONDS": "0",
            "BASH_COMPAT": "3.2",
            "RETRY_SECONDS": "0",
        }

    def run_script(self, script, *arguments, stdin="", **environment):
        """Runs a script. Returns the run with its output and the recorded calls."""
        calls = self.home / "calls.jsonl"
        calls.unlink(missing_ok=True)
        run = subprocess.run(
            [str(self.repository / "deploy" / script), *arguments],
            input=stdin, capture_output=True, text=True, timeout=60, env={**self.environment(), **environment},
        )
        run.output = run.stdout + run.stderr
        run.recorded = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
        chdir = f"-chdir={self.repository}/terraform"
        run.calls = [" ".join([call["tool"], *(a for a in call["arguments"] if a != chdir)]) for call in run.recorded]
        return run

    def run_in_terminal(self, script, *arguments, typed):
        """Runs a script in a terminal. `typed` lists pairs of an expected text and the answer to it."""
        (self.home / "calls.jsonl").unlink(missing_ok=True)
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(self.repository / "deploy" / script, [script, *arguments], self.environment())
        seen, deadline = "", time.monotonic() + 60
        while time.monotonic() < deadline:
            if typed and typed[0][0] in seen:
                os.write(terminal, (typed.pop(0)[1] + "\n").encode())
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    seen += os.read(terminal, 4096).decode()
                except OSError:  # the other side was closed
                    break
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen

    def assert_order(self, calls, *beginnings):
        """Asserts that calls with these beginnings were made in this order, with any others in between."""
        rest = iter(calls)
        for beginning in beginnings:
            self.assertTrue(
                any(call.startswith(beginning) for call in rest),
                f"no call {beginning!r} at this position in:\n" + "\n".join(calls),
            )

    def assert_none(self, calls, *beginnings):
        for call in calls:
            self.assertFalse(call.startswith(beginnings), f"this call should not have been made: {call}")

    def assert_stopped(self, run, step, advice):
        self.assertNotEqual(run.returncode, 0, run.output)
        self.assertIn(f"Stopped at: {step}", run.output)
        self.assertIn(advice, run.output)
