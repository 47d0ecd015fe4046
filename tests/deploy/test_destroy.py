"""deploy/destroy.sh: asks, keeps the data unless told, lifts the protection first, and can be run again."""

from scripts import FIRST_RESOURCES, ScriptTest
from stand_in import DATA, DIGEST, IMAGE_NAME, SERVICE

IMAGE = f"{IMAGE_NAME}@{DIGEST}"


class Destroy(ScriptTest):
    def setUp(self):
        super().setUp()
        self.world(state={address: [IMAGE, True] for address in [*FIRST_RESOURCES, SERVICE, *DATA]})

    def destroy(self, *arguments, yes=True, **how):
        return self.run_script("destroy.sh", "--project", "p", *(["--yes"] if yes else []), *arguments, **how)

    def test_the_data_stays_and_all_else_goes(self):
        run = self.destroy()
        self.assertEqual(run.returncode, 0, run.said)
        self.assert_order(
            run.calls, "terraform init", "terraform plan", "terraform apply",
            f"terraform state rm {DATA[1]}", f"terraform state rm {DATA[0]}", "terraform plan -destroy", "terraform apply",
        )
        self.assertEqual(self.now("state"), {})
        self.assertIn(f"kept: {DATA[0]}", run.said)

    def test_the_data_goes_when_told(self):
        run = self.destroy("--delete-data")
        self.assertEqual(run.returncode, 0, run.said)
        self.assert_none(run.calls, "terraform state rm")
        lift = next(call for call in run.calls if call.startswith("terraform plan"))
        self.assertIn(f"-target={DATA[0]}", lift)
        self.assertIn("DELETED", run.said)

    def test_protection_is_lifted_from_the_image_that_runs(self):
        lift = next(call for call in self.destroy().calls if call.startswith("terraform plan"))
        for part in (f"-target={SERVICE}", f"-var=image={IMAGE}", "-var=deletion_protection=false"):
            self.assertIn(part, lift)
        self.assertNotIn("google_bigquery", lift)

    def test_a_tainted_service_is_untainted_first(self):
        self.world(tainted=True)
        run = self.destroy()
        self.assertEqual(run.returncode, 0, run.said)
        self.assert_order(run.calls, f"terraform untaint {SERVICE}", "terraform plan -target", "terraform plan -destroy")
        self.assertEqual(self.now("state"), {})

    def test_an_interrupted_run_is_finished_by_the_next(self):
        for fail in ("apply", "state rm google_bigquery_dataset", "plan -destroy"):
            with self.subTest(fail):
                self.setUp()
                self.world(fail=f"terraform .*{fail}")
                self.assertNotEqual(self.destroy().returncode, 0)
                self.world(fail="")
                run = self.destroy()
                self.assertEqual(run.returncode, 0, run.said)
                self.assertEqual(self.now("state"), {})

    def test_what_was_let_go_of_is_not_made_again(self):
        self.world(state={SERVICE: [IMAGE, True]})
        plans = [call for call in self.destroy().calls if call.startswith("terraform plan")]
        for plan in plans:
            self.assertIn("-var=create_dataset=false", plan)
            self.assertIn("-var=create_tables=false", plan)

    def test_a_stack_without_a_service_goes_too(self):
        self.world(state={address: [None, True] for address in FIRST_RESOURCES})
        run = self.destroy()
        self.assertEqual(run.returncode, 0, run.said)
        self.assertEqual(self.now("state"), {})

    def test_nothing_there_is_nothing_to_do(self):
        self.world(state={})
        run = self.destroy(yes=False)
        self.assertEqual(run.returncode, 0, run.said)
        self.assertIn("nothing to remove", run.said)

    def test_without_a_terminal_it_needs_to_be_told_yes(self):
        self.assert_stopped(self.destroy(yes=False), "your confirmation", "--yes")
        self.assertIn(SERVICE, self.now("state"))

    def test_only_the_projects_id_is_taken_as_yes(self):
        for answer, gone in (("yes", False), ("p", True)):
            self.setUp()
            status, seen = self.run_in_terminal("destroy.sh", "--project", "p", typed=[("Type the project's id", answer)])
            self.assertEqual(status == 0, gone, seen)
            self.assertEqual(self.now("state") == {}, gone)

    def test_each_step_that_fails_says_what_to_do(self):
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
                self.world(fail=fail)
                run = self.destroy()
                self.assert_stopped(run, step, advice)
                self.assertIn(SERVICE, self.now("state"))
