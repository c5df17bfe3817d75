from pathlib import Path

import pytest
from pydantic import ValidationError

from server.settings import Settings, is_loopback, unknown_variables


def test_the_default_lets_in_only_this_machine():
    """Without any variable set, the server listens on loopback and asks for no token."""
    settings = Settings()
    assert (settings.host, settings.port, settings.token, settings.read_only) == ("127.0.0.1", 8420, "", False)
    assert settings.url == "http://127.0.0.1:8420"


def test_variables_are_read(monkeypatch, tmp_path):
    """Each setting is CLIPCORE_ and its name; lists are comma-separated."""
    for name, value in {
        "PORT": "9",
        "ALLOWED_HOSTS": "a.example, b.example:1,",
        "DATA_DIR": str(tmp_path),
        "READ_ONLY": "1",
    }.items():
        monkeypatch.setenv(f"CLIPCORE_{name}", value)
    settings = Settings()
    assert (settings.port, settings.allowed_hosts, settings.read_only) == (9, ("a.example", "b.example:1"), True)
    assert settings.database == tmp_path / "clipcore.db"


def test_data_lives_where_the_user_keeps_data(monkeypatch):
    """The default directory follows XDG_DATA_HOME, else ~/.local/share."""
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    assert Settings().data_dir == Path("/elsewhere/clipcore")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert Settings().data_dir == Path.home() / ".local" / "share" / "clipcore"


def test_a_directory_may_start_at_home(monkeypatch):
    """A service's environment file is read by no shell that would know ~; an empty value is none."""
    monkeypatch.setenv("CLIPCORE_DATA_DIR", "~/runs")
    assert Settings().data_dir == Path.home() / "runs"
    monkeypatch.setenv("CLIPCORE_DATA_DIR", "")
    assert Settings().data_dir == Settings(data_dir=Settings.model_fields["data_dir"].default_factory()).data_dir
    monkeypatch.setenv("CLIPCORE_DATA_DIR", "~nobody-of-that-name/runs")
    with pytest.raises(ValidationError, match="home directory"):
        Settings()


@pytest.mark.parametrize(
    ("host", "sentence"),
    [("", "got nothing"), ("127.0.0.1:8420", "without a port"), ("[::1]:1", "without a port"), ("a b", "no host")],
)
def test_a_host_is_a_name_or_an_address(host, sentence):
    """What it is not is said; an IPv6 address may have its brackets."""
    with pytest.raises(ValidationError, match=sentence):
        Settings(host=host)
    assert Settings(host="[::1]").host == "::1"


def test_a_log_level_may_be_in_capitals():
    """As most other programs have it."""
    assert Settings(log_level="DEBUG").log_level == "debug"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "trainbox"])
def test_listening_beyond_loopback_must_be_asked_for(host):
    """Whoever could be reached by others needs a token, or has to say that it is meant."""
    with pytest.raises(ValidationError, match="CLIPCORE_TOKEN to a secret, or CLIPCORE_ALLOW_REMOTE=1"):
        Settings(host=host)
    assert Settings(host=host, token="secret").host == host
    assert Settings(host=host, allow_remote=True).host == host


@pytest.mark.parametrize(
    ("host", "loopback"),
    [(host, True) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1")]
    + [(host, False) for host in ("0.0.0.0", "::", "192.168.0.7", "trainbox")],
)
def test_loopback_is_what_only_this_machine_reaches(host, loopback):
    """An unknown name may be anything, so it is not loopback."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8420"),
        ("::", "http://[::1]:8420"),
        ("::1", "http://[::1]:8420"),
        ("localhost", "http://localhost:8420"),
    ],
)
def test_url_is_how_this_machine_reaches_the_server(host, url):
    """A worker connects to the loopback interface also when the server listens everywhere."""
    assert Settings(host=host, allow_remote=True).url == url


def test_the_token_is_not_shown():
    """A settings object may be printed or logged without giving the secret away."""
    assert "hush" not in repr(Settings(token="hush"))


def test_the_table_has_every_setting():
    """Each setting has a variable, a default and a line of help, for the README to be checked against."""
    table = {variable: (default, text) for variable, default, text in Settings.table()}
    assert set(table) == {f"CLIPCORE_{name.upper()}" for name in Settings.model_fields}
    assert all(text for _, text in table.values())
    assert table["CLIPCORE_HOST"][0] == "127.0.0.1"
    assert table["CLIPCORE_READ_ONLY"][0] == "0"
    assert table["CLIPCORE_PORT"][0] == "8420"


@pytest.mark.parametrize("token", ["gehe\u00efm", "secret\nX-Header: 1", "a\tb"])
def test_a_token_fits_into_a_header(token):
    """What no client could send is refused at once, and not shown."""
    with pytest.raises(ValidationError) as refusal:
        Settings(token=token)
    assert "printable ASCII" in refusal.value.errors()[0]["msg"]


def test_a_proxy_is_an_address():
    """Or a network of them; a name could be anybody's."""
    assert Settings(trusted_proxies="127.0.0.1, 10.0.0.0/8").trusted_proxies == ("127.0.0.1", "10.0.0.0/8")
    with pytest.raises(ValidationError, match=r"'proxy\.example' does not appear to be"):
        Settings(trusted_proxies="proxy.example")


def test_what_starts_by_itself_must_be_allowed_to_start():
    """A server that may train nothing cannot have something to train."""
    assert Settings(max_workers=0).max_workers == 0
    with pytest.raises(ValidationError, match="CLIPCORE_MAX_WORKERS=0"):
        Settings(max_workers=0, autostart="rnn")


def test_a_misspelt_variable_is_found_with_what_was_meant():
    """Such as the token's, without which the server is open; what trainers read is no mistake."""
    environment = ["CLIPCORE_TOKN", "CLIPCORE_XYZZY", "CLIPCORE_TOKEN", "CLIPCORE_RUN_ID", "CLIPCORE_KERNELS", "PATH"]
    assert unknown_variables(environment) == {"CLIPCORE_TOKN": "CLIPCORE_TOKEN", "CLIPCORE_XYZZY": ""}
