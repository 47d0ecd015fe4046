"""Colors at a terminal, and only there."""

import os
import pty
import subprocess
import unittest

BINARY = os.environ.get("BINARY")

# No service can be reached. The findings of `check` do not matter.
SETTINGS = {
    "WAREHOUSE": "sqlite:check.sqlite",
    "SPOTIFY_CREDENTIALS": "{}",
    "SPOTIFY_API_URL": "http://127.0.0.1:9",
    "SPOTIFY_ACCOUNTS_URL": "http://127.0.0.1:9",
    "TERM": "xterm-256color",
}


def at_a_terminal(more):
    terminal, child_side = pty.openpty()
    process = subprocess.Popen(
        [BINARY, "check"], env=SETTINGS | more, stdin=subprocess.DEVNULL, stdout=child_side, stderr=child_side
    )
    os.close(child_side)
    output = b""
    try:
        while chunk := os.read(terminal, 4096):
            output += chunk
    except OSError:  # the other side is closed
        pass
    process.wait()
    os.close(terminal)
    return output.decode()


@unittest.skipUnless(BINARY, "BINARY is not set")
class Terminal(unittest.TestCase):
    def test_terminals_get_colors(self):
        output = at_a_terminal({})
        self.assertIn("\x1b[32mok", output)
        self.assertIn("\x1b[31mPROBLEM", output)

    def test_no_color_disables_colors(self):
        output = at_a_terminal({"NO_COLOR": "1"})
        self.assertIn("PROBLEM", output)
        self.assertNotIn("\x1b", output)

    def test_pipes_get_no_colors(self):
        run = subprocess.run([BINARY, "check"], env=SETTINGS, capture_output=True, text=True)
        self.assertEqual(run.returncode, 1)
        self.assertIn("PROBLEM", run.stdout)
        self.assertNotIn("\x1b", run.stdout + run.stderr)


if __name__ == "__main__":
    unittest.main()
