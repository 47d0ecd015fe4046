"""deploy/destroy.sh: it asks for confirmation, keeps the data by default, removes deletion protection first, and can be
repeated."""

from scripts import FIRST_RESOURCES, ScriptTest
from stand_in import DATA, DIGEST, IMAGE_NAME, SERVICE

IMAGE = f"{IMAGE_NAME}@{DIGEST}"


class Destroy(ScriptTest):
    def setUp(self):
        super().setUp()
        self.cloud(state={address: [IMAGE, True] for address in [*FIRST_RESOURCES, SERVICE, *DATA]})

    def destroy(self, *arguments, yes=True, **how):
        return self.run_script("destroy.sh", "--project", "p", *(["--yes"] if yes else []), *arguments, **how)

    def test_everything_except_the_data_is_deleted(self):
        run = self.destroy()
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_order(
            run.calls, "terraform init", "terraform plan", "terraform apply",
            f"terraform state rm {DATA[1]}", f"terraform state rm {DATA[0]}", "terraform plan -destroy", "terraform apply",
        )
        self.assertEqual(self.now("state"), {})
        self.assertIn(f"kept: {DATA[0]}", run.output)

    def test_the_data_is_deleted_with_the_option(self):
        run = self.destroy("--delete-data")
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_none(run.calls, "terraform state rm")
        lift = next(call for call in run.calls if call.startswith("terraform plan"))
        self.assertIn(f"-target={DATA[0]}", lift)
        self.assertIn("DELETED", run.output)

    def test_deletion_protection_is_removed_without_a_change_of_image(self):
        lift = next(call for call in self.destroy().calls if call.startswith("terraform plan"))
        for part in (f"-target={SERVICE}", f"-var=image={IMAGE}", "-var=deletion_protection=false"):
            self.assertIn(part, lift)
        self.assertNotIn("google_bigquery", lift)

    def test_a_tainted_service_is_untainted_first(self):
        self.cloud(tainted=True)
        run = self.destroy()
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_order(run.calls, f"terraform untaint {SERVICE}", "terraform plan -target", "terraform plan -destroy")
        self.assertEqual(self.now("state"), {})

    def test_the_next_run_completes_an_interrupted_one(self):
        for fail in ("apply", "state rm google_bigquery_dataset", "plan -destroy"):
            with self.subTest(fail):
                self.setUp()
                self.cloud(fail=f"terraform .*{fail}")
                self.assertNotEqual(self.destroy().returncode, 0)
                self.cloud(fail="")
                run = self.destroy()
                self.assertEqual(run.returncode, 0, run.output)
                self.assertEqual(self.now("state"), {})

    def test_resources_removed_from_the_state_are_not_created_again(self):
        self.cloud(state={SERVICE: [IMAGE, True]})
        plans = [call for call in self.destroy().calls if call.startswith("terraform plan")]
        for plan in plans:
            self.assertIn("-var=create_dataset=false", plan)
            self.assertIn("-var=create_tables=false", plan)

    def test_a_stack_without_a_service_is_deleted(self):
        self.cloud(state={address: [None, True] for address in FIRST_RESOURCES})
        run = self.destroy()
        self.assertEqual(run.returncode, 0, run.output)
        self.assertEqual(self.now("state"), {})

    def test_without_a_stack_nothing_is_done(self):
        self.cloud(state={})
        run = self.destroy(yes=False)
        self.assertEqual(run.returncode, 0, run.output)
        self.assertIn("nothing to remove", run.output)

    def test_without_a_terminal_yes_is_required(self):
        self.assert_stopped(self.destroy(yes=False), "your confirmation", "--yes")
        self.assertIn(SERVICE, self.now("state"))

    def test_only_the_project_id_confirms(self):
        for answer, gone in (("yes", False), ("p", True)):
            self.setUp()
            status, seen = self.run_in_terminal("destroy.sh", "--project", "p", typed=[("Type the project's id", answer)])
            self.assertEqual(status == 0, gone, seen)
            self.assertEqual(self.now("state") == {}, gone)

    def test_a_failed_step_says_what_to_do(self):
        for fail, step, advice in (
            ("gcloud auth print", "login and tools", "gcloud auth login"),
            ("terraform .* init", "terraform's state", "roles/storage.objectUser"),
            ("terraform .* state list", "terraform's state", "the bucket that deploy.sh used"),
            ("terraform .* plan .*-target", "lifting the deletion protection", "roles/run.admin"),
            ("terraform .* state rm", "removing the BigQuery data from Terraform's state", "Nothing has been destroyed yet"),
            ("terraform .* -destroy", "removing everything else", "Run this again for the rest"),
        ):
            with self.subTest(fail):
                self.setUp()
                self.cloud(fail=fail)
                run = self.destroy()
                self.assert_stopped(run, step, advice)
                self.assertIn(SERVICE, self.now("state"))
