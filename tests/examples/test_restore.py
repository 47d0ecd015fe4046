"""docs/restore.md: its statements, in their order, and those that the emulator can run (it has no time travel)."""

import re
import tempfile
import unittest
import uuid

from support import BINARY, EMULATOR, REPOSITORY, demo_dataset, query

PAGE = (REPOSITORY / "docs/restore.md").read_text()
COMPARE, COPY, PUT_BACK = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
TIME_TRAVEL = re.compile(r"\n  FOR SYSTEM_TIME AS OF TIMESTAMP '2026-11-25 09:00:00\+00'")
EPISODES = "tb_datahackers_episodios_total"


class Statements(unittest.TestCase):
    def test_the_schedule_is_paused_first_and_resumed_last(self):
        steps = ["jobs pause", "FOR SYSTEM_TIME", "CREATE TABLE", "BEGIN TRANSACTION", "jobs resume"]
        places = [PAGE.index(step) for step in steps]
        self.assertEqual(places, sorted(places))

    def test_no_statement_replaces_the_table(self):
        for statement in (COMPARE, COPY, PUT_BACK):
            self.assertNotRegex(statement, r"OR REPLACE|TRUNCATE|DROP")
        for statement in (COMPARE, COPY):
            self.assertEqual(len(TIME_TRAVEL.findall(statement)), 1)

    def test_the_rows_are_restored_in_one_transaction(self):
        lines = PUT_BACK.strip().splitlines()
        self.assertEqual((lines[0], lines[-1]), ("BEGIN TRANSACTION;", "COMMIT TRANSACTION;"))
        self.assertEqual([line.split()[0] for line in lines if re.match("DELETE|INSERT", line)], ["DELETE", "INSERT"])


@unittest.skipUnless(BINARY and EMULATOR, "no BigQuery emulator is running, or BINARY names no built spotify-bq")
class OnTheEmulator(unittest.TestCase):
    def test_lost_rows_are_found_copied_and_restored(self):
        project = f"restore-{uuid.uuid4().hex[:8]}"
        with tempfile.TemporaryDirectory() as folder:
            demo_dataset(folder, project)
        table = f"spotify_podcasts.{EPISODES}"
        all_rows = f"SELECT id, name, description, release_date FROM {table} ORDER BY id"
        whole = query(project, all_rows)
        # A copy of the table, because there is no time travel.
        query(project, f"CREATE TABLE spotify_podcasts.earlier AS SELECT * FROM {table}")
        query(project, f"DELETE FROM {table} WHERE release_date < '2026-01-01'")
        lost = len(whole) - len(query(project, all_rows))
        self.assertGreater(lost, 0)

        def run(statement):
            then = f"`my-project.spotify_podcasts.{EPISODES}`\n  FOR SYSTEM_TIME AS OF TIMESTAMP '2026-11-25 09:00:00+00'"
            return query(project, statement.replace(then, "spotify_podcasts.earlier").replace("my-project.", ""))

        self.assertEqual(len(run(COMPARE)), lost)
        run(COPY)
        run(PUT_BACK)
        self.assertEqual(query(project, all_rows), whole)
        self.assertEqual(run(COMPARE), [])
