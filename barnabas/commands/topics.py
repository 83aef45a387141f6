"""``barnabas topics`` and ``barnabas topics acls``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from barnabas.commands import context
from barnabas.commands.context import Json

if TYPE_CHECKING:
    from topics.acls import Component

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def topics(call: typer.Context, *, as_json: Json = False) -> None:
    """Make the deployment's topics where they are missing, verify them, and show them.

    Example: barnabas topics
    """
    if call.invoked_subcommand is not None:
        return
    from barnabas.composition import topic_specs
    from topics.admin import ensure_topics

    settings = context.settings()
    specs = topic_specs(settings)
    states = ensure_topics(context.bootstrap_servers(settings), specs, client_config=settings.kafka)
    for spec, state in zip(specs, states, strict=True):
        if as_json:
            fields = {"name": state.name, "value": spec.value, "key": spec.key, "partitions": state.partitions}
            more = {"was_created": state.was_created, "cleanup_policy": spec.cleanup_policy}
            context.print_json({**fields, **more, "differences": dict(state.differences)})
        else:
            made = "made now" if state.was_created else "there"
            typer.echo(f"{state.name:<32} {state.partitions:>4} partitions  {spec.cleanup_policy:<8} {made}")
            for name, (wanted, found) in state.differences.items():
                typer.echo(f"  {name} is {found}, not {wanted}")


@app.command()
def acls(
    component: Annotated[
        list[str] | None, typer.Option("--component", "-c", help="Of this one alone; may be repeated.")
    ] = None,
    principal: Annotated[
        str | None, typer.Option(help="Who is granted, such as User:ada; User:barnabas-COMPONENT unless given.")
    ] = None,
    *,
    applied: Annotated[bool, typer.Option("--apply", help="Make the grants; needs Alter on the cluster.")] = False,
    as_json: Json = False,
) -> None:
    """Print what Kafka has to allow each component, as lines for kafka-acls.sh, or grant it.

    Example: barnabas topics acls --component worker --principal User:worker
    """
    from topics.acls import apply, bindings, command_line, grants

    settings = context.settings()
    servers = settings.bootstrap_servers or "127.0.0.1:9092"
    wanted = [(each, principal or f"User:barnabas-{each}") for each in _components(component)]
    if applied:
        from topics.access import reach

        servers = context.bootstrap_servers(settings)
        admin, _ = reach(servers, settings.kafka, timeout_s=15.0)
        for each, who in wanted:
            apply(admin, bindings(grants(each, settings.names), who), servers)
    for each, who in wanted:
        if not as_json:
            typer.echo(f"# {each}: {'granted to ' if applied else ''}{who}")
        for grant in grants(each, settings.names):
            if as_json:
                fields = {"resource": grant.resource, "name": grant.name, "operations": list(grant.operations)}
                context.print_json({"component": each, "principal": who, **fields})
            else:
                typer.echo(command_line(grant, who, servers))


def _components(names: list[str] | None) -> list[Component]:
    from schemas.errors import SettingsError
    from topics.acls import Component

    try:
        return [Component(name) for name in names] if names else list(Component)
    except ValueError as error:
        known = ", ".join(Component)
        raise SettingsError(f"--component: {error.args[0].partition(' is ')[0]} is none of {known}") from error
