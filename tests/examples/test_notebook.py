"""examples/podcasts.ipynb: it runs, on SQLite and on BigQuery, and its committed outputs are those of a run."""

import base64
import shutil
import sqlite3
import struct
import tempfile
import unittest
import uuid
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError

import notebook
from support import BINARY, EMULATOR, REPOSITORY, demo_dataset, demo_file

PLOTS = 5


def texts(executed):
    """Returns the outputs of each code cell, without images, whose bytes depend on the machine's fonts."""
    cells = []
    for cell in executed.cells:
        if cell.cell_type == "code":
            shown = [output.get("text") or output.get("data", {}) for output in cell.outputs]
            cells.append([value if isinstance(value, str) else value.get("text/html") for value in shown])
    return cells


def pictures(executed):
    """Returns width and height of each plot."""
    sizes = []
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                head = base64.b64decode(output["data"]["image/png"])[:24]
                sizes.append(struct.unpack(">II", head[16:24]))
    return sizes


class Badge(unittest.TestCase):
    def test_it_opens_this_file(self):
        path = notebook.NOTEBOOK.relative_to(REPOSITORY)
        first = nbformat.read(notebook.NOTEBOOK, as_version=4).cells[0].source
        self.assertRegex(first, rf"\(https://colab\.research\.google\.com/github/[\w-]+/[\w-]+/blob/main/{path}\)")


@unittest.skipUnless(BINARY, "BINARY names no built spotify-bq")
class Notebook(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_the_committed_outputs_match_the_demo(self):
        demo_file(self.folder)
        executed = notebook.run(self.folder)
        committed = nbformat.read(notebook.NOTEBOOK, as_version=4)
        self.assertEqual(texts(executed), texts(committed), notebook.__doc__)
        self.assertEqual(len(pictures(executed)), PLOTS)
        self.assertEqual(len(pictures(committed)), PLOTS)
        for width, height in pictures(executed):
            # A label outside the figure would enlarge it.
            self.assertTrue(900 <= width <= 1100 and 100 <= height <= 600, (width, height))
        kinds = [output.output_type for cell in executed.cells for output in cell.get("outputs", [])]
        self.assertNotIn("error", kinds)
        streams = [output.name for cell in executed.cells for output in cell.get("outputs", []) if "name" in output]
        self.assertNotIn("stderr", streams, "a cell warns")

    def test_two_runs_of_the_demo_create_the_same_rows(self):
        shutil.move(demo_file(self.folder), self.folder / "ontem.sqlite")
        demo_file(self.folder)
        executed = notebook.run(self.folder)
        self.assertEqual(texts(executed)[-1], ["Nenhuma diferença no período comparado.\n"])

    def test_a_single_episode_without_mentions(self):
        file = demo_file(self.folder)
        with sqlite3.connect(file) as connection:
            connection.execute("DELETE FROM tb_datahackers_episodios_boticario")
            connection.execute("DELETE FROM tb_datahackers_limitada WHERE name != 'Data Hackers'")
            connection.execute("DELETE FROM tb_datahackers_episodios_total WHERE release_date != '2026-11-17'")
        connection.close()
        executed = notebook.run(self.folder)
        self.assertEqual(len(pictures(executed)), PLOTS)

    def test_a_missing_file_is_explained(self):
        with self.assertRaisesRegex(CellExecutionError, "rode `spotify-bq demo`"):
            notebook.run(self.folder)

    @unittest.skipUnless(EMULATOR, "no BigQuery emulator is running")
    def test_bigquery_shows_the_same(self):
        project = f"notebook-{uuid.uuid4().hex[:8]}"
        demo_dataset(self.folder, project)
        executed = notebook.run(self.folder, notebook.ANONYMOUS, FONTE="bigquery", PROJETO=project, DESDE="INTERVAL 0 SECOND")
        committed = nbformat.read(notebook.NOTEBOOK, as_version=4)
        # Without the last two cells, which compare with yesterday, when this table did not exist.
        self.assertEqual(texts(executed)[:-2], texts(committed)[:-2])
        self.assertIn("FOR SYSTEM_TIME AS OF", texts(executed)[-2][0])
        self.assertEqual(texts(executed)[-1], ["Nenhuma diferença no período comparado.\n"])
        self.assertEqual(len(pictures(executed)), PLOTS)


if __name__ == "__main__":
    unittest.main()
