# How the parts hang together: a message's way from the topic to the service, and where it ends if it fails.

mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project_id = "test-project"
}

run "only_the_project_needs_to_be_said" {
  command = plan

  assert {
    condition     = alltrue([for api in google_project_service.this : api.project == "test-project" && api.disable_on_destroy == false])
    error_message = "APIs are turned on in the project and left on when the stack goes."
  }

  assert {
    condition = alltrue([for api in ["artifactregistry", "bigquery", "cloudbuild", "cloudresourcemanager", "cloudscheduler", "iam", "iamcredentials",
    "logging", "monitoring", "pubsub", "run", "secretmanager", "storage"] : contains(keys(google_project_service.this), "${api}.googleapis.com")])
    error_message = "An API that the stack uses is not turned on."
  }

  assert {
    condition     = toset(keys(google_bigquery_table.this)) == toset(["podcasts", "episodes", "mentions"])
    error_message = "There are three tables."
  }

  assert {
    condition     = toset(keys(google_cloud_scheduler_job.this)) == toset(["podcasts", "episodes", "mentions"])
    error_message = "There are three schedules, one for each table."
  }

  assert {
    condition = alltrue([
      length(google_billing_budget.this) == 0,
      length(google_monitoring_notification_channel.email) == 0,
      length(google_iam_workload_identity_pool.github) == 0,
      length(google_service_account.deployer) == 0,
      output.workload_identity_provider == null,
      output.deployer_service_account == null,
      output.image_is_placeholder,
    ])
    error_message = "What was not asked for is not made."
  }
}

run "the_service_answers_before_pubsub_gives_up" {
  command = plan

  assert {
    condition     = tonumber(local.settings.MESSAGE_DEADLINE_SECONDS) < google_pubsub_subscription.push.ack_deadline_seconds
    error_message = "The service's deadline must be under the ack deadline, or a message runs twice at once."
  }

  assert {
    condition     = "${google_pubsub_subscription.push.ack_deadline_seconds}s" == "600s" && google_cloud_run_v2_service.this.template[0].timeout == "600s"
    error_message = "Pub/Sub waits 600 s, its most, and Cloud Run lets a request live as long."
  }

  assert {
    condition     = google_pubsub_subscription.push.ack_deadline_seconds <= tonumber(trimsuffix(google_cloud_run_v2_service.this.template[0].timeout, "s"))
    error_message = "Cloud Run must not cut a request that Pub/Sub still waits for."
  }

  assert {
    condition     = google_cloud_run_v2_service.this.template[0].max_instance_request_concurrency > 4 * tonumber(local.settings.MAX_CONCURRENT_MESSAGES)
    error_message = "Cloud Run gives an instance more requests than are worked on at once: a message that waits for its table must not keep another table's out."
  }
}

run "pubsub_pushes_to_the_service_as_the_push_account" {
  command = plan

  assert {
    condition     = google_pubsub_subscription.push.topic == google_pubsub_topic.trigger.id
    error_message = "The push subscription is on the trigger topic."
  }

  assert {
    condition     = google_pubsub_subscription.push.push_config[0].push_endpoint == google_cloud_run_v2_service.this.uri
    error_message = "Pushes go to the service."
  }

  assert {
    condition     = google_pubsub_subscription.push.push_config[0].oidc_token[0].audience == google_cloud_run_v2_service.this.uri
    error_message = "The token's audience is the service's address: Cloud Run refuses any other."
  }

  assert {
    condition     = google_pubsub_subscription.push.push_config[0].oidc_token[0].service_account_email == google_service_account.push.email
    error_message = "Pushes come as the push account."
  }

  assert {
    condition     = google_cloud_run_v2_service.this.template[0].service_account == google_service_account.runtime.email
    error_message = "The service runs as the runtime account."
  }
}

run "a_failing_message_comes_again_and_ends_as_a_dead_letter" {
  command = plan

  assert {
    condition     = google_pubsub_subscription.push.retry_policy[0].minimum_backoff == "10s" && google_pubsub_subscription.push.retry_policy[0].maximum_backoff == "600s"
    error_message = "Retries wait from 10 s to 600 s."
  }

  assert {
    condition     = google_pubsub_subscription.push.dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead_letter.id
    error_message = "Pub/Sub's dead letters go to the dead-letter topic."
  }

  assert {
    condition     = google_pubsub_subscription.push.dead_letter_policy[0].max_delivery_attempts == 100
    error_message = "100 attempts are about 15 hours."
  }

  assert {
    condition     = google_pubsub_subscription.dead_letter.topic == google_pubsub_topic.dead_letter.id && google_pubsub_subscription.dead_letter.message_retention_duration == "2678400s"
    error_message = "Dead letters wait for 31 days in a subscription of their own."
  }

  assert {
    condition     = length(google_pubsub_subscription.dead_letter.push_config) == 0 && length(google_pubsub_subscription.dead_letter.dead_letter_policy) == 0
    error_message = "Dead letters wait until they are pulled."
  }

  assert {
    condition = alltrue([
      google_pubsub_subscription.push.expiration_policy[0].ttl == "",
      google_pubsub_subscription.dead_letter.expiration_policy[0].ttl == "",
    ])
    error_message = "No subscription expires."
  }

  assert {
    condition     = google_pubsub_topic.trigger.name != google_pubsub_topic.dead_letter.name && google_pubsub_subscription.push.name != google_pubsub_subscription.dead_letter.name
    error_message = "The topics and the subscriptions are two."
  }
}

run "the_service_is_small_private_and_alone" {
  command = plan

  assert {
    condition     = google_cloud_run_v2_service.this.ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    error_message = "Nothing outside the project reaches the service."
  }

  assert {
    condition     = google_cloud_run_v2_service.this.invoker_iam_disabled != true && google_cloud_run_v2_service.this.iap_enabled != true && google_cloud_run_v2_service.this.default_uri_disabled != true
    error_message = "IAM checks who calls, at the address that Pub/Sub pushes to."
  }

  assert {
    condition     = google_cloud_run_v2_service.this.scaling[0].max_instance_count == 1 && google_cloud_run_v2_service.this.template[0].scaling[0].max_instance_count == 1 && google_cloud_run_v2_service.this.template[0].scaling[0].min_instance_count == 0
    error_message = "At most one instance of a revision and of all revisions, since one Spotify account has one quota; none when there is nothing to do."
  }

  assert {
    condition     = google_cloud_run_v2_service.this.template[0].containers[0].resources[0].limits == tomap({ cpu = "1", memory = "512Mi" })
    error_message = "One CPU and 512 MiB."
  }

  assert {
    condition     = google_cloud_run_v2_service.this.template[0].containers[0].resources[0].cpu_idle && google_cloud_run_v2_service.this.template[0].containers[0].resources[0].startup_cpu_boost
    error_message = "CPU is paid for during requests only, and boosted at the start."
  }

  assert {
    condition     = google_cloud_run_v2_service.this.template[0].max_instance_request_concurrency == 80
    error_message = "Eighty requests at once."
  }

  assert {
    condition = (
      google_cloud_run_v2_service.this.template[0].containers[0].ports[0].container_port == 8080 &&
      google_cloud_run_v2_service.this.template[0].containers[0].startup_probe[0].http_get[0].path == "/health" &&
      google_cloud_run_v2_service.this.template[0].containers[0].startup_probe[0].http_get[0].port == 8080
    )
    error_message = "The startup probe asks /health on the port that is served."
  }

  assert {
    condition = (
      google_cloud_run_v2_service.this.template[0].containers[0].startup_probe[0].timeout_seconds <= google_cloud_run_v2_service.this.template[0].containers[0].startup_probe[0].period_seconds &&
      google_cloud_run_v2_service.this.template[0].containers[0].startup_probe[0].period_seconds * google_cloud_run_v2_service.this.template[0].containers[0].startup_probe[0].failure_threshold <= 240
    )
    error_message = "Cloud Run refuses a probe whose timeout is over its period, or that lasts over 240 s."
  }

  assert {
    condition = (
      google_cloud_run_v2_service.this.template[0].containers[0].liveness_probe[0].http_get[0].path == "/health" &&
      google_cloud_run_v2_service.this.template[0].containers[0].liveness_probe[0].http_get[0].port == 8080 &&
      google_cloud_run_v2_service.this.template[0].containers[0].liveness_probe[0].timeout_seconds <= google_cloud_run_v2_service.this.template[0].containers[0].liveness_probe[0].period_seconds &&
      google_cloud_run_v2_service.this.template[0].containers[0].liveness_probe[0].period_seconds * google_cloud_run_v2_service.this.template[0].containers[0].liveness_probe[0].failure_threshold >= 120
    )
    error_message = "An instance that does not answer for two minutes is restarted, and not one that is busy for a moment."
  }

  assert {
    condition     = google_cloud_run_v2_service.this.deletion_protection && alltrue([for table in google_bigquery_table.this : table.deletion_protection]) && google_bigquery_dataset.this[0].delete_contents_on_destroy == false
    error_message = "Service, tables and dataset are protected from destroy."
  }
}

run "instances_are_bounded_across_revisions" {
  command = plan

  variables {
    max_instances = 3
  }

  assert {
    condition     = google_cloud_run_v2_service.this.scaling[0].max_instance_count == 3 && google_cloud_run_v2_service.this.template[0].scaling[0].max_instance_count == 3
    error_message = "Both bounds follow max_instances."
  }
}

run "a_failed_rollout_is_said" {
  command = plan

  override_resource {
    target          = google_cloud_run_v2_service.this
    override_during = plan
    values = {
      uri                     = "https://spotify-bq-abc.a.run.app"
      latest_created_revision = "projects/test-project/locations/southamerica-east1/services/spotify-bq/revisions/spotify-bq-00002-abc"
      latest_ready_revision   = "projects/test-project/locations/southamerica-east1/services/spotify-bq/revisions/spotify-bq-00001-abc"
    }
  }

  expect_failures = [check.rollout]
}

# A first apply, before there is an image and a version of the secret: Cloud Run refuses a secret without one.
run "the_placeholder_mounts_no_secret" {
  command = plan

  assert {
    condition     = output.image_is_placeholder && length(google_cloud_run_v2_service.this.template[0].volumes) == 0 && length(google_cloud_run_v2_service.this.template[0].containers[0].volume_mounts) == 0
    error_message = "Google's sample needs no credentials, so a first apply works without them."
  }

  assert {
    condition     = google_secret_manager_secret_iam_member.runtime.secret_id == google_secret_manager_secret.spotify.secret_id
    error_message = "The right to read the secret is there before it is needed."
  }
}

# The first stage is targeted before the image is built, so that grants take effect meanwhile. Of the file, since an assertion
# on a resource that a targeted plan leaves out ends terraform.
run "the_first_stage_holds_what_the_service_needs_to_start" {
  command = plan

  assert {
    condition = terraform_data.first_stage.input == null && toset([
      for found in regexall("(?m)^    (google_[a-z_]+[.][a-z_]+),$", file("stages.tf")) : found[0]
      ]) == toset([
      "google_artifact_registry_repository_iam_member.build",
      "google_project_iam_member.build_logs",
      "google_project_iam_member.runtime_jobs",
      "google_pubsub_topic_iam_member.agent_dead_letter",
      "google_pubsub_topic_iam_member.runtime",
      "google_secret_manager_secret_iam_member.runtime",
      "google_service_account_iam_member.agent_signs_as_push",
      "google_storage_bucket_iam_member.build",
    ])
    error_message = "The build and the service's start need these grants. The dataset's is not among them: it would create a dataset that is to be adopted."
  }
}

run "credentials_are_a_file_and_never_a_value" {
  command = plan

  variables {
    image = "example/spotify-bq@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  }

  assert {
    condition     = google_secret_manager_secret.spotify.secret_id == "spotify-credentials" && length(google_secret_manager_secret.spotify.replication[0].auto) == 1
    error_message = "The secret is spotify-credentials."
  }

  assert {
    condition     = google_cloud_run_v2_service.this.template[0].volumes[0].secret[0].secret == google_secret_manager_secret.spotify.secret_id
    error_message = "The secret is what is mounted."
  }

  assert {
    condition = local.settings.SPOTIFY_CREDENTIALS_FILE == join("/", [
      one([for mount in google_cloud_run_v2_service.this.template[0].containers[0].volume_mounts : mount.mount_path if mount.name == google_cloud_run_v2_service.this.template[0].volumes[0].name]),
      google_cloud_run_v2_service.this.template[0].volumes[0].secret[0].items[0].path,
    ])
    error_message = "SPOTIFY_CREDENTIALS_FILE names the mounted file."
  }

  assert {
    condition     = google_cloud_run_v2_service.this.template[0].volumes[0].secret[0].items[0].version == "latest" && google_cloud_run_v2_service.this.template[0].volumes[0].secret[0].default_mode == 292
    error_message = "The file is the latest version, so that a rotation needs no new revision, and anyone in the container may read it: its user is not root."
  }

  assert {
    condition = google_secret_manager_secret.spotify.secret_id != "" && length(flatten([
      for file in fileset(".", "*.tf") : regexall("google_secret_manager_secret_version|secret_data", file(file))
    ])) == 0
    error_message = "No version of the secret is terraform's: its value would be in the state."
  }
}

run "images_and_sources_do_not_pile_up" {
  command = plan

  assert {
    condition = toset([for policy in google_artifact_registry_repository.this.cleanup_policies : policy.action]) == toset(["KEEP", "DELETE"]) && alltrue([
      for policy in google_artifact_registry_repository.this.cleanup_policies : policy.action == "KEEP" ? policy.most_recent_versions[0].keep_count == 5 : policy.condition[0].older_than == "86400s" && policy.condition[0].tag_state == "ANY"
    ])
    error_message = "Images older than a day are deleted, except the newest five. A KEEP policy alone deletes nothing."
  }

  assert {
    condition     = google_artifact_registry_repository.this.cleanup_policy_dry_run != true
    error_message = "The cleanup is not a rehearsal."
  }

  assert {
    condition = alltrue([
      one(one(google_storage_bucket.build.lifecycle_rule[*]).condition).age == 7,
      one(one(google_storage_bucket.build.lifecycle_rule[*]).action).type == "Delete",
      google_storage_bucket.build.public_access_prevention == "enforced",
      google_storage_bucket.build.uniform_bucket_level_access,
    ])
    error_message = "Sources go after a week, and are nobody else's to see."
  }
}

run "everything_is_in_the_region_and_labelled" {
  command = plan

  variables {
    region       = "us-central1"
    labels       = { team = "data" }
    loaded_topic = true
    alert_email  = "data@example.com"
  }

  # What can have labels and is created here is in the list below.
  assert {
    condition = google_pubsub_topic.trigger.name != "" && length(flatten([
      for file in fileset(".", "*.tf") : regexall("(?m)^  (?:user_)?labels += .*local\\.labels", file(file))
    ])) == 15
    error_message = "A resource with labels is new or gone: put it into the list below."
  }

  assert {
    condition = alltrue(concat(
      [
        google_cloud_run_v2_service.this.location == "us-central1",
        google_artifact_registry_repository.this.location == "us-central1",
        google_storage_bucket.build.location == "us-central1",
      ],
      [for job in google_cloud_scheduler_job.this : job.region == "us-central1"],
    ))
    error_message = "Something stands in another region."
  }

  assert {
    condition = alltrue([
      for labels in concat([
        google_cloud_run_v2_service.this.labels,
        google_cloud_run_v2_service.this.template[0].labels,
        google_artifact_registry_repository.this.labels,
        google_storage_bucket.build.labels,
        google_secret_manager_secret.spotify.labels,
        google_bigquery_dataset.this[0].labels,
        google_pubsub_topic.trigger.labels,
        google_pubsub_topic.dead_letter.labels,
        google_pubsub_subscription.push.labels,
        google_pubsub_subscription.dead_letter.labels,
        google_pubsub_topic.loaded[0].labels,
        google_monitoring_notification_channel.email[0].user_labels,
        ], [for table in google_bigquery_table.this : table.labels],
        [for policy in concat(values(google_monitoring_alert_policy.metric), values(google_monitoring_alert_policy.log), google_monitoring_alert_policy.nothing_loaded) : policy.user_labels],
      ) : labels.team == "data" && labels.app == "spotify-bq"
    ])
    error_message = "Something lacks a label."
  }
}

# Names that carry the prefix differ by it; secret and dataset have variables of their own, which the description says.
run "two_stacks_fit_in_one_project" {
  command = plan

  variables {
    name               = "second"
    credentials_secret = "second-credentials"
    dataset_id         = "second"
    github_repository  = "example/repository"
    loaded_topic       = true
  }

  assert {
    condition = alltrue([
      for name in concat([
        google_cloud_run_v2_service.this.name,
        google_service_account.runtime.account_id,
        google_service_account.push.account_id,
        google_service_account.build.account_id,
        google_service_account.deployer["this"].account_id,
        google_iam_workload_identity_pool.github["this"].workload_identity_pool_id,
        google_artifact_registry_repository.this.repository_id,
        trimprefix(google_storage_bucket.build.name, "test-project-"),
        google_pubsub_topic.trigger.name,
        google_pubsub_topic.dead_letter.name,
        google_pubsub_subscription.push.name,
        google_pubsub_subscription.dead_letter.name,
        google_pubsub_topic.loaded[0].name,
        google_secret_manager_secret.spotify.secret_id,
        google_bigquery_dataset.this[0].dataset_id,
        ],
        [for job in google_cloud_scheduler_job.this : job.name],
        [for metric in google_logging_metric.this : metric.name],
        [for policy in google_monitoring_alert_policy.metric : policy.display_name],
        [for policy in google_monitoring_alert_policy.log : policy.display_name],
        [for policy in google_monitoring_alert_policy.nothing_loaded : policy.display_name],
      ) : startswith(name, "second")
    ])
    error_message = "A name would collide with the other stack's."
  }

  assert {
    condition     = alltrue([for filter in concat([for m in google_logging_metric.this : m.filter]) : strcontains(filter, "resource.labels.service_name=\"second\"")])
    error_message = "A metric counts the other stack's lines."
  }
}

run "the_longest_name_fits_everywhere" {
  command = plan

  variables {
    project_id        = "a23456789-123456789-1234567890"
    name              = "a23456789-123456789-12"
    github_repository = "example/repository"
  }

  assert {
    condition = alltrue([
      for account in [google_service_account.runtime, google_service_account.push, google_service_account.build, google_service_account.deployer["this"]] :
      length(account.account_id) >= 6 && length(account.account_id) <= 30
    ])
    error_message = "A service account's id has 6 to 30 characters."
  }

  assert {
    condition     = length(google_iam_workload_identity_pool.github["this"].workload_identity_pool_id) <= 32 && length(google_storage_bucket.build.name) <= 63
    error_message = "A pool's id ends at 32 characters, a bucket's name at 63."
  }
}
