"""Runs examples/podcasts.ipynb on the tables of `spotify-bq demo`.

After a change of the notebook or of the demo's sample, this renews the outputs that are committed with it:

    BINARY=target/debug/spotify-bq PYTHON tests/examples/notebook.py

PYTHON is an interpreter that has tests/examples/requirements.txt. Look at the plots before you commit.
"""

import tempfile

import nbclient
import nbformat

from support import REPOSITORY, demo_file

NOTEBOOK = REPOSITORY / "examples/podcasts.ipynb"


# The emulator needs no credentials, but Google's client looks for some.
ANONYMOUS = """\
import google.auth
from google.auth.credentials import AnonymousCredentials

google.auth.default = lambda *_, **__: (AnonymousCredentials(), None)
"""


def run(folder, before="", **parameters):
    """Runs the notebook in a folder and returns it with outputs. Parameters replace those of its first code cell."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    [at] = [at for at, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    lines = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(before + lines))
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    del notebook.cells[at + 1]
    # Number the cells without a gap for the removed cell of parameters.
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    return notebook


def main():
    with tempfile.TemporaryDirectory() as folder:
        demo_file(folder)
        nbformat.write(run(folder), NOTEBOOK)


if __name__ == "__main__":
    main()
