"""docs/queries.md: each query runs on SQLite and on the BigQuery emulator, with the same result."""

import re
import sqlite3
import tempfile
import unittest
import uuid

from support import BINARY, EMULATOR, REPOSITORY, demo_dataset, demo_file, query

PAGE = (REPOSITORY / "docs/queries.md").read_text()
QUERIES = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
# The page's table of differences on SQLite.
REPLACEMENTS = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", PAGE, re.MULTILINE))
LATEST, MONTHS, SEARCH, RANK, CHANGES = QUERIES
EPISODES = "tb_datahackers_episodios_total"
# The changes between the two states that are compared.
EDITS = [
    f"DELETE FROM spotify_podcasts.{EPISODES} WHERE release_date = '2026-11-17'",
    f"UPDATE spotify_podcasts.{EPISODES} SET description = NULL WHERE release_date = '2026-11-10'",
    f"UPDATE spotify_podcasts.{EPISODES} SET id = 'another' WHERE release_date = '2026-11-03'",
]


def on_sqlite(text):
    for bigquery, sqlite in REPLACEMENTS.items():
        text = text.replace(bigquery, sqlite)
    return text


@unittest.skipUnless(BINARY, "BINARY names no built spotify-bq")
class OnSqlite(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        file = demo_file(folder.name)
        cls.connection = sqlite3.connect(":memory:")
        cls.addClassCleanup(cls.connection.close)
        cls.connection.execute("ATTACH ? AS spotify_podcasts", (str(file),))
        cls.connection.execute("ATTACH ? AS yesterday", (f"{folder.name}/yesterday.sqlite",))
        cls.connection.execute(f"CREATE TABLE yesterday.{EPISODES} AS SELECT * FROM spotify_podcasts.{EPISODES}")

    def answer(self, name):
        return self.connection.execute(on_sqlite(QUERIES[name])).fetchall()

    def test_the_page_has_five_queries_and_each_replacement_is_used(self):
        self.assertEqual(len(QUERIES), 5)
        for bigquery in REPLACEMENTS:
            self.assertTrue(any(bigquery in text for text in QUERIES.values()), bigquery)

    def test_the_latest_episodes(self):
        rows = self.answer(LATEST)
        self.assertEqual(len(rows), 10)
        self.assertEqual(rows[0][0::2], ("2026-11-17", 25.0))
        self.assertRegex(rows[0][3], r"^https://open\.spotify\.com/episode/[0-9A-Za-z]{22}$")

    def test_months(self):
        rows = self.answer(MONTHS)
        self.assertEqual(rows[:2], [("2026-11", 3, 0, 0.0), ("2026-10", 4, 1, 25.0)])
        self.assertEqual((sum(row[1] for row in rows), sum(row[2] for row in rows)), (75, 8))

    def test_the_search(self):
        rows = self.answer(SEARCH)
        self.assertTrue(0 < len(rows) < 75)

    def test_the_ranking(self):
        rows = self.answer(RANK)
        self.assertEqual((len(rows), rows[0][:3]), (50, (1, "Data Hackers", 75)))
        self.assertAlmostEqual(sum(row[3] for row in rows), 100, delta=1)

    def test_the_changes(self):
        self.assertEqual(self.answer(CHANGES), [])
        self.connection.execute("SAVEPOINT edits")
        for edit in EDITS:
            self.connection.execute(edit)
        rows = self.answer(CHANGES)
        self.connection.execute("ROLLBACK TO edits")
        self.assertEqual([row[0] for row in rows], ["edited", "gone", "gone", "new"])

    @unittest.skipUnless(EMULATOR, "no BigQuery emulator is running")
    def test_bigquery_answers_the_same(self):
        project = f"queries-{uuid.uuid4().hex[:8]}"
        demo_dataset(self.folder, project)

        def run(text):
            # The query has the dataset, but not the project, which is the one that runs the query.
            return query(project, text)

        for name in (LATEST, MONTHS, SEARCH, RANK):
            with self.subTest(name):
                self.assertEqual(run(QUERIES[name]), self.answer(name))

        # The table is less than a day old, so the time of the load replaces yesterday.
        loaded = run("SELECT FORMAT_TIMESTAMP('%Y-%m-%d %H:%M:%E6S', CURRENT_TIMESTAMP())")[0][0]
        yesterday = "TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)"
        text = QUERIES[CHANGES].replace(yesterday, f"TIMESTAMP '{loaded} UTC'")
        self.assertEqual(run(text), [])
        self.connection.execute("SAVEPOINT edits")
        for edit in EDITS:
            run(edit)
            self.connection.execute(edit)
        rows = self.answer(CHANGES)
        self.connection.execute("ROLLBACK TO edits")
        self.assertEqual(run(text), rows)


if __name__ == "__main__":
    unittest.main()
