"""deploy/set-credentials.sh: the secret goes in, by no argument and no file, and the old ones go out of use."""

import json

from scripts import CREDENTIALS, SECRET, ScriptTest


class SetCredentials(ScriptTest):
    def setUp(self):
        super().setUp()
        self.world(made=["secret"])

    def put(self, given=CREDENTIALS, *arguments):
        return self.run_script("set-credentials.sh", "--project", "p", *arguments, stdin=given)

    def test_the_first_version_goes_in(self):
        run = self.put()
        self.assertEqual(run.returncode, 0, run.said)
        self.assertEqual(self.now("secret"), CREDENTIALS)
        self.assertEqual(self.now("versions"), [1])

    def test_after_a_rotation_only_the_new_version_is_in_use(self):
        self.world(versions=[3, 4], next_version=5)
        run = self.put()
        self.assertEqual(run.returncode, 0, run.said)
        self.assertEqual(self.now("versions"), [5])
        self.assert_order(run.calls, "gcloud secrets versions add", "gcloud secrets versions disable")

    def test_when_the_new_one_does_not_go_in_the_old_stay_in_use(self):
        self.world(versions=[3], next_version=4, fail="versions add")
        run = self.put()
        self.assert_stopped(run, "a new version", "roles/secretmanager.secretVersionManager")
        self.assertEqual(self.now("versions"), [3])

    def test_when_the_old_cannot_be_disabled_it_says_how(self):
        for fail in ("versions list", "versions disable"):
            self.world(versions=[3], next_version=4, fail=fail)
            self.assert_stopped(self.put(), "disabling the previous versions", "gcloud secrets versions disable VERSION")

    def test_it_is_the_named_secret_of_the_named_project(self):
        run = self.put(CREDENTIALS, "--secret", "other")
        self.assert_order(run.calls, "gcloud secrets describe other", "gcloud secrets versions add other --data-file=-")
        self.assertEqual({call["environment"]["CLOUDSDK_CORE_PROJECT"] for call in run.recorded if call["tool"] == "curl"}, {"p"})

    def test_white_space_and_the_order_of_keys_do_not_matter(self):
        run = self.put(f'\n {{ "client_secret" : "{SECRET}",\n "client_id": "c11en7" }}\n')
        self.assertEqual(run.returncode, 0, run.said)
        self.assertEqual(json.loads(self.now("secret")), json.loads(CREDENTIALS))

    def test_what_is_not_in_shape_is_refused_without_being_shown(self):
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
                self.assertIn(said, run.said)
                self.assertNotIn(SECRET, run.said)
                self.assertEqual(self.now("versions"), [])

    def test_what_spotify_does_not_know_is_refused(self):
        self.world(spotify_says="400", versions=[3])
        run = self.put()
        self.assert_stopped(run, "testing the credentials against Spotify", "https://developer.spotify.com/dashboard")
        self.assertEqual(self.now("versions"), [3])

    def test_a_spotify_out_of_reach_is_no_reason_to_stop(self):
        for answer in ("503", "000", "429"):
            self.world(spotify_says=answer)
            self.assertEqual(self.put().returncode, 0)
        self.world(fail="^curl")
        self.assertEqual(self.put().returncode, 0)

    def test_spotify_is_not_asked_when_told_so(self):
        run = self.put(CREDENTIALS, "--no-check")
        self.assertEqual(run.returncode, 0, run.said)
        self.assert_none(run.calls, "curl")

    def test_the_secret_is_no_argument_and_in_no_environment(self):
        run = self.put()
        self.assertIn(SECRET, self.now("asked_spotify_with"))
        for call in run.recorded:
            self.assertNotIn(SECRET, json.dumps(call))
        self.assertNotIn(SECRET, run.said)

    def test_a_secret_that_is_not_there_is_said_to_be_deploys(self):
        self.world(made=[])
        self.assert_stopped(self.put(), "secret spotify-credentials", "Create it with deploy/deploy.sh")

    def test_as_an_argument_the_credentials_are_refused_unread(self):
        run = self.run_script("set-credentials.sh", CREDENTIALS)
        self.assert_stopped(run, "reading the options", "standard input")
        self.assertEqual(run.calls, [])

    def test_in_a_terminal_it_asks_and_does_not_show_the_secret(self):
        status, seen = self.run_in_terminal(
            "set-credentials.sh", "--project", "p", typed=[("Client ID", "c11en7"), ("Client secret", SECRET)]
        )
        self.assertEqual(status, 0, seen)
        self.assertEqual(self.now("secret"), CREDENTIALS)
        self.assertIn("c11en7", seen)
        self.assertNotIn(SECRET, seen)
