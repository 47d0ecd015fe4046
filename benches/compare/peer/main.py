"""The same task as a Python function, for comparison: one message, one table, all pages, one load job with
WRITE_TRUNCATE. Reads the same environment variables as the service. It does not validate Spotify's pages and
does not retry, so it is faster than a function for production."""

import base64
import json
import os

import functions_framework
import requests
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

PROJECT = os.environ["GOOGLE_CLOUD_PROJECT"]
SPOTIFY = os.environ["SPOTIFY_API_URL"] + "/v1"
TOKENS = os.environ["SPOTIFY_ACCOUNTS_URL"] + "/api/token"
APP = json.loads(os.environ["SPOTIFY_CREDENTIALS"])

PODCASTS = {"name": "STRING", "description": "STRING", "id": "STRING", "total_episodes": "INTEGER"}
EPISODES = {
    "id": "STRING",
    "name": "STRING",
    "description": "STRING",
    "release_date": "DATE",
    "duration_ms": "INTEGER",
    "language": "STRING",
    "explicit": "BOOLEAN",
    "type": "STRING",
}
SHOWS = 50
SEARCH_PAGE = 10
EPISODE_PAGE = 50

warehouse = bigquery.Client(
    project=PROJECT,
    credentials=AnonymousCredentials(),
    client_options=ClientOptions(api_endpoint=os.environ["BIGQUERY_EMULATOR_HOST"]),
)


def bearer():
    app = (APP["client_id"], APP["client_secret"])
    response = requests.post(TOKENS, data={"grant_type": "client_credentials"}, auth=app)
    response.raise_for_status()
    return {"Authorization": "Bearer " + response.json()["access_token"]}


def get(path, headers, **query):
    response = requests.get(f"{SPOTIFY}/{path}", headers=headers, params={"market": "BR", **query})
    response.raise_for_status()
    return response.json()


def search(term, headers, offset=0):
    page = get("search", headers, q=term, type="show", limit=SEARCH_PAGE, offset=offset)
    return page["shows"]["items"]


def podcasts(term, headers):
    shows = []
    for offset in range(0, SHOWS, SEARCH_PAGE):
        page = search(term, headers, offset)
        shows.extend(page)
        if len(page) < SEARCH_PAGE:
            break
    return shows


def episodes(term, headers):
    show = search(term, headers)[0]["id"]
    offset = 0
    while True:
        page = get(f"shows/{show}/episodes", headers, limit=EPISODE_PAGE, offset=offset)
        yield from page["items"]
        if page["next"] is None:
            return
        offset += EPISODE_PAGE


@functions_framework.http
def handle(request):
    envelope = request.get_json()
    message = json.loads(base64.b64decode(envelope["message"]["data"]))
    kind, term = message["table"], message["search_term"]
    headers = bearer()
    if kind == "podcasts":
        columns, items = PODCASTS, podcasts(term, headers)
    else:
        columns, items = EPISODES, list(episodes(term, headers))
    if kind == "mentions":
        items = [item for item in items if item and "Grupo Boticário" in item["description"]]
    rows = [{column: item[column] for column in columns} for item in items if item]
    job = warehouse.load_table_from_json(
        rows,
        f"{PROJECT}.spotify_podcasts.{kind}",
        job_config=bigquery.LoadJobConfig(
            schema=[bigquery.SchemaField(name, form) for name, form in columns.items()],
            source_format=bigquery.SourceFormat.NEWLINE_DELIMITED_JSON,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
        ),
    )
    job.result()
    return "", 204
