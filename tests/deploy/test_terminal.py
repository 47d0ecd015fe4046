"""What a person sees at a terminal: colours there, and nowhere else."""

import os
import pty
import subprocess
import unittest

BINARY = os.environ.get("BINARY")

# Nothing is reached: what `check` says of it is beside the point.
SETTINGS = {
    "WAREHOUSE": "sqlite:check.sqlite",
    "SPOTIFY_CREDENTIALS": "{}",
    "SPOTIFY_API_URL": "http://127.0.0.1:9",
    "SPOTIFY_ACCOUNTS_URL": "http://127.0.0.1:9",
    "TERM": "xterm-256color",
}


def at_a_terminal(more):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [BINARY, "check"], env=SETTINGS | more, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 4096):
            said += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    process.wait()
    os.close(ours)
    return said.decode()


@unittest.skipUnless(BINARY, "BINARY names the service to start")
class Terminal(unittest.TestCase):
    def test_colours_are_for_terminals(self):
        said = at_a_terminal({})
        self.assertIn("\x1b[32mok", said)
        self.assertIn("\x1b[31mPROBLEM", said)

    def test_no_color_is_heeded(self):
        said = at_a_terminal({"NO_COLOR": "1"})
        self.assertIn("PROBLEM", said)
        self.assertNotIn("\x1b", said)

    def test_a_pipe_gets_none(self):
        run = subprocess.run([BINARY, "check"], env=SETTINGS, capture_output=True, text=True)
        self.assertEqual(run.returncode, 1)
        self.assertIn("PROBLEM", run.stdout)
        self.assertNotIn("\x1b", run.stdout + run.stderr)


if __name__ == "__main__":
    unittest.main()
