# Options for organizations: keys, places, networks.

mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project_id = "test-project"
}

run "nothing_of_it_by_default" {
  command = plan

  assert {
    condition = alltrue([
      google_cloud_run_v2_service.this.template[0].encryption_key == null,
      length(google_cloud_run_v2_service.this.template[0].vpc_access) == 0,
      google_pubsub_topic.trigger.kms_key_name == null,
      length(google_pubsub_topic.trigger.message_storage_policy) == 0,
      length(google_bigquery_dataset.this[0].default_encryption_configuration) == 0,
      length(google_storage_bucket.build.encryption) == 0,
      google_artifact_registry_repository.this.kms_key_name == null,
      length(google_secret_manager_secret.spotify.replication[0].auto) == 1,
      length(google_secret_manager_secret.spotify.replication[0].user_managed) == 0,
    ])
    error_message = "A stack without these options is as it was."
  }
}

run "one_key_encrypts_everything" {
  command = plan

  variables {
    kms_key           = "projects/keys/locations/southamerica-east1/keyRings/r/cryptoKeys/k"
    bigquery_location = "southamerica-east1"
    loaded_topic      = true
  }

  assert {
    condition = alltrue([
      for key in concat(
        [
          google_cloud_run_v2_service.this.template[0].encryption_key,
          google_pubsub_topic.trigger.kms_key_name,
          google_pubsub_topic.dead_letter.kms_key_name,
          google_pubsub_topic.loaded[0].kms_key_name,
          google_bigquery_dataset.this[0].default_encryption_configuration[0].kms_key_name,
          google_storage_bucket.build.encryption[0].default_kms_key_name,
          google_artifact_registry_repository.this.kms_key_name,
          google_secret_manager_secret.spotify.replication[0].user_managed[0].replicas[0].customer_managed_encryption[0].kms_key_name,
        ],
        [for table in google_bigquery_table.this : table.encryption_configuration[0].kms_key_name],
      ) : key == var.kms_key
    ])
    error_message = "Something is encrypted with another key."
  }

  assert {
    condition     = google_secret_manager_secret.spotify.replication[0].user_managed[0].replicas[*].location == tolist(["southamerica-east1"]) && length(google_secret_manager_secret.spotify.replication[0].auto) == 0
    error_message = "A regional key encrypts replicas in its own region only."
  }
}

run "a_dataset_of_others_keeps_its_encryption" {
  command = plan

  variables {
    kms_key        = "projects/keys/locations/southamerica-east1/keyRings/r/cryptoKeys/k"
    create_dataset = false
  }

  assert {
    condition     = alltrue([for table in google_bigquery_table.this : length(table.encryption_configuration) == 0]) && google_pubsub_topic.trigger.kms_key_name == var.kms_key
    error_message = "Where the dataset is, and its key, is not known here."
  }
}

run "data_stays_in_its_regions" {
  command = plan

  variables {
    secret_locations        = ["southamerica-east1", "southamerica-west1"]
    message_storage_regions = ["southamerica-east1"]
    loaded_topic            = true
  }

  assert {
    condition     = google_secret_manager_secret.spotify.replication[0].user_managed[0].replicas[*].location == tolist(["southamerica-east1", "southamerica-west1"]) && alltrue([for replica in google_secret_manager_secret.spotify.replication[0].user_managed[0].replicas : length(replica.customer_managed_encryption) == 0])
    error_message = "The secret has replicas in these regions."
  }

  assert {
    condition     = alltrue([for topic in [google_pubsub_topic.trigger, google_pubsub_topic.dead_letter, google_pubsub_topic.loaded[0]] : join(",", topic.message_storage_policy[0].allowed_persistence_regions) == "southamerica-east1"])
    error_message = "Messages of all topics are kept in these regions."
  }
}

run "calls_go_through_a_network" {
  command = plan

  variables {
    vpc_access = { network = "shared", subnetwork = "data", tags = ["egress"], egress = "ALL_TRAFFIC" }
  }

  assert {
    condition = (
      google_cloud_run_v2_service.this.template[0].vpc_access[0].egress == "ALL_TRAFFIC" &&
      google_cloud_run_v2_service.this.template[0].vpc_access[0].network_interfaces[0].network == "shared" &&
      google_cloud_run_v2_service.this.template[0].vpc_access[0].network_interfaces[0].subnetwork == "data" &&
      google_cloud_run_v2_service.this.template[0].vpc_access[0].network_interfaces[0].tags == tolist(["egress"])
    )
    error_message = "The service's calls go through the given network."
  }
}

run "a_network_carries_private_addresses_by_default" {
  command = plan

  variables {
    vpc_access = { subnetwork = "data" }
  }

  assert {
    condition     = google_cloud_run_v2_service.this.template[0].vpc_access[0].egress == "PRIVATE_RANGES_ONLY" && google_cloud_run_v2_service.this.template[0].vpc_access[0].network_interfaces[0].subnetwork == "data"
    error_message = "Spotify stays reachable without Cloud NAT."
  }
}
