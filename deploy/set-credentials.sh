#!/usr/bin/env bash
# Stores the Spotify app's credentials in Secret Manager, or rotates them.
#
#   deploy/set-credentials.sh                        prompts for client id and client secret
#   deploy/set-credentials.sh < credentials.json     {"client_id": "…", "client_secret": "…"}
#
#   --project ID     the project (default: PROJECT_ID, else gcloud's current project)
#   --secret NAME    the secret (default: spotify-credentials)
#   --no-check       don't test them against Spotify
#
# The credentials are never a command's argument, in a file or in Terraform's state. Once the new version is stored, the
# previous ones are disabled. The service reads the secret again when Spotify refuses its token, so nothing is restarted.
# Find an app's credentials at https://developer.spotify.com/dashboard → your app → Settings.
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

# Converts two lines (client id, client secret) or a JSON object to the JSON object. Errors must not quote the input,
# since they end up in terminals and workflow logs.
to_json() {
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

# Passes the credentials in curl's configuration on standard input, so that they are no argument.
test_with_spotify() {
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
  fail "The secret $secret does not exist." "Create it with deploy/deploy.sh. If it has another name: --secret NAME."

step "the credentials" "Pass them as {\"client_id\": \"…\", \"client_secret\": \"…\"} on standard input, or run this in a terminal and type them."
if [[ -t 0 ]]; then
  default_interrupts
  read -r -p "Client ID: " client_id
  read -r -s -p "Client secret (not shown): " client_secret
  catch_interrupts
  say ""
  credentials=$(printf '%s\n%s\n' "$client_id" "$client_secret" | to_json)
else
  credentials=$(to_json)
fi

if $check; then
  step "testing the credentials against Spotify" ""
  needs curl "Install it, or skip this with --no-check."
  answer=$(test_with_spotify)
  case $answer in
    200) ;;
    400 | 401) fail "Spotify rejects these credentials (HTTP $answer)." "Copy them again from https://developer.spotify.com/dashboard → your app → Settings. Nothing was changed." ;;
    *) say "Spotify gave no clear answer (HTTP ${answer:-000}). Continuing without this check." ;;
  esac
fi

step "a new version of $secret" "Your account needs roles/secretmanager.secretVersionManager on this secret. The previous versions are unchanged."
added=$(printf '%s' "$credentials" | gcloud secrets versions add "$secret" --data-file=- --format='value(name)')
added=${added##*/}
[[ -n $added ]] || fail "gcloud did not report the new version." "List the versions: gcloud secrets versions list $secret --project $project"

step "disabling the previous versions" "Version $added is stored and in use. Disable the others with: gcloud secrets versions disable VERSION --secret $secret"
versions=$(gcloud secrets versions list "$secret" --filter=state=ENABLED --format='value(name)')
for version in $versions; do
  version=${version##*/}
  [[ $version == "$added" ]] || gcloud secrets versions disable "$version" --secret="$secret" --format=none
done

say "Done: version $added of $secret is in use."
