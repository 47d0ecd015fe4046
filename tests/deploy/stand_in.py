"""A fake gcloud, terraform, docker, bq, gh and curl: one program, which behaves according to the name it is run by.

It records each call. A JSON file has the state of the fake cloud, so that a second run of a script finds what the first one
created. A call that matches cloud["fail"] fails.
"""

import json
import os
import re
import sys
from pathlib import Path

HOME = Path(os.environ.get("STAND_IN_HOME", "."))
DIGEST = "sha256:" + "1" * 64


def load():
    return json.loads((HOME / "cloud.json").read_text())


def save(cloud):
    # Replaced atomically, because the two sides of a pipe run concurrently.
    new = HOME / f"cloud.{os.getpid()}"
    new.write_text(json.dumps(cloud))
    new.replace(HOME / "cloud.json")


def record(call):
    with open(HOME / "calls.jsonl", "a") as file:
        file.write(json.dumps(call) + "\n")


def say(*lines):
    for line in lines:
        print(line)


def option(arguments, name, default=None):
    for argument in arguments:
        if argument.startswith(name + "="):
            return argument.removeprefix(name + "=")
    return default


def gcloud(arguments, cloud):
    line = " ".join(arguments)
    made = cloud["made"]
    if line.startswith("config get-value project"):
        say(cloud.get("default_project", ""))
    elif line.startswith("config get-value account"):
        say(cloud["account"])
    elif line.startswith("auth print-access-token"):
        say("test-token")
        return
    elif line.startswith("projects describe"):
        say("1234567890")
    elif line.startswith("billing projects describe"):
        say(str(cloud.get("billing", True)))
    elif line.startswith("services list"):
        say(*cloud["apis"])
    elif line.startswith("services enable"):
        cloud["apis"] += arguments[2:]
    elif line.startswith("storage buckets list"):
        bucket = option(arguments, "--filter").removeprefix("name=")
        if bucket in cloud["buckets"]:
            say(cloud["buckets"][bucket])
    elif line.startswith("storage buckets create"):
        cloud["buckets"][arguments[3].removeprefix("gs://")] = "False True enforced"
    elif line.startswith("storage buckets update"):
        cloud["buckets"][arguments[3].removeprefix("gs://")] = "True True enforced"
    elif line.startswith("secrets describe"):
        if "secret" not in made:
            sys.exit("NOT_FOUND: no such secret")
        say("projects/1/secrets/" + arguments[2])
    elif line.startswith("secrets versions list"):
        say(*(f"projects/1/secrets/s/versions/{version}" for version in reversed(cloud["versions"])))
    elif line.startswith("secrets versions add"):
        cloud["secret"] = sys.stdin.read()
        cloud["versions"].append(cloud["next_version"])
        say(f"projects/1/secrets/s/versions/{cloud['next_version']}")
        cloud["next_version"] += 1
    elif line.startswith("secrets versions disable"):
        cloud["versions"].remove(int(arguments[3]))
    elif line.startswith("artifacts docker images list"):
        if f"{arguments[4]}:{option(arguments, '--filter').removeprefix('tags:')}" in cloud["images"]:
            say(DIGEST)
    elif line.startswith("run services update"):
        cloud["rollout"] = cloud.get("rollout_after_update", cloud["rollout"])
    elif line.startswith("run services describe"):
        created, ready, status, message = cloud["rollout"] or ["s-00001-abc", "s-00001-abc", "True", ""]
        conditions = [{"type": "RoutesReady", "status": "True"}, {"type": "Ready", "status": status, "message": message}]
        say(json.dumps({"status": {"latestCreatedRevisionName": created, "latestReadyRevisionName": ready, "conditions": conditions}}))
        cloud["rollout"] = cloud.get("rollout_later", cloud["rollout"])
    elif line.startswith("builds submit"):
        cloud["images"].append(re.search(r"_IMAGE=([^,]*)", line).group(1))
    elif line.startswith("pubsub topics publish"):
        cloud["published"] += 1
        say(str(cloud["published"]))
    elif line.startswith("logging read"):
        cloud["polls"] += 1
        say(*cloud["log"][min(cloud["polls"], len(cloud["log"])) - 1])
    elif not line.startswith("beta services identity create"):
        sys.exit(f"unexpected call: gcloud {line}")
    save(cloud)


IMAGE_NAME = "southamerica-east1-docker.pkg.dev/p/spotify-bq/spotify-bq"
OUTPUTS = {
    "build_service_account": "projects/p/serviceAccounts/spotify-bq-build@p.iam.gserviceaccount.com",
    "build_source": "gs://p-spotify-bq-build/source",
    "image_repository": IMAGE_NAME,
    "secret_id": "spotify-credentials",
    "trigger_topic": "projects/p/topics/spotify-bq",
    "service_name": "spotify-bq",
    "dashboard": "https://console.example/dashboard",
}
DATA = ["google_bigquery_dataset.this[0]", 'google_bigquery_table.this["podcasts"]']
SERVICE = "google_cloud_run_v2_service.this"


def changes_of(arguments, cloud):
    """Returns the changes of a plan."""
    state, changes = cloud["state"], []
    if "-destroy" in arguments:
        return [[address, "delete"] for address in state]
    targets = [a.removeprefix("-target=") for a in arguments if a.startswith("-target=")]
    protected = "-var=deletion_protection=false" not in arguments
    if targets:
        addresses = targets
    else:
        addresses = [*cloud["first_resources"], SERVICE, *DATA]
    for address in addresses:
        if address not in state:
            changes.append([address, "create"])
        elif address == SERVICE and [option(arguments, "-var=image"), protected] != state[address]:
            changes.append([address, "update"])
    return changes + [[address, "update"] for address in cloud.get("drift", [])]


def terraform(arguments, cloud):
    chdir, command, *rest = arguments
    assert chdir.startswith("-chdir="), arguments
    state = cloud["state"]
    if command == "plan":
        changes = changes_of(rest, cloud)
        for address, action in changes:
            say(f"  # {address} will be {action}d")
        say("the whole plan, as terraform shows it")
        Path(option(rest, "-out", os.devnull)).write_text(json.dumps({"changes": changes, "arguments": rest}))
        sys.exit(2 if changes and "-detailed-exitcode" in rest else 0)
    elif command == "apply":
        plan = json.loads(Path(rest[-1]).read_text())
        protected = "-var=deletion_protection=false" not in plan["arguments"]
        for address, action in plan["changes"]:
            if action == "delete":
                del state[address]
            else:
                state[address] = [option(plan["arguments"], "-var=image"), protected]
        if "google_secret_manager_secret.spotify" in state:
            cloud["made"].append("secret")
        save(cloud)
    elif command == "output":
        if rest[:1] == ["-raw"]:
            sys.stdout.write(OUTPUTS[rest[1]])
        elif rest[1:] == ["settings"]:
            say(json.dumps({"set": {"SEARCH_TERM": cloud["search_term"]}} if cloud.get("search_term") else {}))
        elif len(rest) == 0:
            say("outputs")
        else:
            say('{"podcasts":"p.spotify_podcasts.tb_datahackers_limitada"}')
    elif command == "show" and len(rest) == 1:
        service = [
            {"address": a, "values": {"template": [{"containers": [{"image": v[0]}]}]}, **({"tainted": True} if cloud["tainted"] else {})}
            for a, v in state.items() if a == SERVICE
        ]
        say(json.dumps({"values": {"root_module": {"resources": service}}} if state else {"format_version": "1.0"}))
    elif command == "untaint":
        cloud["tainted"] = False
        save(cloud)
    elif command == "show":
        plan = json.loads(Path(rest[-1]).read_text())
        after = {"dataset_id": "spotify_podcasts", "table_id": "tb_datahackers_limitada"}
        say(json.dumps({"resource_changes": [
            {"address": address, "mode": "managed", "type": address.split(".")[0], "change": {"actions": [action], "after": after}}
            for address, action in plan["changes"]
        ]}))
    elif command == "state" and rest[0] == "list":
        say(*state)
    elif command == "state" and rest[0] == "rm":
        del state[rest[1]]
        save(cloud)
    elif command == "import":
        state[rest[-2]] = [None, True]
        save(cloud)
    elif command != "init":
        sys.exit(f"unexpected call: terraform {arguments}")


def docker(arguments, cloud):
    if arguments[0] == "login":
        sys.stdin.read()
    elif arguments[0] == "push":
        cloud["images"].append(arguments[1])
        save(cloud)


def bq(arguments, cloud):
    sys.exit(0 if arguments[-1].split(":")[1] in cloud.get("datasets", []) else 2)


def gh(arguments, cloud):
    if arguments[:2] == ["auth", "status"]:
        sys.exit(0 if cloud.get("gh_login") else 1)


def curl(arguments, cloud):
    cloud["spotify_request"] = sys.stdin.read()
    save(cloud)
    sys.stdout.write(cloud["spotify_status"])


def main():
    tool, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    cloud = load()
    environment = {k: v for k, v in os.environ.items() if k.startswith(("CLOUDSDK_", "GOOGLE_", "USER_PROJECT", "TF_"))}
    record({"tool": tool, "arguments": arguments, "environment": environment})
    # Patterns of calls that fail at first, with the number of remaining failures.
    for pattern, left in cloud["slow"].items():
        if left and re.search(pattern, " ".join([tool, *arguments])):
            cloud["slow"][pattern] -= 1
            save(cloud)
            sys.exit(f"{tool}: this API has not been used in project 1 before or it is disabled. If you enabled this API recently, wait")
    if cloud.get("fail") and re.search(cloud["fail"], " ".join([tool, *arguments])):
        sys.exit(f"PERMISSION_DENIED: {tool} fails for the test")
    {"gcloud": gcloud, "terraform": terraform, "docker": docker, "bq": bq, "gh": gh, "curl": curl}[tool](arguments, cloud)


if __name__ == "__main__":
    main()
