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

# What an installation of the default term has had from the beginning: the same addresses, names and settings.
run "an_old_deployment_keeps_its_tables" {
  command = plan

  variables {
    tables      = {}
    search_term = "data hackers"
  }

  assert {
    condition = { for kind, table in google_bigquery_table.this : "google_bigquery_table.this[\"${kind}\"]" => table.table_id } == {
      "google_bigquery_table.this[\"podcasts\"]" = "tb_datahackers_limitada"
      "google_bigquery_table.this[\"episodes\"]" = "tb_datahackers_episodios_total"
      "google_bigquery_table.this[\"mentions\"]" = "tb_datahackers_episodios_boticario"
    }
    error_message = "Terraform keeps the three tables at their addresses and with their names."
  }

  assert {
    condition = [output.settings.set.PODCASTS_TABLE, output.settings.set.EPISODES_TABLE, output.settings.set.MENTIONS_TABLE] == [
      "tb_datahackers_limitada", "tb_datahackers_episodios_total", "tb_datahackers_episodios_boticario",
    ]
    error_message = "The service is told the three names."
  }

  assert {
    condition     = output.tables.podcasts == "test-project.spotify_podcasts.tb_datahackers_limitada" && strcontains(output.tables_rule, "Terraform creates them")
    error_message = "The outputs say the same."
  }
}

run "the_default_term_is_compared_without_case_and_spacing" {
  command = plan

  variables {
    search_term = " Data \u00a0 HACKERS "
  }

  assert {
    condition     = google_bigquery_table.this["episodes"].table_id == "tb_datahackers_episodios_total" && output.settings.set.EPISODES_TABLE == "tb_datahackers_episodios_total"
    error_message = "It is the default term, so the old names hold."
  }
}

run "tables_follow_another_term" {
  command = plan

  variables {
    search_term = "  Foro  de Teresina"
  }

  assert {
    condition     = length(google_bigquery_table.this) == 0 && length(google_bigquery_dataset.this) == 1
    error_message = "The service creates the tables of another term, in Terraform's dataset."
  }

  assert {
    condition     = length(setintersection(keys(output.settings.set), ["PODCASTS_TABLE", "EPISODES_TABLE", "MENTIONS_TABLE"])) == 0
    error_message = "The service names them, so it is told no names."
  }

  assert {
    condition     = length(setintersection(keys(output.operator_environment), ["PODCASTS_TABLE", "EPISODES_TABLE", "MENTIONS_TABLE"])) == 0 && output.operator_environment.SEARCH_TERM == "  Foro  de Teresina"
    error_message = "check names them by the term, as the service does."
  }

  assert {
    condition = output.tables == {
      podcasts = "test-project.spotify_podcasts.podcasts_foro_de_teresina"
      episodes = "test-project.spotify_podcasts.episodes_foro_de_teresina"
      mentions = "test-project.spotify_podcasts.mentions_foro_de_teresina"
    }
    error_message = "Letters and digits without accents need no folding, so the names are known."
  }

  assert {
    condition     = alltrue([for word in ["podcasts_<slug>", "spotify-bq check", "tables = {}"] : strcontains(output.tables_rule, word)])
    error_message = "The plan says the rule, where to see the names, and how to keep the old ones."
  }
}

run "a_slug_that_terraform_cannot_make_is_not_guessed" {
  command = plan

  variables {
    search_term = "Café da Manhã"
  }

  assert {
    condition     = output.tables.episodes == "test-project.spotify_podcasts.episodes_<slug>" && length(google_bigquery_table.this) == 0
    error_message = "Accents are the service's to fold."
  }
}

run "a_term_that_looks_like_a_hashed_one_is_not_guessed" {
  command = plan

  variables {
    search_term = "show deadbeef"
  }

  assert {
    condition     = output.tables.episodes == "test-project.spotify_podcasts.episodes_<slug>"
    error_message = "The service adds hex digits to such a slug."
  }
}

run "an_empty_object_keeps_the_old_names_for_another_term" {
  command = plan

  variables {
    search_term = "mamilos"
    tables      = {}
  }

  assert {
    condition     = google_bigquery_table.this["mentions"].table_id == "tb_datahackers_episodios_boticario" && output.settings.set.MENTIONS_TABLE == "tb_datahackers_episodios_boticario"
    error_message = "A stack that set only search_term keeps its tables with tables = {}."
  }
}

run "names_that_are_left_out_are_the_old_ones" {
  command = plan

  variables {
    search_term        = "mamilos"
    tables             = { podcasts = "shows" }
    column_policy_tags = { podcasts = { name = "projects/p/locations/us/taxonomies/1/policyTags/2" } }
  }

  assert {
    condition     = google_bigquery_table.this["podcasts"].table_id == "shows" && google_bigquery_table.this["episodes"].table_id == "tb_datahackers_episodios_total"
    error_message = "A given name holds, an absent one is the old one."
  }
}

run "tags_need_tables_of_terraforms" {
  command = plan

  variables {
    search_term        = "mamilos"
    column_policy_tags = { podcasts = { name = "projects/p/locations/us/taxonomies/1/policyTags/2" } }
  }

  expect_failures = [var.column_policy_tags]
}

run "tags_need_tables_that_are_created" {
  command = plan

  variables {
    create_tables      = false
    column_policy_tags = { podcasts = { name = "projects/p/locations/us/taxonomies/1/policyTags/2" } }
  }

  expect_failures = [var.column_policy_tags]
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
