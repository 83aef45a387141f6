"""Headers that every response has."""

from __future__ import annotations

from typing import Final

#: The console loads its own scripts, styles and images, and talks to its own origin; nothing inline, nothing from
#: elsewhere, in nobody's frame. A text of a model that was shown as a page could load and run nothing.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS: Final = tuple(
    (name.encode(), value.encode())
    for name, value in {
        "content-security-policy": CONTENT_SECURITY_POLICY,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",  # for browsers before frame-ancestors
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
    }.items()
)
_NO_STORE: Final = (b"cache-control", b"no-store")


def with_security(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return a response's headers and ours; what it does not say may be kept is not, by anybody."""
    names = {name.lower() for name, _ in headers}
    ours = [pair for pair in SECURITY_HEADERS if pair[0] not in names]
    if _NO_STORE[0] not in names:
        ours.append(_NO_STORE)
    return [*headers, *ours]
