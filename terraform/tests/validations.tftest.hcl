# Each rule of a variable: values that it lets pass, and values that it refuses before anything is made.

mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project_id = "test-project"
}

# What passes: the ends of what is allowed.

run "the_least_passes" {
  command = plan

  variables {
    project_id               = "abcdef"
    region                   = "us-west1"
    name                     = "abc"
    image                    = "us-docker.pkg.dev/cloudrun/container/hello"
    max_instances            = 1
    log_level                = "trace"
    labels                   = {}
    dataset_id               = "d"
    bigquery_location        = "EU"
    tables                   = { podcasts = "a", episodes = "b", mentions = "c" }
    search_term              = "x"
    mention                  = "y"
    secret_locations         = []
    message_storage_regions  = []
    notification_channels    = []
    nothing_loaded_hours     = 1
    github_owner_id          = "1"
    vpc_access               = { subnetwork = "s" }
    market                   = "PT"
    search_page_size         = 1
    spotify_concurrent_calls = 1
    credentials_secret       = "s"
    publishers               = {}
    schedules                = { a = { cron = "* * * * *", time_zone = "UTC", search_terms = ["x"] } }
    alert_email              = "a@b.co"
    budget                   = { billing_account = "000000-000000-000000", amount = 1 }
    github_repository        = "a/b"
    github_ref               = "refs/tags/v1.0"
    state_bucket             = "abc"
  }
}

run "the_most_passes" {
  command = plan

  variables {
    project_id               = "a23456789-123456789-1234567890"
    region                   = "northamerica-northeast12"
    name                     = "a23456789-123456789-12"
    image                    = "southamerica-east1-docker.pkg.dev/test-project/spotify-bq/spotify-bq@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    max_instances            = 100
    log_level                = "debug"
    labels                   = { "cost-center_1" = "data-team_2", empty = "" }
    dataset_id               = format("%01024d", 0)
    bigquery_location        = "southamerica-east1"
    tables                   = { podcasts = format("%01024d", 0) }
    column_policy_tags       = { podcasts = { name = "projects/p/locations/us/taxonomies/1/policyTags/2" }, episodes = {}, mentions = {} }
    search_term              = format("%0100d", 0)
    mention                  = join("|", [for i in range(20) : format("%0100d", i)])
    secret_locations         = ["us-central1", "southamerica-east1"]
    message_storage_regions  = ["us-central1", "southamerica-east1"]
    notification_channels    = ["projects/p/notificationChannels/1", "projects/p/notificationChannels/2"]
    nothing_loaded_hours     = 696
    runbook_url              = "https://example.com/runbook#alerts"
    github_owner_id          = "98765432109"
    vpc_access               = { network = "projects/host/global/networks/n", subnetwork = "projects/host/regions/us-central1/subnetworks/s", tags = ["a"], egress = "ALL_TRAFFIC" }
    market                   = "BR"
    search_page_size         = 50
    spotify_concurrent_calls = 50
    credentials_secret       = "Spotify_credentials-2"
    publishers               = { a = "user:a@b.co", b = "group:g@b.co", c = "serviceAccount:s@p.iam.gserviceaccount.com", d = "domain:b.co", e = "principal://iam.googleapis.com/x", f = "principalSet://iam.googleapis.com/y" }
    schedules                = { "a-1" = { cron = "*/5 1-3 1,15 JAN MON-FRI", time_zone = "America/Argentina/Buenos_Aires", table = "mentions", search_terms = [for i in range(300) : format("%0100d", 0)] }, show = { cron = "0 6 * * *", search_terms = ["x"], show_id = "1oMIHOXsrLFENAeM743g93", max_missing_percent = 100 } }
    alert_email              = "data.team+alerts@example.com.br"
    budget                   = { billing_account = "012345-6789AB-CDEF01", amount = 1000, currency = "USD" }
    github_repository        = "some-owner/some.repo_1"
    github_ref               = "refs/heads/release/1.0"
    state_bucket             = "my-project.terraform_state-1"
  }
}

# What is refused. Each run has one bad value for each of many variables, and fails unless all of them are refused.

run "refused_01" {
  command = plan

  variables {
    # a projects number
    project_id = "123456789012"
    # a zone
    region = "us-central1-a"
    # a name of two letters
    name = "ab"
    # an image by tag
    image = "southamerica-east1-docker.pkg.dev/test-project/spotify-bq/spotify-bq:latest"
    # no instance
    max_instances = 0
    # a log level under info
    log_level = "warn"
    # a label with capitals
    labels = { Team = "data" }
    # a dataset with a hyphen
    dataset_id = "spotify-podcasts"
    # a place that is none
    bigquery_location = "Brazil"
    # a table with its dataset
    tables = { podcasts = "d.t" }
    # a blank term
    search_term = "  "
    # a blank mention
    mention = " "
    # a market in small letters
    market = "br"
    # a page of nothing
    search_page_size = 0
    # no calls
    spotify_concurrent_calls = 0
    # a secret with its path
    credentials_secret = "projects/p/secrets/s"
    # everybody as publisher
    publishers = { all = "allUsers" }
    # an address that is none
    alert_email = "data-team"
    # a billing account that is none
    budget = { billing_account = "my-account", amount = 1 }
    # a repository by its address
    github_repository = "https://github.com/a/b"
    # a branch that is no full ref
    github_ref = "main"
    # a bucket with its scheme
    state_bucket = "gs://bucket"
    # an owner by name
    github_owner_id = "octocat"
    # a multi region
    secret_locations = ["us"]
    # a zone
    message_storage_regions = ["us-central1-a"]
    # no network
    vpc_access = {}
    # a channel by its number
    notification_channels = ["123"]
    # no time
    nothing_loaded_hours = 0
    # a page without encryption
    runbook_url = "http://example.com/runbook"
    # a schedule with a capital name
    schedules = { Daily = { cron = "0 6 * * *", table = "podcasts" } }
  }

  expect_failures = [
    var.project_id,
    var.region,
    var.name,
    var.image,
    var.max_instances,
    var.log_level,
    var.labels,
    var.dataset_id,
    var.bigquery_location,
    var.tables,
    var.search_term,
    var.mention,
    var.market,
    var.search_page_size,
    var.spotify_concurrent_calls,
    var.credentials_secret,
    var.publishers,
    var.alert_email,
    var.budget,
    var.github_repository,
    var.github_ref,
    var.state_bucket,
    var.github_owner_id,
    var.secret_locations,
    var.message_storage_regions,
    var.vpc_access,
    var.notification_channels,
    var.nothing_loaded_hours,
    var.runbook_url,
    var.schedules,
  ]
}

run "refused_02" {
  command = plan

  variables {
    # a projects name
    project_id = "My Project"
    # a multi region
    region = "US"
    # a name too long
    name = "a23456789-123456789-123"
    # an image with half a digest
    image = "example/spotify-bq@sha256:0123"
    # half an instance
    max_instances = 1.5
    # a label with a value too long
    labels = { team = format("%064d", 0) }
    # a dataset with its project
    dataset_id = "p.d"
    # a table name too long
    tables = { podcasts = format("%01025d", 0) }
    # a term too long
    search_term = format("%0101d", 0)
    # an empty phrase
    mention = "Grupo Boticário||Natura"
    # a region twice
    secret_locations = ["us-central1", "us-central1"]
    # a region twice
    message_storage_regions = ["us-central1", "us-central1"]
    # an egress that is none
    vpc_access = { network = "default", egress = "NONE" }
    # a channel twice
    notification_channels = ["projects/p/notificationChannels/1", "projects/p/notificationChannels/1"]
    # more than is compared
    nothing_loaded_hours = 697
    # a market by name
    market = "Brasil"
    # a page too large
    search_page_size = 51
    # half a call
    spotify_concurrent_calls = 1.5
    # everybody with an account as publisher
    publishers = { all = "allAuthenticatedUsers" }
    # a budget of nothing
    budget = { billing_account = "012345-6789AB-CDEF01", amount = 0 }
    # a repository without an owner
    github_repository = "spotify-bq"
    # a pull requests ref
    github_ref = "refs/pull/1/merge"
    # a schedule with four fields
    schedules = { x = { cron = "0 6 * *", table = "podcasts" } }
  }

  expect_failures = [
    var.project_id,
    var.region,
    var.name,
    var.image,
    var.max_instances,
    var.labels,
    var.dataset_id,
    var.tables,
    var.search_term,
    var.mention,
    var.secret_locations,
    var.message_storage_regions,
    var.vpc_access,
    var.notification_channels,
    var.nothing_loaded_hours,
    var.market,
    var.search_page_size,
    var.spotify_concurrent_calls,
    var.publishers,
    var.budget,
    var.github_repository,
    var.github_ref,
    var.schedules,
  ]
}

run "refused_03" {
  command = plan

  variables {
    # a short project id
    project_id = "abcde"
    # a name with capitals
    name = "Spotify"
    # too many instances
    max_instances = 101
    # a dataset name too long
    dataset_id = format("%01025d", 0)
    # two tables of one name
    tables = { podcasts = "t", episodes = "t" }
    # a term of signs only
    search_term = "+++"
    # twenty-one phrases
    mention = join("|", [for i in range(21) : "a${i}"])
    # half an hour
    nothing_loaded_hours = 1.5
    # half a page
    search_page_size = 2.5
    # a publisher without a kind
    publishers = { me = "me@example.com" }
    # a budget with cents
    budget = { billing_account = "012345-6789AB-CDEF01", amount = 1.5 }
    # a schedule in words
    schedules = { x = { cron = "every 24 hours", table = "podcasts" } }
  }

  expect_failures = [
    var.project_id,
    var.name,
    var.max_instances,
    var.dataset_id,
    var.tables,
    var.search_term,
    var.mention,
    var.nothing_loaded_hours,
    var.search_page_size,
    var.publishers,
    var.budget,
    var.schedules,
  ]
}

run "refused_04" {
  command = plan

  variables {
    # a term with a line break
    search_term = "data\nhackers"
    # a phrase too long
    mention = "ok|${format("%0101d", 0)}"
    # a name ending with a hyphen
    name = "spotify-"
    # a currency that is none
    budget = { billing_account = "012345-6789AB-CDEF01", amount = 1, currency = "R$" }
    # a schedule in a time zone that is none
    schedules = { x = { cron = "0 6 * * *", time_zone = "UTC-3 (Brasília)", table = "podcasts" } }
  }

  expect_failures = [
    var.search_term,
    var.mention,
    var.name,
    var.budget,
    var.schedules,
  ]
}

run "refused_05" {
  command = plan

  variables {
    # a name starting with goog
    name = "goog-bq"
    # a tag on no table of ours
    column_policy_tags = { shows = { name = "projects/p/locations/us/taxonomies/1/policyTags/2" } }
    # a phrase at the end that is empty
    mention = "Natura|"
    # a key with its version
    kms_key           = "projects/p/locations/southamerica-east1/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
    bigquery_location = "southamerica-east1"
    # a schedule for a table that is none
    schedules = { x = { cron = "0 6 * * *", table = "shows" } }
  }

  expect_failures = [
    var.column_policy_tags,
    var.mention,
    var.kms_key,
    var.name,
    var.schedules,
  ]
}

run "refused_06" {
  command = plan

  variables {
    # a name starting with gcp
    name = "gcp-bq"
    # a tag by its display name
    column_policy_tags = { podcasts = { name = "secret" } }
    # a phrase with a line break
    mention = "Grupo\nBoticário"
    # a schedule for nothing
    schedules = { x = { cron = "0 6 * * *" } }
  }

  expect_failures = [
    var.column_policy_tags,
    var.mention,
    var.name,
    var.schedules,
  ]
}

run "refused_07" {
  command = plan

  variables {
    # a name with google
    name = "my-google-bq"
    # a schedule with a blank term
    schedules = { x = { cron = "0 6 * * *", search_terms = [" "] } }
  }

  expect_failures = [
    var.name,
    var.schedules,
  ]
}

run "refused_08" {
  command = plan

  variables {
    # a schedule with a term too long
    schedules = { x = { cron = "0 6 * * *", search_terms = [format("%0101d", 0)] } }
  }

  expect_failures = [
    var.schedules,
  ]
}

run "refused_09" {
  command = plan

  variables {
    # a schedule with too many terms
    schedules = { x = { cron = "0 6 * * *", search_terms = [for i in range(301) : "x"] } }
  }

  expect_failures = [
    var.schedules,
  ]
}

run "refused_10" {
  command = plan

  variables {
    # a schedule with a shows address
    schedules = { x = { cron = "0 6 * * *", search_terms = ["x"], show_id = "https://open.spotify.com/show/1oMIHOXsrLFENAeM743g93" } }
  }

  expect_failures = [
    var.schedules,
  ]
}

run "refused_11" {
  command = plan

  variables {
    # a show without a term
    schedules = { x = { cron = "0 6 * * *", table = "episodes", show_id = "1oMIHOXsrLFENAeM743g93" } }
  }

  expect_failures = [
    var.schedules,
  ]
}

run "refused_12" {
  command = plan

  variables {
    # a show with two terms
    schedules = { x = { cron = "0 6 * * *", search_terms = ["x", "y"], show_id = "1oMIHOXsrLFENAeM743g93" } }
  }

  expect_failures = [
    var.schedules,
  ]
}

run "refused_13" {
  command = plan

  variables {
    # a show for podcasts
    schedules = { x = { cron = "0 6 * * *", table = "podcasts", search_terms = ["x"], show_id = "1oMIHOXsrLFENAeM743g93" } }
  }

  expect_failures = [
    var.schedules,
  ]
}

run "refused_14" {
  command = plan

  variables {
    # more than everything
    schedules = { x = { cron = "0 6 * * *", table = "episodes", max_missing_percent = 101 } }
  }

  expect_failures = [
    var.schedules,
  ]
}

run "refused_15" {
  command = plan

  variables {
    # half a percent
    schedules = { x = { cron = "0 6 * * *", table = "episodes", max_missing_percent = 0.5 } }
  }

  expect_failures = [
    var.schedules,
  ]
}

run "refused_16" {
  command = plan

  variables {
    # a schedule with a term of signs only
    schedules = { x = { cron = "0 6 * * *", search_terms = ["data hackers", "!?"] } }
  }

  expect_failures = [
    var.schedules,
  ]
}

run "refused_17" {
  command = plan

  variables {
    # a key in another region than the service
    kms_key           = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    bigquery_location = "southamerica-east1"
  }

  expect_failures = [
    var.kms_key,
  ]
}

run "refused_18" {
  command = plan

  variables {
    # a dataset in another place than its key
    kms_key = "projects/p/locations/southamerica-east1/keyRings/r/cryptoKeys/k"
  }

  expect_failures = [
    var.kms_key,
  ]
}

run "refused_19" {
  command = plan

  variables {
    # a replica in another region than its key
    kms_key           = "projects/p/locations/southamerica-east1/keyRings/r/cryptoKeys/k"
    bigquery_location = "southamerica-east1"
    secret_locations  = ["us-central1"]
  }

  expect_failures = [
    var.kms_key,
  ]
}

# Letters are those of any script.
run "terms_of_any_script_pass" {
  command = plan

  variables {
    search_term = "日本"
    schedules = {
      scripts = { cron = "0 6 * * *", search_terms = ["Мы", "ก", "٣", "c++", "É", join("", [for i in range(100) : "日"])] }
    }
  }

  assert {
    condition     = output.settings.set.SEARCH_TERM == "日本"
    error_message = "The term reaches the service as it is."
  }
}

# As the service counts: q with an accent is two code points, which Terraform's own length() counts as one.
run "a_term_is_measured_in_code_points" {
  command = plan

  variables {
    search_term = join("", [for i in range(51) : "q\u0301"])
  }

  expect_failures = [
    var.search_term,
  ]
}
