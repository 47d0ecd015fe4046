"""deploy/deploy.sh: the order in a new project, a second run without changes, and a failure in each step."""

import json
import re
import subprocess

from scripts import CREDENTIALS, FIRST_RESOURCES, REPOSITORY, SECRET, ScriptTest
from stand_in import DATA, DIGEST, IMAGE_NAME, SERVICE

# Calls that change the cloud or the state.
CHANGES = (
    "gcloud services enable", "gcloud storage buckets create", "gcloud storage buckets update", "gcloud secrets versions add",
    "gcloud builds submit", "docker push", "terraform apply", "terraform import",
)


class DeployTest(ScriptTest):
    def deploy(self, *arguments, stdin=CREDENTIALS, **environment):
        return self.run_script("deploy.sh", "--project", "p", "--yes", *arguments, stdin=stdin, **environment)

    def deployed(self):
        run = self.deploy()
        self.assertEqual(run.returncode, 0, run.output)
        self.cloud(published=0, polls=0)


class Deploy(DeployTest):
    def test_in_a_new_project_resources_are_created_in_order(self):
        run = self.deploy()
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_order(
            run.calls,
            "gcloud auth print-access-token",
            "gcloud projects describe p",
            "gcloud services enable serviceusage.googleapis.com",
            "gcloud services enable cloudresourcemanager.googleapis.com",
            "gcloud beta services identity create --service=pubsub.googleapis.com",
            "gcloud beta services identity create --service=cloudscheduler.googleapis.com",
            "gcloud storage buckets create gs://p-spotify-bq-state --location=southamerica-east1 --uniform-bucket-level-access --public-access-prevention",
            "gcloud storage buckets update gs://p-spotify-bq-state --versioning",
            "terraform init -reconfigure -backend-config=bucket=p-spotify-bq-state -backend-config=prefix=spotify-bq",
            "terraform plan",
            "terraform apply",
            "gcloud secrets versions list spotify-credentials",
            "gcloud secrets versions add spotify-credentials --data-file=-",
            f"gcloud artifacts docker images list {IMAGE_NAME} --include-tags --filter=tags:",
            "gcloud builds submit",
            f"gcloud artifacts docker images list {IMAGE_NAME} --include-tags --filter=tags:",
            "terraform plan",
            "terraform apply",
            'gcloud pubsub topics publish projects/p/topics/spotify-bq --message={"table":"podcasts"}',
            'gcloud pubsub topics publish projects/p/topics/spotify-bq --message={"table":"episodes"}',
            'gcloud pubsub topics publish projects/p/topics/spotify-bq --message={"table":"mentions"}',
            "gcloud logging read",
        )
        self.assertEqual(self.now("secret"), CREDENTIALS)
        self.assertEqual(self.now("state")[SERVICE], [f"{IMAGE_NAME}@{DIGEST}", True])
        self.assertIn("episodes was replaced by 312 rows", run.output)

    def test_the_first_apply_creates_only_what_image_and_secret_need(self):
        run = self.deploy()
        first, second = [call for call in run.calls if call.startswith("terraform plan")]
        self.assertEqual(re.findall(r"-target=(\S+)", first), FIRST_RESOURCES)
        self.assertNotIn("image=", first)
        self.assertNotIn("-target", second)
        self.assertIn(f"-var=image={IMAGE_NAME}@{DIGEST}", second)

    def test_the_first_resources_are_in_the_module(self):
        text = "".join(file.read_text() for file in (REPOSITORY / "terraform").glob("*.tf"))
        for address in FIRST_RESOURCES + [SERVICE, "google_bigquery_dataset.this", "google_bigquery_table.this"]:
            kind, name = address.split(".")
            self.assertRegex(text, rf'resource "{kind}" "{name}"')

    def test_the_module_has_every_output_that_the_script_reads(self):
        outputs = set(re.findall(r'output "(\w+)"', (REPOSITORY / "terraform/outputs.tf").read_text()))
        asked = set(re.findall(r"tf output -(?:raw|json) (\w+)", (REPOSITORY / "deploy/deploy.sh").read_text()))
        self.assertTrue(asked)
        self.assertLessEqual(asked, outputs)

    def test_the_default_region_is_that_of_the_module(self):
        module = re.search(r'variable "region" \{.*?default\s+= "([^"]+)"', (REPOSITORY / "terraform/variables.tf").read_text(), re.S)
        self.assertIn(f"region=${{region:-{module[1]}}}", (REPOSITORY / "deploy/lib.sh").read_text())

    def test_a_second_run_changes_nothing(self):
        self.deployed()
        before = {name: self.now(name) for name in ("apis", "buckets", "versions", "images", "state")}
        run = self.deploy(stdin="")
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_none(run.calls, *CHANGES)
        self.assertEqual(before, {name: self.now(name) for name in before})

    def test_changed_code_only_creates_a_new_image(self):
        self.deployed()
        (self.repository / "src/main.rs").write_text("changed")
        run = self.deploy(stdin="")
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_order(run.calls, "gcloud builds submit")
        self.assert_none(run.calls, "gcloud secrets versions add", "gcloud services enable")

    def test_rebuild_builds_an_existing_image(self):
        self.deployed()
        self.assert_order(self.deploy("--rebuild", stdin="").calls, "gcloud builds submit")

    def test_the_image_has_its_commit_and_whether_files_were_changed(self):
        git = ["git", "-C", self.repository, "-c", "user.name=a", "-c", "user.email=a@b.c"]
        for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=x"]):
            subprocess.run([*git, *command], check=True)
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
        (self.repository / "notes.txt").write_text("is not in the image")
        self.assert_order(self.deploy("--local-docker").calls, f"docker build --platform=linux/amd64 --build-arg=COMMIT={head} ")
        (self.repository / "src/new.rs").write_text("is in the image")
        self.assert_order(self.deploy("--local-docker").calls, f"docker build --platform=linux/amd64 --build-arg=COMMIT={head}-changed ")

    def test_cloud_build_uses_a_separate_service_account_and_bucket(self):
        submit = next(call for call in self.deploy().calls if call.startswith("gcloud builds submit"))
        self.assertIn("--service-account=projects/p/serviceAccounts/spotify-bq-build@p.iam.gserviceaccount.com", submit)
        self.assertIn("--gcs-source-staging-dir=gs://p-spotify-bq-build/source", submit)
        self.assertIn("--ignore-file=.dockerignore", submit)

    def test_docker_builds_for_the_platform_of_cloud_run(self):
        run = self.deploy("--local-docker")
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_order(run.calls, "docker login", "docker build --platform=linux/amd64", f"docker push {IMAGE_NAME}:")
        self.assert_none(run.calls, "gcloud builds submit")

    def test_with_an_image_nothing_is_built(self):
        image = "registry.example/spotify-bq@" + DIGEST
        run = self.deploy("--image", image)
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_none(run.calls, "gcloud builds submit", "docker")
        self.assertEqual(self.now("state")[SERVICE][0], image)

    def test_an_image_without_a_digest_is_rejected_before_any_call(self):
        run = self.deploy("--image", "registry.example/spotify-bq:latest")
        self.assert_stopped(run, "reading the options", "IMAGE@sha256:")
        self.assertEqual(run.calls, [])

    def test_neither_the_secret_nor_the_token_is_an_argument(self):
        for arguments in ((), ("--local-docker",)):
            run = self.deploy(*arguments)
            for call in run.calls:
                self.assertNotIn(SECRET, call)
                self.assertNotIn("test-token", call)
            self.assertNotIn(SECRET, run.output)

    def test_terraform_uses_the_account_of_gcloud(self):
        for call in self.deploy().recorded:
            if call["tool"] == "terraform":
                self.assertEqual(call["environment"]["GOOGLE_OAUTH_ACCESS_TOKEN"], "test-token")
                self.assertEqual(call["environment"]["GOOGLE_BILLING_PROJECT"], "p")
        self.cloud(account="robot@p.iam.gserviceaccount.com")
        for call in self.deploy().recorded:
            self.assertNotIn("GOOGLE_BILLING_PROJECT", call["environment"])

    def test_every_gcloud_command_uses_the_given_project(self):
        for call in self.deploy().recorded:
            if call["tool"] == "gcloud":
                self.assertEqual(call["environment"]["CLOUDSDK_CORE_PROJECT"], "p")

    def test_region_and_name_can_be_in_a_var_file(self):
        for file, text in (
            ("stack.tfvars", '# a comment\nname   = "other"\nregion = "us-central1" # cheaper\nmax_instances = 1\n'),
            ("stack.tfvars.json", json.dumps({"name": "other", "region": "us-central1"})),
        ):
            self.setUp()
            path = self.home / file
            path.write_text(text)
            run = self.deploy("--var-file", str(path))
            self.assertEqual(run.returncode, 0, run.output)
            self.assert_order(run.calls, "gcloud storage buckets create gs://p-spotify-bq-state --location=us-central1", "terraform init -reconfigure -backend-config=bucket=p-spotify-bq-state -backend-config=prefix=other")
            plan = next(call for call in run.calls if call.startswith("terraform plan"))
            self.assertIn(f"-var-file={path} -var=project_id=p", plan)
            self.assertNotIn("-var=region", plan)

    def test_a_var_file_must_not_have_another_project(self):
        path = self.repository / "terraform/terraform.tfvars"
        path.write_text('project_id = "p"\n')
        run = self.run_script("deploy.sh", "--yes", stdin=CREDENTIALS)
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_order(run.calls, "gcloud projects describe p")
        path.write_text('project_id = "q"\n')
        self.assert_stopped(self.deploy(), "login and tools", "Name the .tfvars file of p")

    def test_help_lists_every_option(self):
        for script in ("deploy.sh", "destroy.sh", "set-credentials.sh"):
            options = re.findall(r"^    (--[a-z-]+)\)", (REPOSITORY / "deploy" / script).read_text(), re.M)
            self.assertTrue(options)
            run = self.run_script(script, "--help")
            self.assertEqual((run.returncode, run.calls), (0, []))
            for option in options:
                self.assertIn(option, run.stdout)

    def test_the_region_option_overrides_the_var_file(self):
        path = self.home / "stack.tfvars"
        path.write_text('region = "us-central1"\n')
        run = self.deploy("--var-file", str(path), "--region", "europe-west1")
        plan = next(call for call in run.calls if call.startswith("terraform plan"))
        self.assertLess(plan.index("-var-file="), plan.index("-var=region=europe-west1"))

    def test_an_incomplete_bucket_is_completed(self):
        self.cloud(buckets={"p-spotify-bq-state": "False True enforced"})
        run = self.deploy()
        self.assert_none(run.calls, "gcloud storage buckets create")
        self.assert_order(run.calls, "gcloud storage buckets update gs://p-spotify-bq-state --versioning")

    def test_each_step_retries_calls_to_an_api_that_was_just_enabled(self):
        slow = dict.fromkeys((
            "gcloud projects describe", "gcloud services list", "gcloud services enable cloudres", "gcloud beta services identity create --service=pubsub",
            "gcloud beta services identity create --service=cloudsch", "gcloud storage buckets list", "gcloud storage buckets create",
            "gcloud storage buckets update", "terraform .* init", "terraform .* plan .*-target", "terraform .* apply",
            "gcloud secrets versions list", "gcloud secrets describe", "gcloud artifacts docker images list", "gcloud builds submit",
            "terraform .* plan .*image=", "gcloud run services describe", "gcloud pubsub topics publish", "gcloud logging read",
        ), 2)
        self.cloud(slow=slow)
        run = self.deploy()
        self.assertEqual(run.returncode, 0, run.output)
        # The enabled APIs are listed once. If that fails, all are enabled.
        self.assertEqual(self.now("slow"), dict.fromkeys(slow, 0) | {"gcloud services list": 1})
        self.assertGreaterEqual(run.output.count("is not in effect yet. Retrying for up to five minutes."), len(slow) - 2)

    def test_retries_end_after_five_minutes(self):
        self.cloud(slow={"terraform .* apply": 100})
        run = self.deploy()
        self.assert_stopped(run, "registry, build account and secret", "some minutes")
        self.assertEqual(sum(call.startswith("terraform apply") for call in run.calls), 15)

    def test_other_errors_are_not_retried(self):
        self.cloud(fail="terraform .* apply")
        run = self.deploy()
        self.assertEqual(sum(call.startswith("terraform apply") for call in run.calls), 1)
        self.assert_stopped(run, "registry, build account and secret", "what was refused and to whom")

    def test_a_failed_step_says_what_to_do_and_ends_the_run(self):
        for fail, step, advice, not_begun in (
            ("gcloud auth print", "login and tools", "gcloud auth login", "gcloud projects"),
            ("gcloud projects describe", "login and tools", "gcloud projects describe PROJECT", "gcloud services"),
            ("gcloud services enable", "APIs", "roles/serviceusage.serviceUsageAdmin", "gcloud beta"),
            ("gcloud beta services", "APIs", "roles/serviceusage.serviceUsageAdmin", "gcloud storage"),
            ("gcloud storage buckets create", "bucket for Terraform's state", "--state-bucket NAME", "terraform"),
            ("gcloud storage buckets update", "bucket for Terraform's state", "roles/storage.admin", "terraform"),
            ("terraform .* init", "terraform init", "roles/storage.objectUser", "terraform plan"),
            ("terraform .* plan .*-target", "registry, build account and secret", "force-unlock", "terraform apply"),
            ("gcloud secrets versions list", "the Spotify app's credentials", "deploy/set-credentials.sh --project p", "gcloud artifacts"),
            ("gcloud secrets versions add", "the Spotify app's credentials", "deploy/set-credentials.sh --project p", "gcloud artifacts"),
            ("gcloud artifacts docker images list", "the image", "https://console.cloud.google.com/cloud-build/builds?project=p", "gcloud builds"),
            ("gcloud builds submit", "the image", "https://console.cloud.google.com/cloud-build/builds?project=p", "gcloud pubsub"),
            ("terraform .* plan .*image=", "everything else", "force-unlock", "gcloud pubsub"),
            ("terraform .* show -json$", "everything else", "names what was refused", "terraform plan -no-color"),
            ("gcloud run services describe", "the rollout", "roles/run.viewer", "gcloud pubsub"),
            ("gcloud pubsub topics publish", "loading the tables", "gcloud pubsub topics publish spotify-bq --project=p", "gcloud logging"),
            ("gcloud logging read", "loading the tables", "The stack is in place", "terraform output -json"),
        ):
            with self.subTest(fail):
                self.setUp()
                self.cloud(fail=fail)
                run = self.deploy()
                self.assert_stopped(run, step, advice)
                self.assert_none(run.calls, not_begun)
                self.assertIn("PERMISSION_DENIED", run.output)

    def test_after_a_failure_the_same_command_continues(self):
        for fail in ("gcloud storage buckets update", "terraform .* apply", "gcloud secrets versions add", "gcloud builds submit"):
            with self.subTest(fail):
                self.setUp()
                self.cloud(fail=fail)
                self.assertNotEqual(self.deploy().returncode, 0)
                self.cloud(fail="")
                self.deployed()

    def test_a_missing_tool_is_reported(self):
        for tool, arguments in (("gcloud", ()), ("terraform", ()), ("docker", ("--local-docker",))):
            with self.subTest(tool):
                self.setUp()
                (self.bin / tool).unlink()
                self.assert_stopped(self.deploy(*arguments), "", f"{tool} is not installed")

    def test_a_project_without_billing_is_reported(self):
        self.cloud(billing=False)
        self.assert_stopped(self.deploy(), "login and tools", "https://console.cloud.google.com/billing/linkedaccount?project=p")

    def test_without_a_project_the_error_names_the_option(self):
        run = self.run_script("deploy.sh", "--yes")
        self.assert_stopped(run, "login and tools", "--project ID")

    def test_without_credentials_and_terminal_the_error_says_how_to_pass_them(self):
        self.assert_stopped(self.deploy(stdin=""), "the Spotify app's credentials", "deploy/set-credentials.sh --project p")

    def test_without_a_terminal_and_yes_nothing_is_changed(self):
        run = self.run_script("deploy.sh", "--project", "p")
        self.assert_stopped(run, "registry, build account and secret", "--yes")
        self.assertEqual(self.now("state"), {})

    def test_in_a_terminal_the_plan_is_shown_and_only_yes_applies_it(self):
        self.cloud(versions=[1])
        status, seen = self.run_in_terminal(
            "deploy.sh", "--project", "p", typed=[("Apply this plan?", "show"), ("the whole plan, as terraform", "y")]
        )
        self.assertNotEqual(status, 0)
        self.assertIn("You did not confirm", seen)
        self.assertEqual(self.now("state"), {})

    def test_an_existing_dataset_is_adopted_only_with_the_option(self):
        self.cloud(datasets=["spotify_podcasts", "spotify_podcasts.tb_datahackers_limitada"])
        run = self.deploy()
        self.assert_stopped(run, "everything else", "--adopt")
        self.assertIn("create_dataset = false", run.output)
        self.assertNotIn(SERVICE, self.now("state"))
        run = self.deploy("--adopt")
        self.assertEqual(run.returncode, 0, run.output)
        imports = [call.split()[-2:] for call in run.calls if call.startswith("terraform import")]
        self.assertEqual(imports, [
            [DATA[0], "projects/p/datasets/spotify_podcasts"],
            [DATA[1], "projects/p/datasets/spotify_podcasts/tables/tb_datahackers_limitada"],
        ])
        self.assertIn(SERVICE, self.now("state"))

    def test_it_waits_for_the_final_outcome_of_the_messages(self):
        self.cloud(log=[
            [],
            ["1|retry|wait|no Spotify token"],
            ["3|loaded||a", "2|loaded||b", "1|loaded||c", "1|retry|wait|no Spotify token"],
        ])
        run = self.deploy(MESSAGE_TIMEOUT_SECONDS="60")
        self.assertEqual(run.returncode, 0, run.output)
        self.assertEqual(self.now("polls"), 3)

    def test_a_dead_lettered_message_fails_the_run_with_its_reason(self):
        self.cloud(log=[["1|loaded||podcasts was replaced by 50 rows", "2|dead_lettered|check the spelling|Spotify finds a | b", "3|loaded||c"]])
        run = self.deploy()
        self.assert_stopped(run, "loading the tables", "dead-letter")
        self.assertIn("Spotify finds a | b", run.output)
        self.assertIn("What to do: check the spelling", run.output)
        self.assertIn("podcasts was replaced by 50 rows", run.output)

    def test_a_message_without_an_outcome_times_out_with_its_last_log_line(self):
        self.cloud(log=[["2|retry|no action|Spotify asks for a pause", "3|loaded||c"]])
        run = self.deploy(MESSAGE_TIMEOUT_SECONDS="-1")
        self.assert_stopped(run, "loading the tables", "15 hours")
        self.assertIn("Spotify asks for a pause", run.output)
        self.assertIn("message 1: no line: the message did not reach the service", run.output)

    def test_the_messages_can_be_skipped(self):
        self.assert_none(self.deploy("--no-messages").calls, "gcloud pubsub", "gcloud logging")


class Rollout(DeployTest):
    """The rollout on Cloud Run after Terraform succeeded."""

    FAILED = ["s-00002-abc", "s-00001-abc", "False", "The container failed to start."]

    def test_a_revision_that_is_not_ready_fails_the_run_with_its_message(self):
        self.deployed()
        self.cloud(rollout=self.FAILED)
        for arguments in ((), ("--only-image", "--local-docker")):
            run = self.deploy(*arguments, stdin="")
            self.assert_stopped(run, "the rollout", "Revision s-00002-abc is not ready, so s-00001-abc still serves: The container failed to start.")
            self.assertIn("gcloud run services update spotify-bq --image=", run.output)
            self.assertIn("Nothing to change.", run.output)
            self.assert_none(run.calls, "gcloud pubsub", "gcloud run services update")

    def test_a_first_revision_that_is_not_ready_has_no_previous_revision(self):
        self.cloud(rollout=["s-00001-abc", "", "False", ""])
        run = self.deploy()
        self.assert_stopped(run, "the rollout", "Revision s-00001-abc is not ready: Cloud Run gives no reason.")

    def test_a_service_without_traffic_fails(self):
        self.cloud(rollout=["s-00001-abc", "s-00001-abc", "False", "No route"])
        self.assert_stopped(self.deploy(), "the rollout", "No route")

    def test_it_waits_for_the_rollout(self):
        self.cloud(rollout=["s-00002-abc", "s-00001-abc", "Unknown", ""], rollout_later=["s-00002-abc", "s-00002-abc", "True", ""])
        run = self.deploy()
        self.assertEqual(run.returncode, 0, run.output)
        self.assertIn("still rolling out s-00002-abc", run.output)

    def test_a_tainted_service_is_untainted_and_gets_a_new_revision_before_the_plan(self):
        self.deployed()
        self.cloud(tainted=True, rollout=self.FAILED, rollout_after_update=["s-00003-abc", "s-00003-abc", "True", ""])
        run = self.deploy(stdin="")
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_order(
            run.calls, "terraform untaint google_cloud_run_v2_service.this",
            f"gcloud run services update spotify-bq --region=southamerica-east1 --image={IMAGE_NAME}@{DIGEST}", "terraform plan", "gcloud run services describe",
        )

    def test_a_failed_repair_is_retried_once(self):
        self.deployed()
        self.cloud(tainted=True, rollout=self.FAILED, fail="gcloud run services update")
        run = self.deploy(stdin="")
        self.assert_stopped(run, "the rollout", "The container failed to start.")
        self.assertEqual(sum(call.startswith("gcloud run services update") for call in run.calls), 2)


class Released(DeployTest):
    """--image with an image from GHCR."""

    IMAGE = "ghcr.io/someone/spotify-bq@" + DIGEST

    def test_without_the_github_cli_the_command_is_shown(self):
        for cloud in ({}, {"gh_login": False}):
            self.cloud(published=0, polls=0, **cloud)
            run = self.deploy("--image", self.IMAGE)
            self.assertEqual(run.returncode, 0, run.output)
            self.assertIn(f"gh attestation verify oci://{self.IMAGE} --repo someone/spotify-bq", run.output)
            self.assertEqual(self.now("state")[SERVICE][0], self.IMAGE)
            if not (self.bin / "gh").exists():
                (self.bin / "gh").symlink_to(self.bin / "stand-in")

    def test_the_attestation_is_verified_for_the_repository(self):
        (self.bin / "gh").symlink_to(self.bin / "stand-in")
        self.cloud(gh_login=True)
        (self.repository / "Cargo.toml").write_text('repository = "https://github.com/home/spotify-bq"\n')
        run = self.deploy("--image", self.IMAGE)
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_order(run.calls, f"gh attestation verify oci://{self.IMAGE} --repo home/spotify-bq", "gcloud services list")

    def test_an_image_without_a_valid_attestation_is_not_deployed(self):
        (self.bin / "gh").symlink_to(self.bin / "stand-in")
        self.cloud(gh_login=True, fail="^gh attestation")
        run = self.deploy("--image", self.IMAGE)
        self.assert_stopped(run, "verifying the image", "no valid attestation")
        self.assert_none(run.calls, *CHANGES)


class OnlyImage(DeployTest):
    """--only-image, which the GitHub workflow uses."""

    def only_image(self, *arguments):
        return self.deploy("--only-image", "--local-docker", *arguments, stdin="")

    def test_only_the_service_is_changed(self):
        self.deployed()
        self.cloud(images=[])
        state = self.now("state")
        state[SERVICE] = [f"{IMAGE_NAME}@sha256:" + "2" * 64, True]
        self.cloud(state=state)
        run = self.only_image()
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_order(run.calls, "terraform init", "docker push", "terraform plan", "terraform show", "terraform apply")
        self.assert_none(run.calls, "gcloud services", "gcloud storage", "gcloud secrets", "gcloud pubsub", "gcloud beta", "gcloud projects")
        self.assertIn("-refresh=false", next(call for call in run.calls if call.startswith("terraform plan")))
        self.assertEqual(self.now("state")[SERVICE][0], f"{IMAGE_NAME}@{DIGEST}")

    def test_a_plan_with_other_changes_is_not_applied(self):
        self.deployed()
        self.cloud(drift=["google_pubsub_topic.trigger"])
        run = self.only_image()
        self.assert_stopped(run, "everything else", "Run deploy/deploy.sh")
        self.assertIn("google_pubsub_topic.trigger", run.output)
        self.assert_none(run.calls, "terraform apply")

