"""Tokens: what is not the issuer's, for us, in time and with a tenant, is refused."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barnabas.gateway.security.jwks import Jwks
from barnabas.gateway.security.jwt_tokens import JwtTokens
from barnabas.gateway.security.options import JwtOptions
from schemas.errors import UnauthenticatedError

ISSUER, AUDIENCE = "https://id.example.com/", "barnabas"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
SYMMETRIC = b"a secret that somebody published by mistake"


def _jwk(algorithm: str, key: Any, kid: str, **more: Any) -> dict[str, Any]:
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True)
    return {**made, "kid": kid, "use": "sig", **more}


KEYS = [
    _jwk("RS256", RSA.public_key(), "rsa"),
    _jwk("ES256", EC.public_key(), "ec"),
    _jwk("EdDSA", ED.public_key(), "ed"),
    _jwk("RS256", OTHER_RSA.public_key(), "encryption", use="enc"),
    {"kty": "oct", "kid": "oct", "alg": "HS256", "k": base64.urlsafe_b64encode(SYMMETRIC).decode()},
    {"kty": "XYZ", "kid": "strange"},
]


@pytest.fixture(scope="module")
def jwks_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file with the issuer's keys."""
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    path.write_text(json.dumps({"keys": KEYS}))
    return path


Verify = Callable[..., Any]


@pytest.fixture
def verify(jwks_file: Path) -> Verify:
    """Give a function that checks a token."""

    async def check(token: str, **options: Any) -> Any:
        given_options = JwtOptions(issuer=ISSUER, audience=AUDIENCE, jwks_file=jwks_file, **options)
        keys = Jwks(given_options)
        try:
            return await JwtTokens(given_options, keys).verify(token)
        finally:
            await keys.aclose()

    return check


def _claims(**changed: Any) -> dict[str, Any]:
    usual = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ada",
        "exp": int(time.time()) + 600,
        "tenant": "acme",
        "scope": "sessions:read sessions:write email",
    }
    return {name: value for name, value in {**usual, **changed}.items() if value is not None}


def _signed(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "rsa", **claims: Any) -> str:
    headers = {"kid": kid} if kid is not None else {}
    return jwt.encode(_claims(**claims), key, algorithm=algorithm, headers=headers)


def _by_hand(header: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    parts = [json.dumps(part).encode() for part in (header, _claims())]
    head = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    return (head + b"." + base64.urlsafe_b64encode(sign(head)).rstrip(b"=")).decode()


async def test_token_of_the_issuer_is_its_principal_s(verify: Verify) -> None:
    """Tenant and known scopes; it ends with the token, give or take the clocks."""
    ends = int(time.time()) + 600
    principal = await verify(_signed(exp=ends))
    assert (principal.subject, principal.tenant) == ("ada", "acme")
    assert principal.scopes == {"sessions:read", "sessions:write"}
    assert principal.expires_at == ends + 30


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "PS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")])
async def test_other_algorithms_where_they_are_allowed(verify: Verify, key: Any, algorithm: str, kid: str) -> None:
    """And refused where not."""
    token = _signed(key, algorithm, kid)
    assert (await verify(token, algorithms=(algorithm,))).subject == "ada"
    with pytest.raises(UnauthenticatedError):
        await verify(token, algorithms=("RS512",))


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example/"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"aud": []},
        {"exp": 1},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": 4_000_000_000},
        {"iat": 4_000_000_000},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 257},
        {"tenant": None},
        {"tenant": ""},
        {"tenant": "a/b"},
        {"tenant": "a\nb"},
        {"tenant": ["acme"]},
        {"tenant": 7},
        {"tenant": "x" * 257},
    ],
    ids=str,
)
async def test_token_with_a_wrong_claim_is_refused(verify: Verify, changed: dict[str, Any]) -> None:
    """Signed by the issuer, but not for us, not now, or of no tenant; fails for each that ``decode`` is not told."""
    with pytest.raises(UnauthenticatedError):
        await verify(_signed(**changed))


async def test_token_that_just_ended_is_good_within_the_leeway(verify: Verify) -> None:
    """Clocks differ."""
    token = _signed(exp=int(time.time()) - 10)
    assert (await verify(token)).subject == "ada"
    with pytest.raises(UnauthenticatedError):
        await verify(token, leeway_s=5.0)


def _forged() -> dict[str, str]:
    public = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    good = _signed()
    head, body, signature = good.split(".")
    evil = base64.urlsafe_b64encode(json.dumps(_claims(tenant="evil")).encode()).rstrip(b"=").decode()
    return {
        "no signature": _by_hand({"alg": "none", "kid": "rsa"}, lambda _: b""),
        "no signature, shouted": _by_hand({"alg": "NONE", "kid": "rsa"}, lambda _: b""),
        "public key as a secret": _by_hand(
            {"alg": "HS256", "kid": "rsa"}, lambda head: hmac.new(public, head, sha256).digest()
        ),
        "published symmetric key": _by_hand(
            {"alg": "HS256", "kid": "oct"}, lambda head: hmac.new(SYMMETRIC, head, sha256).digest()
        ),
        "another's key": _signed(OTHER_RSA),
        "key that is for encryption": _signed(OTHER_RSA, kid="encryption"),
        "key of another kind": _signed(EC, "ES256", "rsa"),
        "unknown key": _signed(kid="unknown"),
        "no key id": _signed(kid=None),
        "changed claims": f"{head}.{evil}.{signature}",
        "cut signature": f"{head}.{body}.",
        "critical extension": jwt.encode(
            _claims(), RSA, algorithm="RS256", headers={"kid": "rsa", "crit": ["exp"], "exp": 1}
        ),
        "five parts": good + ".a.b",
        "nothing": "",
    }


@pytest.mark.parametrize("kind", [*_forged()])
async def test_forged_token_is_refused(verify: Verify, kind: str) -> None:
    """Every way known to have worked somewhere, symmetric algorithms and ``none`` allowed by the settings as well."""
    with pytest.raises(UnauthenticatedError):
        await verify(_forged()[kind], algorithms=("RS256", "ES256", "HS256", "none"))


@given(text=st.one_of(st.text(), st.from_regex(r"[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}", fullmatch=True)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_any_text_is_refused(verify: Verify, text: str) -> None:
    """With the one error there is."""
    with pytest.raises(UnauthenticatedError):
        await verify(text)


async def test_scopes_may_be_a_list_under_another_name(verify: Verify) -> None:
    """As providers differ; what is no list or text counts for nothing."""
    token = _signed(scope=None, scp=["operate", "x", 7])
    assert (await verify(token, scopes_claim="scp")).scopes == {"operate"}
    assert (await verify(_signed(scope={"operate": True}))).scopes == frozenset()


async def test_tenants_may_be_unused(verify: Verify) -> None:
    """Then nobody has one, whatever the token says."""
    assert (await verify(_signed(), tenant_claim=None)).tenant is None
