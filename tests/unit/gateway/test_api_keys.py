"""API keys: nobody's, wrong and expired ones are refused alike."""

import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabas.gateway.security import api_keys
from barnabas.gateway.security.api_key import HASH, KEY, hash_key, new_key
from barnabas.gateway.security.api_keys import ApiKeys
from barnabas.gateway.security.options import ApiKeyOptions
from schemas.errors import UnauthenticatedError

ADA, BOB = new_key("ada"), new_key("bob")
EXPIRES = datetime(2030, 1, 1, tzinfo=UTC)
KEYS = ApiKeys(
    {
        "ada": ApiKeyOptions(hash=ADA.hash, tenant="acme", scopes=("sessions:read",)),
        "bob": ApiKeyOptions(hash=BOB.hash, scopes=("operate",), expires=EXPIRES),
    },
    now=lambda: EXPIRES.timestamp() - 1,
)


def test_key_of_the_settings_is_its_principal_s() -> None:
    """With tenant, scopes and end."""
    ada, bob = KEYS.verify(ADA.key), KEYS.verify(BOB.key)
    assert (ada.subject, ada.tenant, ada.scopes, ada.expires_at) == ("key:ada", "acme", {"sessions:read"}, None)
    assert (bob.subject, bob.tenant, bob.scopes) == ("key:bob", None, {"operate"})
    assert bob.expires_at == EXPIRES.timestamp()


@given(place=st.integers(0, len(ADA.key) - 1), sign=st.characters())
def test_key_with_one_sign_changed_is_refused(place: int, sign: str) -> None:
    """Any sign at any place; fails where ``verify`` compares a part alone, or not at all."""
    changed = ADA.key[:place] + sign + ADA.key[place + 1 :]
    if changed != ADA.key:
        with pytest.raises(UnauthenticatedError):
            KEYS.verify(changed)


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    """With the one error there is."""
    with pytest.raises(UnauthenticatedError):
        KEYS.verify(text)


def test_secret_of_one_key_under_the_id_of_another_is_refused() -> None:
    """The id is hashed as well: a hash copied under another id is of no use either."""
    with pytest.raises(UnauthenticatedError):
        KEYS.verify(ADA.key.replace("bk_ada_", "bk_bob_"))
    copied = ApiKeys({"eve": ApiKeyOptions(hash=ADA.hash, scopes=("operate",))})
    with pytest.raises(UnauthenticatedError):
        copied.verify(ADA.key.replace("bk_ada_", "bk_eve_"))


def test_key_is_refused_from_its_end_on() -> None:
    """To the second."""
    ended = ApiKeys({"bob": ApiKeyOptions(hash=BOB.hash, scopes=("operate",), expires=EXPIRES)}, now=EXPIRES.timestamp)
    with pytest.raises(UnauthenticatedError):
        ended.verify(BOB.key)


def test_unknown_id_takes_the_same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """One comparison in constant time, of texts of the same length, and the same words; fails with an early return."""
    compared: list[tuple[int, int]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(api_keys, "hmac", type("Hmac", (), {"compare_digest": staticmethod(compare)}))
    texts = []
    for key in (new_key("ada").key, new_key("nobody").key):
        with pytest.raises(UnauthenticatedError) as refused:
            KEYS.verify(key)
        texts.append(str(refused.value))
    assert compared == [(71, 71), (71, 71)]
    assert texts[0] == texts[1]


def test_new_keys_differ_and_have_their_form() -> None:
    """256 random bits each; the hash is what settings take."""
    made = [new_key() for _ in range(100)]
    assert len({key.key for key in made}) == len({key.id for key in made}) == 100
    for key in made:
        assert KEY.fullmatch(key.key)
        assert HASH.fullmatch(key.hash)
        assert hash_key(key.key) == key.hash
        assert key.key not in key.hash


@pytest.mark.parametrize("key_id", ["", "A", "a_b", "-a", "a" * 33, "ü", "a b"])
def test_impossible_id_is_refused(key_id: str) -> None:
    """``_`` separates it from the secret."""
    with pytest.raises(ValueError, match="no id of a key"):
        new_key(key_id)


def test_principal_s_text_has_no_key() -> None:
    """It is logged."""
    assert ADA.key not in repr(KEYS.verify(ADA.key))
