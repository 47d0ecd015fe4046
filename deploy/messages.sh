# shellcheck shell=bash
# Publishes one message per table and follows them in the log until they are done. Source lib.sh first.

load_tables() {
  local topic service table id filter deadline outcome advice text ids="" open=" " failed=0
  topic=$(tf output -raw trigger_topic)
  service=$(tf output -raw service_name)
  for table in podcasts episodes mentions; do
    id=$(patiently gcloud pubsub topics publish "$topic" --message="{\"table\":\"$table\"}" --format='value(messageIds)')
    say "$table: published as message $id"
    ids+=${ids:+ OR }\"$id\" open+="$id "
  done
  filter="resource.type=\"cloud_run_revision\" resource.labels.service_name=\"$service\" jsonPayload.event=\"message\" jsonPayload.messageId=($ids)"
  deadline=$((SECONDS + ${MESSAGE_TIMEOUT_SECONDS:-900}))
  while [[ -n ${open// /} ]]; do
    sleep "${POLL_SECONDS:-10}"
    patiently gcloud logging read "$filter" --freshness=1h --order=desc --limit=100 \
      --format='value[separator="|"](jsonPayload.messageId,jsonPayload.outcome,jsonPayload.advice,jsonPayload.message)' >"$scratch/outcomes"
    for id in $open; do
      # The newest line about this message, if any.
      IFS='|' read -r _ outcome advice text < <(grep -m 1 "^$id|" "$scratch/outcomes") || continue
      case $outcome in
        retry) continue ;;
        loaded | already_loaded) say "$text" ;;
        *) say "$text"; say "  What to do: $advice"; failed=1 ;;
      esac
      open=${open/ $id / }
    done
    if [[ -n ${open// /} ]] && ((SECONDS > deadline)); then
      say "Not loaded yet. The last log line of each message:"
      for id in $open; do
        IFS='|' read -r _ _ advice text < <(grep -m 1 "^$id|" "$scratch/outcomes") ||
          advice="check in Cloud Run's logs whether the push was refused" text="no line: the message did not reach the service"
        say "  message $id: $text"
        say "    What to do: $advice"
      done
      fail "Not all tables were loaded in time." \
        "Pub/Sub keeps delivering the messages for about 15 hours. Fix what the log reports, then wait: gcloud logging read 'resource.labels.service_name=\"$service\"' --limit=20 --project=$project"
    fi
  done
  ((failed == 0)) || fail "Not all tables were loaded." \
    "The messages are in the dead-letter subscription. Fix the cause, then republish them: spotify-bq redrive"
}
