"""Helpers for the tests of the examples: the demo's tables on SQLite and on a BigQuery emulator."""

import json
import os
import subprocess
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("BINARY")
EMULATOR = os.environ.get("BIGQUERY_EMULATOR_HOST")


def demo(folder, **environment):
    """Runs `spotify-bq demo` in a folder, without the settings of the environment."""
    kept = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    subprocess.run([BINARY, "demo"], cwd=folder, env={**kept, **environment}, check=True, capture_output=True)


def demo_file(folder):
    """Returns the SQLite file that `spotify-bq demo` writes by default."""
    demo(folder)
    return Path(folder) / "spotify-bq-demo.sqlite"


def demo_dataset(folder, project):
    """Fills the dataset spotify_podcasts of a project on the emulator."""
    call("POST", f"projects/{project}/datasets", {"datasetReference": {"projectId": project, "datasetId": "spotify_podcasts"}})
    demo(folder, WAREHOUSE="bigquery", GOOGLE_CLOUD_PROJECT=project, BIGQUERY_EMULATOR_HOST=EMULATOR)


def call(method, path, body):
    request = urllib.request.Request(
        f"{EMULATOR}/bigquery/v2/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def query(project, sql):
    """Returns the rows of a query on the emulator, with numbers as numbers."""
    answer = call("POST", f"projects/{project}/queries", {"query": sql, "useLegacySql": False})
    # The response to a statement that changes rows has no schema.
    fields = answer.get("schema", {}).get("fields", [])
    convert = {"INTEGER": int, "INT64": int, "FLOAT": float, "FLOAT64": float, "NUMERIC": float}
    return [
        tuple(
            cell["v"] if cell["v"] is None else convert.get(field["type"], str)(cell["v"])
            for field, cell in zip(fields, row["f"], strict=True)
        )
        for row in answer.get("rows", [])
    ]
