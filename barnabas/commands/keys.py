"""``barnabas keys new|verify``: API keys of the gateway."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from barnabas.commands import context
from barnabas.commands.context import Json

app = typer.Typer(
    help="Make and check API keys of the gateway.\n\nExample: barnabas keys new --scope sessions:read",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@app.command()
def new(
    scope: Annotated[
        list[str], typer.Option(help="sessions:read, sessions:write, sessions:erase or operate; repeatable.")
    ],
    tenant: Annotated[str | None, typer.Option(help="Whose sessions it reaches; those of none if absent.")] = None,
    key_id: Annotated[str | None, typer.Option("--id", help="Names it in settings and logs; random if absent.")] = None,
    expires: Annotated[str | None, typer.Option(help="How long it is good for: 12h, 90d or 52w.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Print a new key, once, and the lines for barnabas.yaml, which hold its hash alone.

    Example: barnabas keys new --tenant acme --scope sessions:read --scope sessions:write --expires 90d
    """
    import yaml

    from barnabas.gateway.security.api_key import new_key
    from barnabas.gateway.security.options import ApiKeyOptions, SecurityOptions
    from barnabas.gateway.security.validation import check_security
    from barnabas.sources import FieldError
    from schemas.errors import SettingsError

    ends = _end(expires)
    try:
        made = new_key(key_id)
        options = ApiKeyOptions(hash=made.hash, scopes=tuple(scope), tenant=tenant, expires=ends)
        check_security(SecurityOptions(api_keys={made.id: options}))
    except FieldError as error:
        raise SettingsError(f"{error.locations[0][-1]}: {error.text}") from error
    except ValueError as error:
        raise SettingsError(f"id: {error}") from error
    lines = {"hash": made.hash, **({"tenant": tenant} if tenant else {}), "scopes": scope}
    if ends is not None:
        lines["expires"] = ends.isoformat()
    if as_json:
        context.print_json({"event": "key", "id": made.id, "key": made.key, "settings": lines})
        return
    sys.stdout.write(f"{made.key}\n")
    sys.stdout.flush()
    context.say("\n# Keep the key, it is shown this once. These lines are for barnabas.yaml:")
    settings = {"gateway": {"security": {"api_keys": {made.id: lines}}}}
    context.say(yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=200).rstrip())


@app.command()
def verify(*, as_json: Json = False) -> None:
    """Read a key on standard input and say what the settings let it do; exit code 1 where it is nobody's.

    Example: barnabas keys verify (with < key.txt)
    """
    from barnabas.gateway.security.api_keys import ApiKeys

    if sys.stdin.isatty():
        context.say("the key, then Enter:")
    principal = ApiKeys(context.settings().gateway.security.api_keys).verify(sys.stdin.readline().strip())
    scopes = sorted(principal.scopes)
    if as_json:
        found = {"subject": principal.subject, "tenant": principal.tenant, "scopes": scopes}
        context.print_json({"event": "key", **found, "expires_at": principal.expires_at})
        return
    whose = f"tenant {principal.tenant}" if principal.tenant is not None else "no tenant"
    sys.stdout.write(f"{principal.subject}: {whose}, {', '.join(scopes)}\n")


def _end(text: str | None) -> datetime | None:
    from schemas.errors import SettingsError

    if text is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", text)
    if found is None:
        raise SettingsError("expires: say hours, days or weeks, such as 12h, 90d or 52w")
    return datetime.now(UTC).replace(microsecond=0) + timedelta(**{_UNITS[found[2]]: int(found[1])})
