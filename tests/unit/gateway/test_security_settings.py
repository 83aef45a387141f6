"""What security settings cannot be, how they are shown, and where the gateway may not listen."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from barnabas.cli import main
from barnabas.configuration import load_settings
from barnabas.gateway.security.api_key import KEY, new_key
from barnabas.gateway.security.exposure import is_loopback_name, warnings_of
from barnabas.logs import configure_logging, redacted
from schemas.errors import SettingsError

MADE = new_key("ada")
GOOD_KEY: dict[str, Any] = {"hash": MADE.hash, "scopes": ["sessions:read"]}
GOOD_JWT: dict[str, Any] = {"issuer": "https://id", "audience": "barnabas", "jwks_url": "https://id/jwks"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a current directory of one's own."""
    monkeypatch.chdir(tmp_path)
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "OPENAI_API_KEY", "OPENAI_BASE_URL", "BARNABAS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _write(folder: Path, **gateway: Any) -> None:
    (folder / "barnabas.yaml").write_text(yaml.safe_dump({"model": "echo", "gateway": gateway}))


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr()
    return int(str(ended.value.code)), shown.out, shown.err


@pytest.mark.parametrize(
    ("security", "field"),
    [
        ({"api_keys": {"Ada": GOOD_KEY}}, "api_keys.Ada"),
        ({"api_keys": {"ada": {**GOOD_KEY, "hash": MADE.key}}}, "api_keys.ada.hash"),
        ({"api_keys": {"ada": {**GOOD_KEY, "hash": "sha256:abc"}}}, "api_keys.ada.hash"),
        ({"api_keys": {"ada": {**GOOD_KEY, "scopes": []}}}, "api_keys.ada.scopes"),
        ({"api_keys": {"ada": {**GOOD_KEY, "scopes": ["all"]}}}, "api_keys.ada.scopes"),
        ({"api_keys": {"ada": {**GOOD_KEY, "tenant": "a/b"}}}, "api_keys.ada.tenant"),
        ({"api_keys": {"ada": {**GOOD_KEY, "tenant": ""}}}, "api_keys.ada.tenant"),
        ({"api_keys": {"ada": {**GOOD_KEY, "expires": "2030-01-01T00:00:00"}}}, "api_keys.ada.expires"),
        ({"api_keys": {"ada": {**GOOD_KEY, "scope": []}}}, "api_keys.ada.scope"),
        ({"api_keys": {"ada": GOOD_KEY}, "allow_anonymous": True}, "allow_anonymous"),
        ({"jwt": {**GOOD_JWT, "audience": ""}}, "jwt.audience"),
        ({"jwt": {**GOOD_JWT, "issuer": ""}}, "jwt.issuer"),
        ({"jwt": {"issuer": "i", "jwks_url": "https://id"}}, "jwt.audience"),
        ({"jwt": {**GOOD_JWT, "algorithms": ["HS256"]}}, "jwt.algorithms"),
        ({"jwt": {**GOOD_JWT, "algorithms": ["none"]}}, "jwt.algorithms"),
        ({"jwt": {**GOOD_JWT, "algorithms": []}}, "jwt.algorithms"),
        ({"jwt": {**GOOD_JWT, "jwks_url": "http://id.example/jwks"}}, "jwt.jwks_url"),
        ({"jwt": {**GOOD_JWT, "jwks_url": "file:///etc/passwd"}}, "jwt.jwks_url"),
        ({"jwt": {**GOOD_JWT, "jwks_file": "keys.json"}}, "jwt.jwks_url"),
        ({"jwt": {"issuer": "i", "audience": "a"}}, "jwt.jwks_url"),
        ({"jwt": {**GOOD_JWT, "timeout_s": 0}}, "jwt.timeout_s"),
        ({"jwt": {**GOOD_JWT, "stale_s": 1}}, "jwt.stale_s"),
        ({"allowed_origins": ["*"]}, "allowed_origins"),
        ({"allowed_origins": ["https://a.example/"]}, "allowed_origins"),
        ({"allowed_origins": ["https://*.example"]}, "allowed_origins"),
        ({"allowed_origins": ["https://a.example:443"]}, "allowed_origins"),
        ({"allowed_origins": ["null"]}, "allowed_origins"),
        ({"allowed_hosts": ["*"]}, "allowed_hosts"),
        ({"allowed_hosts": ["a:80"]}, "allowed_hosts"),
        ({"trusted_proxies": ["*"]}, "trusted_proxies"),
        ({"trusted_proxies": ["10.0.0.1/8"]}, "trusted_proxies"),
        ({"requests_per_s": 0}, "requests_per_s"),
        ({"max_streams": -1}, "max_streams"),
        ({"api_key": {}}, "api_key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_impossible_setting_is_refused(folder: Path, security: dict[str, Any], field: str) -> None:
    """With its field and line; never with what may be a key."""
    _write(folder, security=security)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    text = str(refused.value)
    assert text.startswith(f"gateway.security.{field}: ")
    assert "(barnabas.yaml:" in text
    assert MADE.key not in text


def test_certificate_and_key_belong_together(folder: Path) -> None:
    """One alone is no TLS."""
    _write(folder, tls={"certificate": "c.pem"})
    with pytest.raises(SettingsError, match=r"gateway.tls.key: .*belong together"):
        load_settings()


def test_possible_settings_are_taken(folder: Path) -> None:
    """All of them."""
    _write(
        folder,
        host="0.0.0.0",
        security={
            "api_keys": {"ada": {**GOOD_KEY, "tenant": "acme", "expires": "2030-01-01T00:00:00Z"}},
            "jwt": {**GOOD_JWT, "tenant_claim": None, "algorithms": ["EdDSA"]},
            "allowed_origins": ["https://app.example.com", "http://localhost:3000"],
            "allowed_hosts": ["chat.example.com"],
            "trusted_proxies": ["10.0.0.0/8", "::1"],
        },
    )
    options = load_settings().gateway.security
    assert options.asks
    assert options.api_keys["ada"].expires is not None
    assert options.jwt is not None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "chat.example.com", "::ffff:127.0.0.1"])
def test_open_address_without_authentication_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    """By ``config check``, gateway and ``up``, before anything runs; fails where ``check_exposure`` does nothing."""
    _write(folder, host=host)
    for command in (("config", "check"), ("gateway",), ("up",), ("gateway", "--host", host)):
        code, _, err = _run(capsys, *command)
        assert code == 1
        assert err.count("\n") == 1
        assert "gateway.security.api_keys (barnabas keys new)" in err


def test_open_address_is_refused_by_the_command_line_s_host_as_well(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is over the settings'."""
    code, _, err = _run(capsys, "gateway", "--host", "0.0.0.0")
    assert (code, "nobody is asked who they are" in err) == (1, True)


def test_configured_open_address_is_checked_with_a_warning(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Credentials in the clear, or everybody; nothing to say behind a proxy that is named."""
    for security, said in (
        ({"api_keys": {"ada": GOOD_KEY}}, "credentials cross the network in the clear"),
        ({"allow_anonymous": True}, "ANYBODY"),
        ({"api_keys": {"ada": GOOD_KEY}, "trusted_proxies": ["10.0.0.1"]}, None),
    ):
        _write(folder, host="0.0.0.0", security=security)
        code, _, err = _run(capsys, "config", "check")
        assert (code, err == "" if said is None else said in err) == (0, True)
    assert list(warnings_of(load_settings())) == []


def test_certificate_that_is_none_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By ``config check`` as well."""
    (folder / "c.pem").write_text("no certificate")
    for name in ("c.pem", "absent.pem"):
        _write(folder, tls={"certificate": name, "key": name})
        code, _, err = _run(capsys, "config", "check")
        assert (code, "gateway.tls.certificate: " in err) == (1, True)


def test_loopback_names() -> None:
    """What only this machine reaches."""
    assert all(map(is_loopback_name, ("127.0.0.1", "127.9.9.9", "::1", "localhost", "a.localhost")))
    assert not any(map(is_loopback_name, ("", "0.0.0.0", "::", "localhost.example", "128.0.0.1", "127.0.0.1.example")))


def test_settings_show_hashes_never_keys(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A hash is compared with the one that was printed; there is no key to show."""
    _write(folder, security={"api_keys": {"ada": {**GOOD_KEY, "tenant": "acme"}}})
    code, out, _ = _run(capsys, "config", "show", "--changed", "--json")
    shown = {line["field"]: line for line in map(json.loads, out.splitlines())}
    assert code == 0
    assert shown["gateway.security.api_keys.ada.hash"]["value"] == MADE.hash
    assert shown["gateway.security.api_keys.ada.tenant"]["origin"].startswith("barnabas.yaml:")


def test_keys_of_the_environment_are_those_of_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON."""
    monkeypatch.setenv("BARNABAS_GATEWAY__SECURITY__API_KEYS", json.dumps({"ada": GOOD_KEY}))
    assert load_settings().gateway.security.api_keys["ada"].hash == MADE.hash


def test_new_key_is_shown_once_and_its_lines_are_settings(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key alone on standard output; pasted, the lines let it in."""
    import io

    code, out, err = _run(
        capsys, "keys", "new", "--id", "ci", "--tenant", "acme", "--scope", "sessions:read", "--scope", "operate",
        "--expires", "90d",
    )  # fmt: skip
    key = out.strip()
    assert (code, KEY.fullmatch(key) is not None, key in err) == (0, True, False)
    (folder / "barnabas.yaml").write_text("model: echo\n" + err[err.index("gateway:") :])
    monkeypatch.setattr("sys.stdin", io.StringIO(key + "\n"))
    assert _run(capsys, "keys", "verify") == (0, "key:ci: tenant acme, operate, sessions:read\n", "")
    monkeypatch.setattr("sys.stdin", io.StringIO(new_key("ci").key + "\n"))
    code, out, err = _run(capsys, "keys", "verify")
    assert (code, out, "unknown or has expired" in err) == (1, "", True)


@pytest.mark.parametrize(
    "arguments",
    [("--scope", "all"), ("--scope", "operate", "--tenant", "a/b"), ("--scope", "operate", "--id", "A B"),
     ("--scope", "operate", "--expires", "soon"), ("--scope", "operate", "--expires", "0d")],
)  # fmt: skip
def test_impossible_key_is_not_made(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    """Nothing that settings would refuse."""
    code, out, err = _run(capsys, "keys", "new", *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)


def _fail() -> None:
    raise ValueError(f"cannot use {MADE.key}")


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("is_debug", [True, False])
def test_log_has_no_credentials(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: Any, *, is_debug: bool
) -> None:
    """Whatever a library writes down: a header, a URL, an exception's text; fails with structlog's own formatter."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    configure_logging("info", debug=is_debug, form=form)
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
    logger = logging.getLogger("some.library")
    logger.warning("< Authorization: Bearer %s", MADE.key)
    logger.warning("GET /stream?token=%s", token)
    logger.warning("< Sec-WebSocket-Protocol: barnabas.v1, bearer.opaque-token-of-somebody")
    logging.getLogger("uvicorn.error").debug("< X-Key: opaque-token-of-somebody")
    try:
        _fail()
    except ValueError:
        logger.exception("failed")
    said = capsys.readouterr().err
    assert "Authorization" in said
    assert "failed" in said
    for secret in (MADE.key, MADE.key[-64:], token, token.rpartition(".")[2], "opaque-token-of-somebody"):
        assert secret not in said
    for name in ("aiokafka", "faust", "mode", "kafka", "librdkafka", "asyncio", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_usual_texts_are_left_as_they_are() -> None:
    """Redaction takes credentials alone."""
    for text in ("a bearer of bad news", "bk_ada", "session bk_ in partition 3", MADE.hash):
        assert redacted(text) in {text, text.replace("of", "********")}
