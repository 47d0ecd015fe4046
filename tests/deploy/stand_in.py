"""A stand-in for gcloud, terraform, docker, bq, gh and curl: one program, which looks at the name it was called by.

It writes each call down and answers from a small world kept in a JSON file, in which making things makes them be there:
so a second run of a script meets what the first one left. A call that matches world["fail"] fails.
"""

import json
import os
import re
import sys
from pathlib import Path

HOME = Path(os.environ.get("STAND_IN_HOME", "."))
DIGEST = "sha256:" + "1" * 64


def load():
    return json.loads((HOME / "world.json").read_text())


def save(world):
    # Whole or not at all: the two sides of a pipe are at work at the same time.
    new = HOME / f"world.{os.getpid()}"
    new.write_text(json.dumps(world))
    new.replace(HOME / "world.json")


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


def gcloud(arguments, world):
    line = " ".join(arguments)
    made = world["made"]
    if line.startswith("config get-value project"):
        say(world.get("default_project", ""))
    elif line.startswith("config get-value account"):
        say(world["account"])
    elif line.startswith("auth print-access-token"):
        say("token-of-the-hour")
        return
    elif line.startswith("projects describe"):
        say("1234567890")
    elif line.startswith("billing projects describe"):
        say(str(world.get("billing", True)))
    elif line.startswith("services list"):
        say(*world["apis"])
    elif line.startswith("services enable"):
        world["apis"] += arguments[2:]
    elif line.startswith("storage buckets list"):
        bucket = option(arguments, "--filter").removeprefix("name=")
        if bucket in world["buckets"]:
            say(world["buckets"][bucket])
    elif line.startswith("storage buckets create"):
        world["buckets"][arguments[3].removeprefix("gs://")] = "False True enforced"
    elif line.startswith("storage buckets update"):
        world["buckets"][arguments[3].removeprefix("gs://")] = "True True enforced"
    elif line.startswith("secrets describe"):
        if "secret" not in made:
            sys.exit("NOT_FOUND: the secret is not there")
        say("projects/1/secrets/" + arguments[2])
    elif line.startswith("secrets versions list"):
        say(*(f"projects/1/secrets/s/versions/{version}" for version in reversed(world["versions"])))
    elif line.startswith("secrets versions add"):
        world["secret"] = sys.stdin.read()
        world["versions"].append(world["next_version"])
        say(f"projects/1/secrets/s/versions/{world['next_version']}")
        world["next_version"] += 1
    elif line.startswith("secrets versions disable"):
        world["versions"].remove(int(arguments[3]))
    elif line.startswith("artifacts docker images list"):
        if f"{arguments[4]}:{option(arguments, '--filter').removeprefix('tags:')}" in world["images"]:
            say(DIGEST)
    elif line.startswith("run services update"):
        world["rollout"] = world.get("rollout_after_update", world["rollout"])
    elif line.startswith("run services describe"):
        created, ready, status, message = world["rollout"] or ["s-00001-abc", "s-00001-abc", "True", ""]
        conditions = [{"type": "RoutesReady", "status": "True"}, {"type": "Ready", "status": status, "message": message}]
        say(json.dumps({"status": {"latestCreatedRevisionName": created, "latestReadyRevisionName": ready, "conditions": conditions}}))
        world["rollout"] = world.get("rollout_later", world["rollout"])
    elif line.startswith("builds submit"):
        world["images"].append(re.search(r"_IMAGE=([^,]*)", line).group(1))
    elif line.startswith("pubsub topics publish"):
        world["published"] += 1
        say(str(world["published"]))
    elif line.startswith("logging read"):
        world["polls"] += 1
        say(*world["log"][min(world["polls"], len(world["log"])) - 1])
    elif not line.startswith("beta services identity create"):
        sys.exit(f"the stand-in does not know: gcloud {line}")
    save(world)


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


def changes_of(arguments, world):
    """What a plan would change, in this world."""
    state, changes = world["state"], []
    if "-destroy" in arguments:
        return [[address, "delete"] for address in state]
    targets = [a.removeprefix("-target=") for a in arguments if a.startswith("-target=")]
    protected = "-var=deletion_protection=false" not in arguments
    if targets:
        wanted = targets
    else:
        wanted = [*world["first_resources"], SERVICE, *DATA]
    for address in wanted:
        if address not in state:
            changes.append([address, "create"])
        elif address == SERVICE and [option(arguments, "-var=image"), protected] != state[address]:
            changes.append([address, "update"])
    return changes + [[address, "update"] for address in world.get("drift", [])]


def terraform(arguments, world):
    chdir, command, *rest = arguments
    assert chdir.startswith("-chdir="), arguments
    state = world["state"]
    if command == "plan":
        changes = changes_of(rest, world)
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
            world["made"].append("secret")
        save(world)
    elif command == "output":
        if rest[:1] == ["-raw"]:
            sys.stdout.write(OUTPUTS[rest[1]])
        elif rest[1:] == ["settings"]:
            say(json.dumps({"set": {"SEARCH_TERM": world["search_term"]}} if world.get("search_term") else {}))
        elif len(rest) == 0:
            say("outputs")
        else:
            say('{"podcasts":"p.spotify_podcasts.tb_datahackers_limitada"}')
    elif command == "show" and len(rest) == 1:
        service = [
            {"address": a, "values": {"template": [{"containers": [{"image": v[0]}]}]}, **({"tainted": True} if world["tainted"] else {})}
            for a, v in state.items() if a == SERVICE
        ]
        say(json.dumps({"values": {"root_module": {"resources": service}}} if state else {"format_version": "1.0"}))
    elif command == "untaint":
        world["tainted"] = False
        save(world)
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
        save(world)
    elif command == "import":
        state[rest[-2]] = [None, True]
        save(world)
    elif command != "init":
        sys.exit(f"the stand-in does not know: terraform {arguments}")


def docker(arguments, world):
    if arguments[0] == "login":
        sys.stdin.read()
    elif arguments[0] == "push":
        world["images"].append(arguments[1])
        save(world)


def bq(arguments, world):
    sys.exit(0 if arguments[-1].split(":")[1] in world.get("datasets", []) else 2)


def gh(arguments, world):
    if arguments[:2] == ["auth", "status"]:
        sys.exit(0 if world.get("gh_login") else 1)


def curl(arguments, world):
    world["asked_spotify_with"] = sys.stdin.read()
    save(world)
    sys.stdout.write(world["spotify_says"])


def main():
    tool, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    world = load()
    environment = {k: v for k, v in os.environ.items() if k.startswith(("CLOUDSDK_", "GOOGLE_", "USER_PROJECT", "TF_"))}
    record({"tool": tool, "arguments": arguments, "environment": environment})
    # What refuses its first calls: a pattern, and how many of them are left.
    for pattern, left in world["slow"].items():
        if left and re.search(pattern, " ".join([tool, *arguments])):
            world["slow"][pattern] -= 1
            save(world)
            sys.exit(f"{tool}: this API has not been used in project 1 before or it is disabled. If you enabled this API recently, wait")
    if world.get("fail") and re.search(world["fail"], " ".join([tool, *arguments])):
        sys.exit(f"PERMISSION_DENIED: {tool} fails, as it was told to")
    {"gcloud": gcloud, "terraform": terraform, "docker": docker, "bq": bq, "gh": gh, "curl": curl}[tool](arguments, world)


if __name__ == "__main__":
    main()
