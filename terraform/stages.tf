# Everything that the service needs before it can start, as one target:
#   terraform apply -target=terraform_data.first_stage
# Afterwards, add the secret's version and push the image. The grants take effect in the meantime, which takes minutes. A
# single apply of everything can fail at the service, because Cloud Run checks at deployment that it can read the secret.
# If you call this folder as a module, the target is module.NAME.terraform_data.first_stage.
#
# The dataset and its grant are not included, because an existing dataset must be imported first (deploy.sh --adopt).
resource "terraform_data" "first_stage" {
  depends_on = [
    # the build, and where its image goes
    google_artifact_registry_repository_iam_member.build,
    google_project_iam_member.build_logs,
    google_storage_bucket_iam_member.build,
    # the service's start
    google_project_iam_member.runtime_jobs,
    google_pubsub_topic_iam_member.runtime,
    google_secret_manager_secret_iam_member.runtime,
    # the first push
    google_pubsub_topic_iam_member.agent_dead_letter,
    google_service_account_iam_member.agent_signs_as_push,
  ]
}
