"""deploy/set-credentials.sh: it adds the secret without an argument or a file, and disables the previous versions."""

import json

from scripts import CREDENTIALS, SECRET, ScriptTest


class SetCredentials(ScriptTest):
    def setUp(self):
        super().setUp()
        self.cloud(made=["secret"])

    def put(self, given=CREDENTIALS, *arguments):
        return self.run_script("set-credentials.sh", "--project", "p", *arguments, stdin=given)

    def test_the_first_version_is_added(self):
        run = self.put()
        self.assertEqual(run.returncode, 0, run.output)
        self.assertEqual(self.now("secret"), CREDENTIALS)
        self.assertEqual(self.now("versions"), [1])

    def test_after_a_rotation_only_the_new_version_is_enabled(self):
        self.cloud(versions=[3, 4], next_version=5)
        run = self.put()
        self.assertEqual(run.returncode, 0, run.output)
        self.assertEqual(self.now("versions"), [5])
        self.assert_order(run.calls, "gcloud secrets versions add", "gcloud secrets versions disable")

    def test_if_the_new_version_is_not_added_the_old_ones_stay_enabled(self):
        self.cloud(versions=[3], next_version=4, fail="versions add")
        run = self.put()
        self.assert_stopped(run, "a new version", "roles/secretmanager.secretVersionManager")
        self.assertEqual(self.now("versions"), [3])

    def test_if_an_old_version_cannot_be_disabled_the_command_is_printed(self):
        for fail in ("versions list", "versions disable"):
            self.cloud(versions=[3], next_version=4, fail=fail)
            self.assert_stopped(self.put(), "disabling the previous versions", "gcloud secrets versions disable VERSION")

    def test_the_given_secret_and_project_are_used(self):
        run = self.put(CREDENTIALS, "--secret", "other")
        self.assert_order(run.calls, "gcloud secrets describe other", "gcloud secrets versions add other --data-file=-")
        self.assertEqual({call["environment"]["CLOUDSDK_CORE_PROJECT"] for call in run.recorded if call["tool"] == "curl"}, {"p"})

    def test_white_space_and_key_order_are_ignored(self):
        run = self.put(f'\n {{ "client_secret" : "{SECRET}",\n "client_id": "c11en7" }}\n')
        self.assertEqual(run.returncode, 0, run.output)
        self.assertEqual(json.loads(self.now("secret")), json.loads(CREDENTIALS))

    def test_invalid_credentials_are_rejected_without_being_shown(self):
        for given, said in (
            ("", "Neither"),
            (SECRET, "Neither"),
            ('{"client_id": "c11en7"}', "client_id and client_secret"),
            (f'{{"client_id": "c11en7", "client_secret": "{SECRET}", "x": 1}}', "no others"),
            (f'{{"client_id": "c11en7", "client_secret": "{SECRET}"', "no JSON"),
            ('{"client_id": "c11en7", "client_secret": ""}', "client_secret must be"),
            ('{"client_id": 7, "client_secret": "a"}', "client_id must be"),
            (f'{{"client_id": "YOUR CLIENT ID", "client_secret": "{SECRET}"}}', "client_id must be"),
            (f'{{"client_id": "c11en7", "client_secret": "{SECRET}\\n"}}', "client_secret must be"),
        ):
            with self.subTest(given):
                run = self.put(given)
                self.assert_stopped(run, "the credentials", "on standard input")
                self.assertIn(said, run.output)
                self.assertNotIn(SECRET, run.output)
                self.assertEqual(self.now("versions"), [])

    def test_credentials_that_spotify_rejects_are_not_added(self):
        self.cloud(spotify_status="400", versions=[3])
        run = self.put()
        self.assert_stopped(run, "testing the credentials against Spotify", "https://developer.spotify.com/dashboard")
        self.assertEqual(self.now("versions"), [3])

    def test_if_spotify_cannot_be_reached_the_run_continues(self):
        for answer in ("503", "000", "429"):
            self.cloud(spotify_status=answer)
            self.assertEqual(self.put().returncode, 0)
        self.cloud(fail="^curl")
        self.assertEqual(self.put().returncode, 0)

    def test_verification_with_spotify_can_be_skipped(self):
        run = self.put(CREDENTIALS, "--no-check")
        self.assertEqual(run.returncode, 0, run.output)
        self.assert_none(run.calls, "curl")

    def test_the_secret_is_not_in_arguments_or_environment(self):
        run = self.put()
        self.assertIn(SECRET, self.now("spotify_request"))
        for call in run.recorded:
            self.assertNotIn(SECRET, json.dumps(call))
        self.assertNotIn(SECRET, run.output)

    def test_a_missing_secret_points_to_the_deploy_script(self):
        self.cloud(made=[])
        self.assert_stopped(self.put(), "secret spotify-credentials", "Create it with deploy/deploy.sh")

    def test_credentials_as_an_argument_are_rejected(self):
        run = self.run_script("set-credentials.sh", CREDENTIALS)
        self.assert_stopped(run, "reading the options", "standard input")
        self.assertEqual(run.calls, [])

    def test_in_a_terminal_the_secret_is_not_shown(self):
        status, seen = self.run_in_terminal(
            "set-credentials.sh", "--project", "p", typed=[("Client ID", "c11en7"), ("Client secret", SECRET)]
        )
        self.assertEqual(status, 0, seen)
        self.assertEqual(self.now("secret"), CREDENTIALS)
        self.assertIn("c11en7", seen)
        self.assertNotIn(SECRET, seen)
