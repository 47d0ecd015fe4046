"""examples/dbt: sources as in terraform/schemas; built on the demo's SQLite file and on the BigQuery emulator."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import uuid
from pathlib import Path

import dbt_sources
from support import BINARY, EMULATOR, REPOSITORY, demo_dataset, demo_file, query

PROJECT = REPOSITORY / "examples/dbt"
DBT = Path(sys.executable).with_name("dbt")
MODELS = sorted(path.stem for path in (PROJECT / "models").glob("*.sql"))

# profiles.yml for the emulator, which needs no credentials.
EMULATED = """\
spotify_podcasts:
  target: bigquery
  outputs:
    bigquery:
      type: bigquery
      method: oauth-secrets
      token: any
      project: {project}
      dataset: spotify_podcasts
      location: US
      threads: 3
      api_endpoint: {endpoint}
"""


class Files(unittest.TestCase):
    def test_the_sources_match_the_schemas(self):
        self.assertEqual((PROJECT / "models/sources.yml").read_text(), dbt_sources.sources(), dbt_sources.__doc__)

    def test_a_wildcard_over_the_tables_matches_no_model(self):
        self.assertTrue(0 < len(MODELS) <= 3, MODELS)
        for kind in json.loads((dbt_sources.SCHEMAS / "tables.json").read_text()):
            for model in MODELS:
                self.assertFalse(model.startswith(f"{kind}_"), f"{model} is picked up by {kind}_*")

    def test_the_tables_are_those_of_the_default_term(self):
        project = (PROJECT / "dbt_project.yml").read_text()
        variables = (REPOSITORY / "terraform/variables-data.tf").read_text()
        names = re.findall(r"^  (?:podcasts|episodes|mentions)_table: (\w+)$", project, re.MULTILINE)
        self.assertEqual(len(names), 3)
        for name in names:
            self.assertIn(f'"{name}"', variables)


@unittest.skipUnless(BINARY and DBT.exists(), "BINARY names no built spotify-bq, or this Python has no dbt")
class Built(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def dbt(self, *arguments, profiles=PROJECT, **environment):
        """Runs dbt. Returns its exit code and output."""
        run = subprocess.run(
            [DBT, "--no-use-colors", *arguments, "--profiles-dir", profiles, "--target-path", self.folder / "target",
             "--log-path", self.folder / "logs"],
            cwd=PROJECT, capture_output=True, text=True,
            # The folder of DuckDB's SQLite extension, next to the Python that runs this.
            env={**os.environ, "HOME": sys.prefix, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
                 "DEMO_FILE": str(self.folder / "spotify-bq-demo.sqlite"),
                 "DUCKDB_FILE": str(self.folder / "demo.duckdb"), **environment},
        )
        return run.returncode, run.stdout + run.stderr

    def test_it_builds_on_the_file_of_the_demo(self):
        file = demo_file(self.folder)
        code, said = self.dbt("build")
        self.assertEqual(code, 0, said)
        self.assertRegex(said, r"PASS=16 WARN=0 ERROR=0 SKIP=0")
        import duckdb

        with duckdb.connect(self.folder / "demo.duckdb") as connection:
            connection.execute(f"SET extension_directory = '{sys.prefix}/.duckdb/extensions'")
            connection.execute(f"ATTACH '{file}' AS spotify_podcasts (TYPE sqlite, READ_ONLY)")
            newest = "SELECT minutes, explicit, link = 'https://open.spotify.com/episode/' || id FROM spotify_episodes"
            rows = connection.execute(f"{newest} ORDER BY release_date DESC LIMIT 1").fetchall()
            self.assertEqual(rows, [(25.0, False, True)])
            months = "SELECT sum(episodes), sum(hours) > 0, count(*) FROM spotify_months"
            self.assertEqual(connection.execute(months).fetchall(), [(75, True, 19)])
            share = "SELECT episodes, mentions, share FROM spotify_mention_share WHERE month = '2026-10-01'"
            self.assertEqual(connection.execute(share).fetchall(), [(4, 1, 0.25)])

    def test_duplicate_and_null_ids_fail(self):
        file = demo_file(self.folder)
        with sqlite3.connect(file) as connection:
            connection.execute("INSERT INTO tb_datahackers_episodios_total SELECT * FROM tb_datahackers_episodios_total LIMIT 1")
            connection.execute("INSERT INTO tb_datahackers_limitada (name) VALUES ('without an id')")
        connection.close()
        code, said = self.dbt("build", "--select", "source:*")
        self.assertEqual(code, 1, said)
        self.assertRegex(said, r"FAIL 1 source_unique_spotify_episodes_id")
        self.assertRegex(said, r"FAIL 1 source_not_null_spotify_podcasts_id")

    def test_the_profile_for_bigquery_parses_with_the_tables_of_another_term(self):
        tables = "{episodes_table: episodes_mamilos, mentions_table: mentions_mamilos, source_project: elsewhere}"
        code, said = self.dbt("parse", "--target", "bigquery", "--vars", tables)
        self.assertEqual(code, 0, said)
        manifest = json.loads((self.folder / "target/manifest.json").read_text())
        names = {source["relation_name"] for source in manifest["sources"].values()}
        self.assertIn("`elsewhere`.`spotify_podcasts`.`episodes_mamilos`", names)
        self.assertIn("`elsewhere`.`spotify_podcasts`.`tb_datahackers_limitada`", names)

    @unittest.skipUnless(EMULATOR, "no BigQuery emulator is running")
    def test_on_bigquery_with_freshness_from_metadata(self):
        project = f"dbt-{uuid.uuid4().hex[:8]}"
        demo_dataset(self.folder, project)
        (self.folder / "profiles.yml").write_text(EMULATED.format(project=project, endpoint=EMULATOR))
        code, said = self.dbt("build", profiles=self.folder)
        self.assertEqual(code, 0, said)
        self.assertRegex(said, r"PASS=16 WARN=0 ERROR=0 SKIP=0")
        rows = query(project, "SELECT SUM(episodes), SUM(mentions) FROM spotify_podcasts.spotify_mention_share")
        self.assertEqual(rows, [(75, 8)])
        code, said = self.dbt("source", "freshness", profiles=self.folder)
        self.assertEqual(code, 0, said)
        results = json.loads((self.folder / "target/sources.json").read_text())["results"]
        self.assertEqual([result["status"] for result in results], ["pass"] * 3)
        # Freshness is from metadata: no row of these tables is from today.
        self.assertTrue(all(result["max_loaded_at_time_ago_in_s"] < 600 for result in results), results)


if __name__ == "__main__":
    unittest.main()
