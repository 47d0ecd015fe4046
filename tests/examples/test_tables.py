"""docs/tables.md lists the columns of terraform/schemas, in their order."""

import json
import re
import unittest

from dbt_sources import SCHEMAS
from support import REPOSITORY

PAGE = (REPOSITORY / "docs/tables.md").read_text()


class Columns(unittest.TestCase):
    def test_each_list_matches_its_schema(self):
        for heading, schema in (("`podcasts`:", "podcasts"), ("`episodes` and `mentions`:", "episodes")):
            rows = re.match(r"(?:[^|]*)((?:\|[^\n]*\n)+)", PAGE.split(f"\n{heading}\n")[1]).group(1)
            listed = re.findall(r"^\| `(\w+)` \| (\w+) \|", rows, re.MULTILINE)
            columns = json.loads((SCHEMAS / f"{schema}.json").read_text())
            self.assertEqual(listed, [(column["name"], column["type"]) for column in columns])


if __name__ == "__main__":
    unittest.main()
