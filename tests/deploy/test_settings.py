"""--search-term and --mention, values in .tfvars files, and deploy/tf."""

import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from scripts import CREDENTIALS, REPOSITORY, ScriptTest
from stand_in import DIGEST, IMAGE_NAME


class SettingsTest(ScriptTest):
    def setUp(self):
        super().setUp()
        self.tfvars = self.repository / "terraform/terraform.tfvars"

    def deploy(self, *arguments, **how):
        return self.run_script("deploy.sh", "--project", "p", "--yes", "--no-messages", *arguments, stdin=CREDENTIALS, **how)


class FirstDeployment(SettingsTest):
    def test_term_and_mention_are_saved_for_later_runs(self):
        run = self.deploy("--search-term", "café da manhã", "--mention", 'diz "oi" | ${x} %{y} \\z')
        self.assertEqual(run.returncode, 0, run.output)
        self.assertEqual(self.tfvars.read_text(), 'search_term = "café da manhã"\nmention = "diz \\"oi\\" | $${x} %%{y} \\\\z"\n')
        written = self.tfvars.read_text()
        for arguments in ((), ("--search-term", "Café  da manhã", "--mention", 'diz "oi" | ${x} %{y} \\z')):
            run = self.deploy(*arguments)
            self.assertEqual(run.returncode, 0, run.output)
            self.assertEqual(self.tfvars.read_text(), written)

    def test_the_rest_of_the_file_is_unchanged(self):
        self.tfvars.write_text("# own\nlabels = { search_term = \"nested\" }")
        self.assertEqual(self.deploy("--search-term", "mamilos").returncode, 0)
        self.assertEqual(self.tfvars.read_text(), '# own\nlabels = { search_term = "nested" }\nsearch_term = "mamilos"\n')

    def test_a_different_value_in_a_file_stops_the_run_with_its_line(self):
        other = self.home / "other.tfvars"
        for file, text, line, arguments in (
            (self.tfvars, '# own\n\nsearch_term = "data hackers"\n', 'line 3, says search_term = "data hackers"', ()),
            (other, 'mention = "x"\n/* search_term = "mamilos" */\nsearch_term   = "c++" # own\n', 'line 3, says search_term   = "c++" # own', ("--var-file", str(other))),
            (self.tfvars, "search_term = <<EOT\nmamilos\nEOT\n", "line 1, says search_term = <<EOT", ()),
            (self.repository / "terraform/terraform.tfvars.json", '{\n"search_term": "c++"}', 'line 2, says "search_term": "c++"}', ()),
            (self.repository / "terraform/x.auto.tfvars", 'search_term="c++"', 'line 1, says search_term="c++"', ()),
        ):
            with self.subTest(text):
                self.setUp()
                file = Path(str(file).replace(file.parts[2], self.home.parts[2]))
                file.write_text(text)
                run = self.deploy("--search-term", "mamilos", *(str(file) if a.startswith("/") else a for a in arguments))
                self.assert_stopped(run, "your settings", f"{file}, {line}, and you said --search-term \"mamilos\".")
                self.assertIn("Change that line, or leave out --search-term.", run.output)
                self.assertEqual(file.read_text(), text)
                self.assert_none(run.calls, "terraform plan", "terraform apply")

    def test_a_stack_of_another_term_is_not_changed(self):
        self.cloud(search_term="data hackers")
        run = self.deploy("--search-term", "mamilos")
        self.assert_stopped(run, "your settings", "docs/deploy.md, Load more terms.")
        self.assertFalse(self.tfvars.exists())

    def test_an_invalid_term_is_rejected_before_any_call(self):
        for option, value in (
            ("--search-term", "x" * 101), ("--search-term", "!?"), ("--search-term", "a\nb"), ("--search-term", "  "),
            ("--mention", "a||b"), ("--mention", "|".join("abcdefghijklmnopqrstu")), ("--mention", "x" * 101),
        ):
            run = self.deploy(option, value)
            self.assert_stopped(run, "reading the options", "1 to 100 characters")
            self.assertEqual(run.calls, [])
        self.assertEqual(self.deploy("--mention", "a|" + "x" * 100).returncode, 0)

    def test_the_workflow_sets_nothing(self):
        self.assert_stopped(self.deploy("--only-image", "--search-term", "x"), "reading the options", "Leave out --search-term")


class VarFiles(SettingsTest):
    def test_only_top_level_values_are_read_and_the_last_file_wins(self):
        self.tfvars.write_text('name = "first" // a comment\nregion = "us-east1"\n')
        (self.repository / "terraform/z.auto.tfvars").write_text('name = "second"\nlabels = {\n  name = "nested"\n}\n')
        run = self.deploy()
        self.assert_order(run.calls, "gcloud storage buckets create gs://p-spotify-bq-state --location=us-east1", "terraform init -reconfigure -backend-config=bucket=p-spotify-bq-state -backend-config=prefix=second")

    def test_a_file_must_not_have_another_bucket_for_the_state(self):
        self.tfvars.write_text('state_bucket = "own-state"\n')
        run = self.deploy()
        self.assert_order(run.calls, "gcloud storage buckets create gs://own-state", "terraform init -reconfigure -backend-config=bucket=own-state", "terraform plan")
        self.assertIn("-var=state_bucket=own-state", next(call for call in run.calls if call.startswith("terraform plan")))
        self.assertEqual(self.deploy("--state-bucket", "own-state").returncode, 0)
        self.assert_stopped(self.deploy("--state-bucket", "other-state"), "login and tools", 'line 1, says state_bucket = "own-state"')

    def test_the_workflow_finds_the_bucket(self):
        self.tfvars.write_text('state_bucket = "own-state"\n')
        self.assertEqual(self.deploy().returncode, 0)
        self.assert_order(self.deploy("--only-image").calls, "terraform init -reconfigure -backend-config=bucket=own-state")


class Wrapper(SettingsTest):
    def tf(self, *arguments):
        return self.run_script("tf", "--project", "p", *arguments)

    def test_it_has_the_login_state_and_variables_of_deploy(self):
        self.assertEqual(self.deploy().returncode, 0)
        run = self.tf("plan", "-destroy")
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_order(
            run.calls, "terraform init -reconfigure -backend-config=bucket=p-spotify-bq-state -backend-config=prefix=spotify-bq",
            f"terraform plan -var=project_id=p -var=state_bucket=p-spotify-bq-state -var=image={IMAGE_NAME}@{DIGEST} -destroy",
        )
        self.assertEqual(run.recorded[-1]["environment"]["GOOGLE_OAUTH_ACCESS_TOKEN"], "test-token")

    def test_other_commands_are_passed_to_terraform(self):
        run = self.tf("output", "-raw", "secret_id")
        self.assertEqual(run.stdout, "spotify-credentials")
        self.assertEqual(run.calls[-1], "terraform output -raw secret_id")

    def test_its_exit_code_is_that_of_terraform(self):
        self.cloud(fail="terraform .* output")
        run = self.tf("output")
        self.assertEqual(run.returncode, 1)
        self.assertNotIn("Stopped at", run.output)

    def test_a_missing_command_or_an_unknown_option_is_an_error(self):
        self.assert_stopped(self.tf(), "reading the options", "--help")
        self.assert_stopped(self.tf("--nonsense"), "reading the options", "Unknown option --nonsense")


class Documents(unittest.TestCase):
    """The documentation matches the scripts."""

    def test_the_documented_first_stage_is_that_of_the_script(self):
        from scripts import FIRST_RESOURCES

        page = (REPOSITORY / "docs/deploy.md").read_text()
        self.assertEqual(sorted(FIRST_RESOURCES), sorted(re.findall(r"-target=(\S+?_\S+\.\S+)", page.partition("## Run Terraform by hand")[2].partition("```\n\nBuild the image")[0])))

    def test_the_first_stage_of_the_module_is_that_of_the_script(self):
        from scripts import FIRST_RESOURCES

        stages = REPOSITORY / "terraform/stages.tf"
        if stages.exists():
            grants = [address for address in FIRST_RESOURCES if "_iam_member" in address]
            self.assertEqual(sorted(grants), sorted(re.findall(r"^ +(google_\S+?),?$", stages.read_text(), re.M)))

    def test_no_hint_needs_a_separate_login_of_terraform(self):
        for file in (*(REPOSITORY / "deploy").glob("*.sh"), *(REPOSITORY / "docs").glob("*.md"), *REPOSITORY.glob("*.md"), *(REPOSITORY / ".github/workflows").glob("deploy.yml")):
            self.assertNotIn("terraform -chdir=terraform", file.read_text(), file)

    def test_settings_are_ignored_by_git_and_have_an_example(self):
        def ignored(path):
            return subprocess.run(["git", "-C", REPOSITORY, "check-ignore", "--quiet", "--no-index", path]).returncode == 0

        if not (REPOSITORY / ".git").exists():
            self.skipTest("no Git repository")
        self.assertTrue(ignored("terraform/terraform.tfvars"))
        self.assertFalse(ignored("terraform/terraform.tfvars.example"))
        variables = set(re.findall(r'variable "(\w+)"', "".join(f.read_text() for f in (REPOSITORY / "terraform").glob("variables*.tf"))))
        named = set(re.findall(r"^# (\w+) += ", (REPOSITORY / "terraform/terraform.tfvars.example").read_text(), re.M))
        self.assertTrue(named)
        self.assertLessEqual(named, variables)


class Home(unittest.TestCase):
    """The repository's OWNER/NAME is in one place, from which all links are made."""

    LINK = r"(?i)(github\.com|colab\.research\.google\.com/github|raw\.githubusercontent\.com|ghcr\.io)(/|%2F)([\w.-]+)\2spotify-bq(?![\w-])"

    def links(self, folder):
        for file in [*folder.glob("*.md"), *folder.glob("docs/**/*.md"), *folder.glob("deploy/*"), *folder.glob("examples/**/*"), folder / "Cargo.toml"]:
            if file.is_file():
                for host, _, owner in re.findall(self.LINK, file.read_text()):
                    yield host, owner, file

    def test_every_link_uses_the_repository_in_cargo_toml(self):
        home = re.search(r'^repository = "https://github.com/(.+)/spotify-bq"$', (REPOSITORY / "Cargo.toml").read_text(), re.M)[1]
        links = list(self.links(REPOSITORY))
        self.assertGreaterEqual(len(links), 4)
        for host, owner, file in links:
            self.assertEqual(owner, home.lower() if host == "ghcr.io" else home, file)

    def test_set_home_changes_all_links(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            subprocess.run(["git", "init", "--quiet", folder], check=True)
            for name in ("Cargo.toml", "README.md", "README.pt-BR.md", "docs/deploy.md", ".ci/set-home"):
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes((REPOSITORY / name).read_bytes())
            (folder / ".ci/set-home").chmod(0o755)
            subprocess.run(["git", "-C", folder, "add", "."], check=True)
            subprocess.run([folder / ".ci/set-home", "Acme-Data/spotify-bq"], check=True, capture_output=True)
            owners = {(host == "ghcr.io", owner) for host, owner, _ in self.links(folder)}
            self.assertEqual(owners, {(False, "Acme-Data"), (True, "acme-data")})


if __name__ == "__main__":
    unittest.main()
