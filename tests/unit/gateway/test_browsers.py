"""What a page of somebody else may not have a browser do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from barnabas.gateway.security.browsers import Browsers, host_name, network_of

LOOPBACK = Browsers(("chat.example.com",), ("https://app.example.com",), is_loopback=True)
PUBLIC = Browsers((), ("https://app.example.com",), is_loopback=False)


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080",
     "LOCALHOST:1", "127.0.0.1:8080", "127.8.9.1", "[::1]:8080", "a.localhost", "localhost.",
     "chat.example.com", "chat.example.com:8443"],
)  # fmt: skip
def test_loopback_name_is_known(host: str) -> None:
    """With any port: another's socket would not be ours."""
    LOOPBACK.check_host(host.encode())


@pytest.mark.parametrize(
    "host",
    [None, b"", b"evil.example", b"evil.example:8080", b"0.0.0.0:8080",
     b"127.0.0.1.evil.example", b"localhost.evil.example",
     b"evil-localhost", b"[::1].evil.example", b"10.0.0.1", b"127.0.0.1@evil.example"],
)  # fmt: skip
def test_other_name_is_refused_on_loopback(host: bytes | None) -> None:
    """DNS rebinding; fails where ``check_host`` does nothing."""
    with pytest.raises(HTTPException) as refused:
        LOOPBACK.check_host(host)
    assert refused.value.status_code == 421


def test_any_name_is_good_where_others_are_asked_who_they_are() -> None:
    """Unless names are given."""
    PUBLIC.check_host(b"whatever.example")
    named = Browsers(("chat.example.com",), (), is_loopback=False)
    named.check_host(b"chat.example.com")
    with pytest.raises(HTTPException):
        named.check_host(b"whatever.example")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"sec-fetch-site": b"none"},
        {b"sec-fetch-site": b"same-origin", b"sec-fetch-mode": b"cors"},
        {b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"navigate"},
        {b"origin": b"http://localhost:8080"},
        {b"origin": b"HTTP://LOCALHOST:8080"},
        {b"origin": b"https://localhost:8080"},
        {b"origin": b"https://app.example.com", b"sec-fetch-site": b"cross-site"},
    ],
)
def test_own_and_allowed_pages_may_ask(headers: dict[bytes, bytes]) -> None:
    """And clients that are no browsers, and a person who follows a link."""
    LOOPBACK.check_origin({b"host": b"localhost:8080", **headers})


@pytest.mark.parametrize(
    "headers",
    [
        {b"origin": b"https://evil.example"},
        {b"origin": b"null"},
        {b"origin": b""},
        {b"origin": b"http://localhost:3000"},
        {b"origin": b"http://localhost:8080.evil.example"},
        {b"origin": b"http://evil.example/http://localhost:8080"},
        {b"origin": b"https://app.example.com.evil.example"},
        {b"origin": b"https://APP.example.com"},
        {b"origin": b"file://"},
        {b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"no-cors"},
        {b"sec-fetch-site": b"same-site", b"sec-fetch-mode": b"websocket"},
    ],
)
def test_pages_of_others_may_not(headers: dict[bytes, bytes]) -> None:
    """Whatever they look like; fails where ``check_origin`` does nothing."""
    with pytest.raises(HTTPException) as refused:
        LOOPBACK.check_origin({b"host": b"localhost:8080", **headers})
    assert refused.value.status_code == 403


def test_default_port_may_be_said_or_not() -> None:
    """``https://a`` and ``Host: a:443`` are one."""
    PUBLIC.check_origin({b"host": b"a.example:443", b"origin": b"https://a.example"})
    PUBLIC.check_origin({b"host": b"a.example", b"origin": b"https://a.example:443"})
    with pytest.raises(HTTPException):
        PUBLIC.check_origin({b"host": b"a.example:8443", b"origin": b"https://a.example"})


@given(host=st.binary(max_size=40), origin=st.binary(max_size=60))
def test_no_header_makes_the_check_fail_otherwise(host: bytes, origin: bytes) -> None:
    """Any bytes are refused or let in."""
    for check in (lambda: LOOPBACK.check_host(host), lambda: LOOPBACK.check_origin({b"host": host, b"origin": origin})):
        try:
            check()
        except HTTPException as error:
            assert error.status_code in {403, 421}  # noqa: PT017 - the other outcome is no error


def test_name_of_a_host() -> None:
    """Without port, brackets and the root's dot."""
    assert [host_name(text) for text in ("A.example.:80", "[FE80::1]:9", "a", "")] == ["a.example", "fe80::1", "a", ""]


def test_ipv6_counts_by_its_network() -> None:
    """One subscriber has 2**64 addresses; an IPv4 one in IPv6's clothes is itself."""
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert network_of("::ffff:10.1.2.3") == network_of("10.1.2.3") == "10.1.2.3"
    assert network_of("unix") == "unix"
