# What Google would answer, each with a value of its own, so that a test sees which one was used where.

mock_data "google_project" {
  defaults = {
    number = "123456789012"
  }
}

override_resource {
  target = google_service_account.runtime
  values = {
    name   = "projects/test-project/serviceAccounts/run@test-project.iam.gserviceaccount.com"
    email  = "run@test-project.iam.gserviceaccount.com"
    member = "serviceAccount:run@test-project.iam.gserviceaccount.com"
  }
}

override_resource {
  target = google_service_account.push
  values = {
    name   = "projects/test-project/serviceAccounts/push@test-project.iam.gserviceaccount.com"
    email  = "push@test-project.iam.gserviceaccount.com"
    member = "serviceAccount:push@test-project.iam.gserviceaccount.com"
  }
}

override_resource {
  target = google_service_account.build
  values = {
    name   = "projects/test-project/serviceAccounts/build@test-project.iam.gserviceaccount.com"
    email  = "build@test-project.iam.gserviceaccount.com"
    member = "serviceAccount:build@test-project.iam.gserviceaccount.com"
  }
}

override_resource {
  target = google_service_account.deployer
  values = {
    name   = "projects/test-project/serviceAccounts/deploy@test-project.iam.gserviceaccount.com"
    email  = "deploy@test-project.iam.gserviceaccount.com"
    member = "serviceAccount:deploy@test-project.iam.gserviceaccount.com"
  }
}

override_resource {
  target = google_pubsub_topic.trigger
  values = {
    id = "projects/test-project/topics/trigger"
  }
}

override_resource {
  target = google_pubsub_topic.dead_letter
  values = {
    id = "projects/test-project/topics/dead-letter"
  }
}

override_resource {
  target = google_pubsub_subscription.dead_letter
  values = {
    id = "projects/test-project/subscriptions/dead-letter"
  }
}

override_resource {
  target = google_cloud_run_v2_service.this
  values = {
    uri = "https://spotify-bq-abc.a.run.app"
  }
}

override_resource {
  target = google_artifact_registry_repository.this
  values = {
    name = "spotify-bq"
  }
}

override_resource {
  target = google_monitoring_notification_channel.email
  values = {
    name = "projects/test-project/notificationChannels/1"
  }
}

override_resource {
  target = google_monitoring_dashboard.this
  values = {
    id = "projects/123456789012/dashboards/0f1e2d3c"
  }
}

override_resource {
  target = google_iam_workload_identity_pool.github
  values = {
    name = "projects/123456789012/locations/global/workloadIdentityPools/spotify-bq-github"
  }
}

override_resource {
  target = google_iam_workload_identity_pool_provider.github
  values = {
    name = "projects/123456789012/locations/global/workloadIdentityPools/spotify-bq-github/providers/github"
  }
}
