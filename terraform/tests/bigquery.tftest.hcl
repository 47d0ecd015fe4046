# The tables: from schemas/, or someone else's.

mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project_id = "test-project"
}

run "tables_are_made_from_the_schemas" {
  command = plan

  assert {
    condition = { for kind, table in google_bigquery_table.this : kind => table.table_id } == {
      podcasts = "tb_datahackers_limitada"
      episodes = "tb_datahackers_episodios_total"
      mentions = "tb_datahackers_episodios_boticario"
    }
    error_message = "The tables have the old names."
  }

  assert {
    condition     = alltrue([for table in google_bigquery_table.this : table.dataset_id == google_bigquery_dataset.this[0].dataset_id])
    error_message = "The tables are in the dataset."
  }

  assert {
    condition = alltrue([for kind, table in google_bigquery_table.this :
      jsonencode(jsondecode(table.schema)) == jsonencode(jsondecode(file("schemas/${kind == "podcasts" ? "podcasts" : "episodes"}.json")))
    ])
    error_message = "A table's columns are not those of its schema."
  }

  assert {
    condition     = jsonencode([for column in jsondecode(google_bigquery_table.this["podcasts"].schema) : "${column.name} ${column.type}"]) == jsonencode(["name STRING", "description STRING", "id STRING", "total_episodes INTEGER"])
    error_message = "podcasts: these columns and no others."
  }

  assert {
    condition = alltrue([for kind in ["episodes", "mentions"] : jsonencode([for column in jsondecode(google_bigquery_table.this[kind].schema) : "${column.name} ${column.type}"]) == jsonencode([
      "id STRING", "name STRING", "description STRING", "release_date DATE", "duration_ms INTEGER", "language STRING", "explicit BOOLEAN", "type STRING",
    ])])
    error_message = "episodes and mentions: these columns and no others."
  }

  assert {
    condition     = alltrue([for kind, table in google_bigquery_table.this : table.description == jsondecode(file("schemas/tables.json"))[kind].description])
    error_message = "A table's description is not that of tables.json."
  }
}

run "the_dataset_is_where_it_is_asked_for" {
  command = plan

  variables {
    bigquery_location = "southamerica-east1"
  }

  assert {
    condition     = google_bigquery_dataset.this[0].location == "southamerica-east1" && output.settings.set.BIGQUERY_LOCATION == "southamerica-east1"
    error_message = "The dataset's location is bigquery_location."
  }
}

run "an_existing_dataset_is_used_and_not_made" {
  command = plan

  variables {
    create_dataset = false
    dataset_id     = "Spotify_podcasts"
  }

  assert {
    condition     = length(google_bigquery_dataset.this) == 0 && alltrue([for table in google_bigquery_table.this : table.dataset_id == "Spotify_podcasts"])
    error_message = "The tables are made in the dataset that exists."
  }

  assert {
    condition     = google_bigquery_dataset_iam_member.runtime.dataset_id == "Spotify_podcasts"
    error_message = "The service may write to it."
  }
}

run "existing_tables_are_used_and_not_made" {
  command = plan

  variables {
    create_dataset = false
    create_tables  = false
  }

  assert {
    condition     = length(google_bigquery_table.this) == 0 && output.settings.set.PODCASTS_TABLE == "tb_datahackers_limitada"
    error_message = "No table is made, and the service still knows their names."
  }
}

run "policy_tags_are_kept" {
  command = plan

  variables {
    column_policy_tags = { episodes = { name = "projects/p/locations/us/taxonomies/1/policyTags/2" } }
  }

  assert {
    condition = jsonencode({ for kind, table in google_bigquery_table.this : kind => {
      for column in jsondecode(table.schema) : column.name => column.policyTags if can(column.policyTags)
      } }) == jsonencode({
      podcasts = {}
      episodes = { name = { names = ["projects/p/locations/us/taxonomies/1/policyTags/2"] } }
      mentions = {}
    })
    error_message = "A tag is on its column, and on no other."
  }
}

run "without_protection_all_goes" {
  command = plan

  variables {
    deletion_protection = false
  }

  assert {
    condition     = !google_cloud_run_v2_service.this.deletion_protection && alltrue([for table in google_bigquery_table.this : !table.deletion_protection]) && google_bigquery_dataset.this[0].delete_contents_on_destroy
    error_message = "A stack can be torn down."
  }
}
