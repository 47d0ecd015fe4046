# Who may do what: the whole list. A grant more or less fails, and so does a resource for grants that the list leaves out.

mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project_id = "test-project"
}

run "no_grant_is_outside_the_list" {
  command = plan

  # Every block of the sources that can grant something; the runs below read each of these.
  assert {
    condition = google_service_account.runtime.project == "test-project" && toset(flatten([
      for file in fileset(".", "*.tf") : [
        for block in regexall("(?m)^resource \"(google_[a-z0-9_]*(?:iam|access|acl|_key)[a-z0-9_]*)\" \"([a-z_]+)\"", file(file)) : join(".", block)
      ]
      ])) == toset([
      "google_artifact_registry_repository_iam_member.build",
      "google_artifact_registry_repository_iam_member.deployer",
      "google_bigquery_dataset_iam_member.runtime",
      "google_cloud_run_v2_service_iam_member.deployer",
      "google_cloud_run_v2_service_iam_member.push",
      "google_iam_workload_identity_pool.github",
      "google_iam_workload_identity_pool_provider.github",
      "google_project_iam_member.build_logs",
      "google_project_iam_member.deployer",
      "google_project_iam_member.runtime_jobs",
      "google_pubsub_subscription_iam_member.agent",
      "google_pubsub_topic_iam_member.agent_dead_letter",
      "google_pubsub_topic_iam_member.publishers",
      "google_pubsub_topic_iam_member.runtime",
      "google_pubsub_topic_iam_member.scheduler",
      "google_secret_manager_secret_iam_member.runtime",
      "google_service_account_iam_member.agent_signs_as_push",
      "google_service_account_iam_member.deployer_runs_as_runtime",
      "google_service_account_iam_member.github_is_deployer",
      "google_storage_bucket_iam_member.build",
      "google_storage_bucket_iam_member.deployer_state",
    ])
    error_message = "A resource that grants something is new or gone: put it into this list and its grants into those below."
  }

  assert {
    condition = google_service_account.runtime.project == "test-project" && length(flatten([
      for file in fileset(".", "*.tf") : regexall("roles/(?:owner|editor|viewer)\"|role\\s*=\\s*\"OWNER|special_group|user_by_email|module \"", file(file))
    ])) == 0
    error_message = "No basic role, no access block of a dataset, no module whose grants are not seen here."
  }

  # Where they are named, they are refused.
  assert {
    condition = google_service_account.runtime.project == "test-project" && alltrue([
      for file in fileset(".", "*.tf") : length(regexall("allUsers|allAuthenticatedUsers", file(file))) == length(regexall("allUsers and allAuthenticatedUsers are not accepted", file(file))) * 2
    ])
    error_message = "Nothing is public."
  }
}

run "by_default" {
  command = plan

  assert {
    condition = sort(concat(
      [for g in [google_project_iam_member.runtime_jobs, google_project_iam_member.build_logs] : "project ${g.project}: ${g.role}: ${g.member}"],
      [for g in google_project_iam_member.deployer : "project ${g.project}: ${g.role}: ${g.member}"],
      [for g in [google_bigquery_dataset_iam_member.runtime] : "dataset ${g.dataset_id}: ${g.role}: ${g.member}"],
      [for g in [google_secret_manager_secret_iam_member.runtime] : "secret ${g.secret_id}: ${g.role}: ${g.member}"],
      [for g in google_pubsub_topic_iam_member.runtime : "topic ${g.topic}: ${g.role}: ${g.member}"],
      [for g in google_pubsub_topic_iam_member.publishers : "topic ${g.topic}: ${g.role}: ${g.member}"],
      [for g in google_pubsub_topic_iam_member.scheduler : "topic ${g.topic}: ${g.role}: ${g.member}"],
      [for g in [google_pubsub_topic_iam_member.agent_dead_letter] : "topic ${g.topic}: ${g.role}: ${g.member}"],
      [for g in [google_pubsub_subscription_iam_member.agent] : "subscription ${g.subscription}: ${g.role}: ${g.member}"],
      [for g in [google_cloud_run_v2_service_iam_member.push] : "service ${g.name}: ${g.role}: ${g.member}"],
      [for g in google_cloud_run_v2_service_iam_member.deployer : "service ${g.name}: ${g.role}: ${g.member}"],
      [for g in [google_artifact_registry_repository_iam_member.build] : "repository ${g.repository}: ${g.role}: ${g.member}"],
      [for g in google_artifact_registry_repository_iam_member.deployer : "repository ${g.repository}: ${g.role}: ${g.member}"],
      [for g in [google_storage_bucket_iam_member.build] : "bucket ${g.bucket}: ${g.role}: ${g.member}"],
      [for g in google_storage_bucket_iam_member.deployer_state : "bucket ${g.bucket}: ${g.role}: ${g.member}"],
      [for g in [google_service_account_iam_member.agent_signs_as_push] : "account ${g.service_account_id}: ${g.role}: ${g.member}"],
      [for g in google_service_account_iam_member.deployer_runs_as_runtime : "account ${g.service_account_id}: ${g.role}: ${g.member}"],
      [for g in google_service_account_iam_member.github_is_deployer : "account ${g.service_account_id}: ${g.role}: ${g.member}"],
      )) == tolist([
      "account projects/test-project/serviceAccounts/push@test-project.iam.gserviceaccount.com: roles/iam.serviceAccountTokenCreator: serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com",
      "bucket test-project-spotify-bq-build: roles/storage.objectViewer: serviceAccount:build@test-project.iam.gserviceaccount.com",
      "dataset spotify_podcasts: roles/bigquery.dataEditor: serviceAccount:run@test-project.iam.gserviceaccount.com",
      "project test-project: roles/bigquery.jobUser: serviceAccount:run@test-project.iam.gserviceaccount.com",
      "project test-project: roles/logging.logWriter: serviceAccount:build@test-project.iam.gserviceaccount.com",
      "repository spotify-bq: roles/artifactregistry.writer: serviceAccount:build@test-project.iam.gserviceaccount.com",
      "secret spotify-credentials: roles/secretmanager.secretAccessor: serviceAccount:run@test-project.iam.gserviceaccount.com",
      "service spotify-bq: roles/run.invoker: serviceAccount:push@test-project.iam.gserviceaccount.com",
      "subscription spotify-bq-push: roles/pubsub.subscriber: serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com",
      "topic spotify-bq-dead-letter: roles/pubsub.publisher: serviceAccount:run@test-project.iam.gserviceaccount.com",
      "topic spotify-bq-dead-letter: roles/pubsub.publisher: serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com",
      "topic spotify-bq: roles/pubsub.publisher: serviceAccount:run@test-project.iam.gserviceaccount.com",
      "topic spotify-bq: roles/pubsub.publisher: serviceAccount:service-123456789012@gcp-sa-cloudscheduler.iam.gserviceaccount.com",
    ])
    error_message = "The grants are not these and no others."
  }
}

# All that is granted only on request; what is by default is counted above.
run "on_request" {
  command = plan

  variables {
    publishers        = { composer = "serviceAccount:airflow@other.iam.gserviceaccount.com", people = "group:data@example.com" }
    schedules         = {}
    github_repository = "example/repository"
    state_bucket      = "test-state"
  }

  assert {
    condition = sort(concat(
      [for g in google_project_iam_member.deployer : "project ${g.project}: ${g.role}: ${g.member}"],
      [for g in google_pubsub_topic_iam_member.publishers : "topic ${g.topic}: ${g.role}: ${g.member}"],
      [for g in google_pubsub_topic_iam_member.scheduler : "topic ${g.topic}: ${g.role}: ${g.member}"],
      [for g in google_cloud_run_v2_service_iam_member.deployer : "service ${g.name}: ${g.role}: ${g.member}"],
      [for g in google_artifact_registry_repository_iam_member.deployer : "repository ${g.repository}: ${g.role}: ${g.member}"],
      [for g in google_storage_bucket_iam_member.deployer_state : "bucket ${g.bucket}: ${g.role}: ${g.member}"],
      [for g in google_service_account_iam_member.deployer_runs_as_runtime : "account ${g.service_account_id}: ${g.role}: ${g.member}"],
      [for g in google_service_account_iam_member.github_is_deployer : "account ${g.service_account_id}: ${g.role}: ${g.member}"],
      )) == tolist([
      "account projects/test-project/serviceAccounts/deploy@test-project.iam.gserviceaccount.com: roles/iam.workloadIdentityUser: principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/spotify-bq-github/attribute.repository/example/repository",
      "account projects/test-project/serviceAccounts/run@test-project.iam.gserviceaccount.com: roles/iam.serviceAccountUser: serviceAccount:deploy@test-project.iam.gserviceaccount.com",
      "bucket test-state: roles/storage.objectUser: serviceAccount:deploy@test-project.iam.gserviceaccount.com",
      "project test-project: roles/run.viewer: serviceAccount:deploy@test-project.iam.gserviceaccount.com",
      "repository spotify-bq: roles/artifactregistry.writer: serviceAccount:deploy@test-project.iam.gserviceaccount.com",
      "service spotify-bq: roles/run.developer: serviceAccount:deploy@test-project.iam.gserviceaccount.com",
      "topic spotify-bq: roles/pubsub.publisher: group:data@example.com",
      "topic spotify-bq: roles/pubsub.publisher: serviceAccount:airflow@other.iam.gserviceaccount.com",
    ])
    error_message = "The grants are not these and no others."
  }

  assert {
    condition     = google_iam_workload_identity_pool_provider.github["this"].attribute_condition == "assertion.repository == \"example/repository\" && assertion.ref == \"refs/heads/main\""
    error_message = "Only this repository's main branch gets in."
  }

  assert {
    condition = (
      google_iam_workload_identity_pool_provider.github["this"].oidc[0].issuer_uri == "https://token.actions.githubusercontent.com" &&
      google_iam_workload_identity_pool_provider.github["this"].attribute_mapping["attribute.repository"] == "assertion.repository" &&
      google_iam_workload_identity_pool_provider.github["this"].attribute_mapping["google.subject"] == "assertion.sub"
    )
    error_message = "The claims are GitHub's own."
  }

  assert {
    condition     = output.deployer_service_account == "deploy@test-project.iam.gserviceaccount.com" && output.workload_identity_provider == google_iam_workload_identity_pool_provider.github["this"].name
    error_message = "The workflow is told its provider and account."
  }

  assert {
    condition     = contains(keys(google_project_service.this), "sts.googleapis.com")
    error_message = "Tokens are exchanged by an API of its own."
  }
}

run "the_state_is_not_the_deployers_unless_said" {
  command = plan

  variables {
    github_repository = "example/repository"
    github_ref        = "refs/tags/v1"
  }

  assert {
    condition     = length(google_storage_bucket_iam_member.deployer_state) == 0
    error_message = "There is no bucket to grant on."
  }

  assert {
    condition     = strcontains(google_iam_workload_identity_pool_provider.github["this"].attribute_condition, "assertion.ref == \"refs/tags/v1\"")
    error_message = "The ref is the one asked for."
  }
}
