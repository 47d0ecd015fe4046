#!/usr/bin/env bash
# Puts the Spotify app's credentials into Secret Manager, or puts new ones in place of the old.
#
#   deploy/set-credentials.sh                        asks for client id and client secret
#   deploy/set-credentials.sh < credentials.json     {"client_id": "…", "client_secret": "…"}
#
#   --project ID     the project (default: PROJECT_ID, else gcloud's own)
#   --secret NAME    the secret (default: spotify-credentials)
#   --no-check       don't ask Spotify whether it knows them
#
# They are never an argument of a command, nor in a file, nor in Terraform's state. The versions before are disabled once
# the new one is in; the service reads the secret again when Spotify refuses its token, so nothing is restarted.
# An app's credentials: https://developer.spotify.com/dashboard → your app → Settings.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

project=${PROJECT_ID:-} secret=spotify-credentials check=true
while (($#)); do
  case $1 in
    --project) require_value "$@"; project=$2; shift ;;
    --secret) require_value "$@"; secret=$2; shift ;;
    --no-check) check=false ;;
    -h | --help) print_help; exit 0 ;;
    *) fail "Unknown option $1." "The credentials themselves are read from standard input. See $0 --help." ;;
  esac
  shift
done

# Two lines (client id, client secret) or one JSON object in; the object, whole and nothing else, out.
# It must not quote what it was given: that ends up in terminals and in logs of workflows.
in_shape() {
  python3 -c '
import json, sys

def refuse(why):
    sys.exit(f"  {why}")

given = sys.stdin.read().strip()
if given.startswith("{"):
    try:
        credentials = json.loads(given)
    except ValueError as error:
        refuse(f"This is no JSON: {error.msg} at line {error.lineno}, column {error.colno}.")
    if set(credentials) != {"client_id", "client_secret"}:
        refuse("The JSON must have the keys client_id and client_secret and no others.")
else:
    lines = given.splitlines()
    if len(lines) != 2:
        refuse("Neither a JSON object nor a client id and a client secret.")
    credentials = dict(zip(("client_id", "client_secret"), map(str.strip, lines)))
for key, value in credentials.items():
    if not isinstance(value, str) or not value.isascii() or not value.isalnum():
        refuse(f"{key} must be a string of letters and digits, as the dashboard shows it.")
json.dump(credentials, sys.stdout)
'
}

# Asked with the credentials in curl's configuration, which is read from standard input.
known_to_spotify() {
  printf '%s' "$credentials" | python3 -c '
import json, sys

credentials = json.load(sys.stdin)
print("user = \"{client_id}:{client_secret}\"".format(**credentials))
' | curl --silent --output /dev/null --max-time 20 --write-out '%{http_code}' --config - \
    --data grant_type=client_credentials https://accounts.spotify.com/api/token || true
}

log_in
needs python3 "Install Python 3."

step "secret $secret" "Your account needs roles/secretmanager.admin on the project, or on this secret."
patiently gcloud secrets describe "$secret" --format='value(name)' >/dev/null ||
  fail "The secret $secret is not there." "deploy/deploy.sh makes it. If it has another name: --secret NAME."

step "the credentials" "Give them as {\"client_id\": \"…\", \"client_secret\": \"…\"} on standard input, or start this in a terminal and type them."
if [[ -t 0 ]]; then
  let_go_of_interrupts
  read -r -p "Client ID: " client_id
  read -r -s -p "Client secret (not shown): " client_secret
  catch_interrupts
  say ""
  credentials=$(printf '%s\n%s\n' "$client_id" "$client_secret" | in_shape)
else
  credentials=$(in_shape)
fi

if $check; then
  step "whether Spotify knows them" ""
  needs curl "Install it, or skip this with --no-check."
  answer=$(known_to_spotify)
  case $answer in
    200) ;;
    400 | 401) fail "Spotify does not know these credentials (HTTP $answer)." "Copy them again from https://developer.spotify.com/dashboard → your app → Settings. Nothing was changed." ;;
    *) say "Spotify gave no clear answer (HTTP ${answer:-000}); going on without it." ;;
  esac
fi

step "a new version of $secret" "Your account needs roles/secretmanager.secretVersionManager on this secret. The versions before are as they were."
added=$(printf '%s' "$credentials" | gcloud secrets versions add "$secret" --data-file=- --format='value(name)')
added=${added##*/}
[[ -n $added ]] || fail "gcloud did not say which version it made." "See: gcloud secrets versions list $secret --project $project"

step "disabling the versions before" "Version $added is in and in use. Disable the others with: gcloud secrets versions disable VERSION --secret $secret"
versions=$(gcloud secrets versions list "$secret" --filter=state=ENABLED --format='value(name)')
for version in $versions; do
  version=${version##*/}
  [[ $version == "$added" ]] || gcloud secrets versions disable "$version" --secret="$secret" --format=none
done

say "Done: version $added of $secret is in use."
