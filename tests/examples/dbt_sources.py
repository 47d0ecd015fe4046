"""Generates examples/dbt/models/sources.yml from terraform/schemas, so that columns and descriptions have one source.

    python3 tests/examples/dbt_sources.py > examples/dbt/models/sources.yml
"""

import json
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMAS = REPOSITORY / "terraform/schemas"

HEAD = """\
# Generated from terraform/schemas by tests/examples/dbt_sources.py.
version: 2

sources:
  - name: spotify
    description: Tabelas de podcasts do Spotify. O spotify-bq substitui a tabela inteira a cada carga.
    # On DuckDB the attached SQLite file is a database of its own.
    database: "{{ 'spotify_podcasts' if target.type == 'duckdb' else (var('source_project') or target.database) }}"
    schema: "{{ 'main' if target.type == 'duckdb' else var('source_dataset') }}"
    config:
      # BigQuery's metadata says when a table last changed, so no column is needed.
      freshness:
        warn_after: {count: 26, period: hour}
        error_after: {count: 50, period: hour}
    tables:
"""


def quoted(text):
    """Returns a YAML string. JSON is YAML."""
    return json.dumps(text, ensure_ascii=False)


def sources():
    lines = [HEAD]
    for kind, table in json.loads((SCHEMAS / "tables.json").read_text()).items():
        lines.append(
            f"      - name: {kind}\n"
            f"        identifier: \"{{{{ var('{kind}_table') }}}}\"\n"
            f"        description: {quoted(table['description'])}\n"
            "        columns:\n"
        )
        for column in json.loads((SCHEMAS / table["schema"]).read_text()):
            lines.append(
                f"          - name: {column['name']}\n            description: {quoted(column['description'])}\n"
            )
            # BigQuery has no primary key here; these tests say what spotify-bq promises instead.
            if column["name"] == "id":
                lines.append("            data_tests: [unique, not_null]\n")
    return "".join(lines)


if __name__ == "__main__":
    print(sources(), end="")
