"""Settings: where they come from, what is refused, and what is never shown."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fewnerd_stream.errors import SettingsError
from fewnerd_stream.settings import MASK, Settings, load_settings, private, settings_table


def _refused(**overrides: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(**overrides)
    return str(caught.value)


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set variables for one test."""
    return monkeypatch


def test_the_defaults_work() -> None:
    """Nothing needs to be set for a broker on this host."""
    settings = load_settings()
    assert settings.client_options() == {
        "bootstrap_servers": ["localhost:9092"],
        "security_protocol": "PLAINTEXT",
    }
    assert settings.input_topics == ("raw-documents",)
    assert settings.health_file.parent == private.folder()


def test_every_setting_is_documented() -> None:
    """Each has its variable, its default as one would write it, and a meaning in one line."""
    rows = settings_table()
    assert [row.name for row in rows] == list(Settings.model_fields)
    assert len({row.env for row in rows}) == len(rows)
    for row in rows:
        assert row.env == f"FEWNERD_{row.name.upper()}"
        assert row.meaning
        assert "\n" not in row.meaning
        assert not row.meaning.endswith(".")
    assert {row.env: row.default for row in rows}["FEWNERD_RETRY_DELAYS"] == "5,60,600"


def test_every_setting_reads_back_what_it_shows(env: pytest.MonkeyPatch) -> None:
    """What `describe` gives can be put into the environment, and means the same."""
    settings = load_settings(
        labels="person,art-film", thresholds="person=0.5,art-film=0.25", retry_delays="1,2.5"
    )
    for name, value in settings.describe().items():
        env.setenv(f"FEWNERD_{name.upper()}", value)
    assert load_settings() == settings


def test_the_environment_wins_over_the_file_and_an_argument_over_both(
    env: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Arguments, then environment, then file, then defaults."""
    file = tmp_path / "fewnerd.toml"
    file.write_text('group = "file"\nwindow_size = 7\nretry_delays = [1, 2]\n[thresholds]\nperson = 0.5\n')
    env.setenv("FEWNERD_CONFIG", str(file))
    env.setenv("FEWNERD_GROUP", "environment")
    settings = load_settings(partitions=9)
    assert (settings.group, settings.window_size, settings.partitions) == ("environment", 7, 9)
    assert (settings.retry_delays, settings.thresholds) == ((1, 2), {"person": 0.5})
    assert load_settings(group="argument").group == "argument"
    assert load_settings(group=None).group == "environment"


def test_a_file_can_be_given_as_an_argument(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is read in place of the one in the environment."""
    file = tmp_path / "a.toml"
    file.write_text('group = "a"')
    env.setenv("FEWNERD_CONFIG", str(tmp_path / "missing.toml"))
    assert load_settings(config=file).group == "a"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("INPUT_TOPICS", "a, b", ("a", "b")),
        ("INPUT_TOPICS", '["a", "b"]', ("a", "b")),
        ("RETRY_DELAYS", "0.5,60", (0.5, 60)),
        ("RETRY_DELAYS", "5", (5,)),
        ("LABELS", "person, location-GPE", ("person", "location-GPE")),
        ("LABELS", "", None),
        ("THRESHOLDS", "0.3", 0.3),
        ("THRESHOLDS", "person=0.5, art-film=0.2", {"person": 0.5, "art-film": 0.2}),
        ("THRESHOLDS", '{"person": 0.5}', {"person": 0.5}),
        ("BOOTSTRAP_SERVERS", " a:1 , [::1]:2", "a:1,[::1]:2"),
        ("INCLUDE_TEXT", "false", False),
        ("WINDOW_SIZE", "", 128),
    ],
)
def test_values_as_one_writes_them(
    env: pytest.MonkeyPatch, variable: str, value: str, expected: object
) -> None:
    """Lists take commas or JSON; an empty variable counts as not set."""
    env.setenv(f"FEWNERD_{variable}", value)
    assert getattr(load_settings(), variable.lower()) == expected


def test_a_misspelt_variable_is_refused_with_the_nearest(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the environment, in the file and as an argument."""
    file = tmp_path / "fewnerd.toml"
    file.write_text("window_sise = 1\n")
    env.setenv("FEWNERD_CONFIG", str(file))
    env.setenv("FEWNERD_RETRY_DELAY", "5")
    env.setenv("FEWNERD_XYZZY", "5")
    assert _refused(goup="x").splitlines() == [
        "4 settings are wrong:",
        "  FEWNERD_RETRY_DELAY: there is no such setting; did you mean FEWNERD_RETRY_DELAYS?",
        "  FEWNERD_XYZZY: there is no such setting",
        f"  window_sise in {file}: there is no such setting; did you mean window_size?",
        "  goup: there is no such setting; did you mean group?",
    ]


def test_what_kubernetes_sets_is_no_misspelling(env: pytest.MonkeyPatch) -> None:
    """For a service named fewnerd-something, every container there gets such variables."""
    for name in (
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_80_TCP",
        "PORT_80_TCP_ADDR",
    ):
        env.setenv(f"FEWNERD_STREAM_{name}", "x")
    load_settings()


def test_one_message_names_all_that_is_wrong(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each variable has a line with what is wanted and what was given, and where it came from."""
    file = tmp_path / "fewnerd.toml"
    file.write_text('start = "middle"\n')
    env.setenv("FEWNERD_CONFIG", str(file))
    env.setenv("FEWNERD_WINDOW_SIZE", "0")
    env.setenv("FEWNERD_THRESHOLDS", "high")
    env.setenv("FEWNERD_INCLUDE_TEXT", "perhaps")
    lines = _refused(max_depth="deep").splitlines()
    assert lines[0] == "5 settings are wrong:"
    assert f"  start in {file}: input should be 'earliest' or 'latest', not 'middle'" in lines
    assert "  FEWNERD_WINDOW_SIZE: input should be greater than or equal to 1, not '0'" in lines
    assert {line.split(":")[0].strip() for line in lines[1:]} == {
        f"start in {file}".split(":", maxsplit=1)[0],
        "FEWNERD_WINDOW_SIZE",
        "FEWNERD_THRESHOLDS",
        "FEWNERD_INCLUDE_TEXT",
        "FEWNERD_MAX_DEPTH",
    }


@pytest.mark.parametrize(
    ("text", "said"), [(None, "No such file"), ("group = ", "Invalid value"), ("\xff", "cannot be used")]
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | None, said: str) -> None:
    """Missing, no TOML, or no UTF-8."""
    file = tmp_path / "fewnerd.toml"
    if text is not None:
        file.write_text(text, encoding="latin-1")
    message = _refused(config=file)
    assert str(file) in message
    assert said in message


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"session_timeout": 40}, "FEWNERD_SESSION_TIMEOUT (40) must lie below FEWNERD_REQUEST_TIMEOUT (30)"),
        (
            {"heartbeat_interval": 5},
            "FEWNERD_HEARTBEAT_INTERVAL (5) must lie below half of FEWNERD_SESSION_TIMEOUT",
        ),
        ({"drain": 56}, "FEWNERD_DRAIN (56) must lie at least 5 below FEWNERD_REBALANCE_TIMEOUT (60)"),
        ({"window_time": 12}, "FEWNERD_WINDOW_TIME (12) must lie below FEWNERD_DRAIN (10)"),
        ({"patience": 100}, "FEWNERD_INFERENCE_TIMEOUT (120) must lie below FEWNERD_PATIENCE (100)"),
        (
            {"max_text_bytes": 3_000_000},
            "FEWNERD_MAX_TEXT_BYTES (3000000) is more than FEWNERD_MAX_MESSAGE_BYTES",
        ),
        ({"max_result_bytes": 2_100_000}, "FEWNERD_MAX_RESULT_BYTES (2100000) must be at least"),
        ({"min_insync_replicas": 2}, "FEWNERD_MIN_INSYNC_REPLICAS (2) is more than FEWNERD_REPLICATION (1)"),
        ({"retry_delays": "5,5"}, "FEWNERD_RETRY_DELAYS: the delays must ascend"),
        ({"retry_delays": "0,5"}, "FEWNERD_RETRY_DELAYS: each delay lies above 0"),
        ({"retry_delays": "5,90000"}, "FEWNERD_RETRY_DELAYS: each delay lies above 0 and within a day"),
        ({"retry_delays": "nan"}, "FEWNERD_RETRY_DELAYS"),
        ({"retry_delays": ()}, "FEWNERD_RETRY_DELAYS"),
        ({"retry_delays": "5,soon"}, "FEWNERD_RETRY_DELAYS: input should be a valid number"),
        ({"input_topics": ()}, "FEWNERD_INPUT_TOPICS"),
        ({"input_topics": "a,b,a"}, "FEWNERD_INPUT_TOPICS: a is named twice"),
        ({"input_topics": "über"}, "FEWNERD_INPUT_TOPICS: 'über' is no Kafka topic's name"),
        ({"input_topics": ".."}, "FEWNERD_INPUT_TOPICS: '..' is no Kafka topic's name"),
        ({"input_topics": "x" * 245}, "has more than 249 characters"),
        ({"output_prefix": "a b"}, "FEWNERD_OUTPUT_PREFIX: 'a b' is no Kafka topic's name"),
        (
            {"group": "g", "input_topics": "a,g.a.dead"},
            "g.a.dead would be an input topic, and that is the dead letters of a",
        ),
        (
            {"group": "g", "input_topics": "a,g.a.retry.1"},
            "g.a.retry.1 would be an input topic, and that is a retry topic of a",
        ),
        (
            {"group": "g", "input_topics": "a,g.a.dead.replayed"},
            "g.a.dead.replayed would be an input topic, and that is what was replayed of a",
        ),
        ({"group": "my group"}, "FEWNERD_GROUP: 'my group' cannot begin a topic's name"),
        ({"group": "g" * 200, "input_topics": "x" * 40}, "has more than 249 characters"),
        (
            {"input_topics": "entities.person"},
            "entities.person would be an output topic, and that is an input topic",
        ),
        ({"input_topics": "a.b,a_b"}, "a_b would be an input topic, and Kafka cannot tell it from a.b"),
        ({"bootstrap_servers": "localhost"}, "FEWNERD_BOOTSTRAP_SERVERS: host:port is wanted"),
        ({"bootstrap_servers": "a:99999"}, "FEWNERD_BOOTSTRAP_SERVERS: host:port is wanted"),
        ({"bootstrap_servers": ","}, "FEWNERD_BOOTSTRAP_SERVERS: host:port is wanted"),
        ({"labels": "[]"}, "FEWNERD_LABELS: names no label"),
        ({"thresholds": 1.5}, "FEWNERD_THRESHOLDS: a score lies between 0 and 1"),
        ({"thresholds": "nan"}, "FEWNERD_THRESHOLDS: a score lies between 0 and 1"),
        ({"instance_id": "a/b"}, "FEWNERD_INSTANCE_ID"),
        ({"group": ""}, "FEWNERD_GROUP"),
        (
            {"sasl_username": "me"},
            "FEWNERD_SASL_USERNAME is of no use with FEWNERD_SECURITY_PROTOCOL=PLAINTEXT",
        ),
        ({"ssl_password": "x"}, "FEWNERD_SSL_PASSWORD is of no use with FEWNERD_SECURITY_PROTOCOL=PLAINTEXT"),
        ({"security_protocol": "SASL_SSL", "sasl_username": "me"}, "FEWNERD_SASL_PASSWORD is needed with"),
        ({"security_protocol": "SSL", "ssl_password": "x"}, "FEWNERD_SSL_PASSWORD is of no use without"),
        ({"ssl_cafile": "/no/such/file"}, "FEWNERD_SSL_CAFILE: path does not point to a file"),
    ],
)
def test_what_cannot_work_is_refused(overrides: dict[str, Any], said: str) -> None:
    """The message names the variables and says why."""
    assert said in _refused(**overrides)


@pytest.mark.parametrize(
    "overrides", [{"input_topics": "a,b"}, {"group": "a.b_c-1"}, {"retry_delays": "86400"}]
)
def test_what_can_work_is_taken(overrides: dict[str, Any]) -> None:
    """Several inputs, any group name, and a delay of a day."""
    load_settings(**overrides)


def test_secrets_are_never_shown(env: pytest.MonkeyPatch) -> None:
    """Neither in what is described, nor in a representation, nor in a refusal."""
    env.setenv("FEWNERD_SASL_PASSWORD", "hunter2")
    env.setenv("FEWNERD_SASL_USERNAME", "me")
    env.setenv("FEWNERD_SASL_MECHANISM", "SCRAM-SHA-512")
    assert "hunter2" not in _refused()
    settings = load_settings(security_protocol="SASL_PLAINTEXT")
    assert settings.describe()["sasl_password"] == MASK
    assert "hunter2" not in repr(settings) + str(settings) + str(settings.describe())
    assert settings.client_options() == {
        "bootstrap_servers": ["localhost:9092"],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
        "sasl_plain_password": "hunter2",
    }
    env.setenv("FEWNERD_WINDOW_SIZE", "0")
    assert "hunter2" not in _refused(sasl_password=7)


def test_tls_passes_through(tmp_path: Path) -> None:
    """Certificates become a context that checks the broker's name; files that are none are named."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    what = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=x -passout pass:hunter2"
    subprocess.run(
        [openssl, *what.split(), "-keyout", str(key), "-out", str(cert)], capture_output=True, check=True
    )
    paths = {"ssl_cafile": cert, "ssl_certfile": cert, "ssl_keyfile": key}
    tls: dict[str, Any] = {"security_protocol": "SSL", **paths}
    context = load_settings(**tls, ssl_password="hunter2").client_options()["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    with pytest.raises(SettingsError, match="FEWNERD_SSL_PASSWORD") as caught:
        load_settings(**tls, ssl_password="wrong").client_options()
    assert "wrong" not in str(caught.value)
    with pytest.raises(SettingsError, match="FEWNERD_SSL_CAFILE"):
        load_settings(security_protocol="SSL", ssl_cafile=key).client_options()


def test_settings_do_not_change() -> None:
    """A worker's settings are what they were when it started."""
    with pytest.raises(ValidationError, match="frozen"):
        setattr(load_settings(), "window_size", 1)  # noqa: B010 - mypy knows that it is frozen


def test_neighbours_on_one_host_have_their_own_health_files() -> None:
    """The default is named after group and member."""
    files = [
        load_settings(group=group, instance_id=member).health_file
        for group, member in (("a", None), ("b", None), ("a", "1"), ("a.1", None))
    ]
    assert len(set(files)) == 4
    assert {file.parent for file in files} == {private.folder()}
    assert load_settings(health_file="/x/y").health_file == Path("/x/y")
