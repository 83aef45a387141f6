"""``barnabas doctor``: does the table equal the fold of the log?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabas.commands import context
from barnabas.commands.context import Json, SessionOption, TenantOption
from barnabas.commands.progress import progress

if TYPE_CHECKING:
    from state.audit import AuditReport, RebuildReport

_SHOWN = 20
_WHAT_TO_DO = (
    "what is missing or stale in the changelog is written back by: barnabas doctor --rebuild; "
    "a wrong local table is made anew: stop its worker and remove its folder below data_dir/workers"
)


def doctor(
    session: SessionOption = None,
    tenant: TenantOption = None,
    partition: Annotated[int | None, typer.Option(min=0, help="This partition alone.")] = None,
    *,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First write the log's fold back to the changelog.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare log, changelog, local tables and outcomes; exit code 1 where something differs, 3 without an answer.

    Example: barnabas doctor --json
    """
    from confluent_kafka import KafkaException

    from barnabas.connection import connect
    from schemas.errors import BrokerError, SettingsError
    from state.audit import audit
    from state.audit import rebuild as write_back
    from topics.access import refusal
    from topics.partitioner import session_key

    context.failure_code = context.NOT_CHECKED
    settings = context.settings()
    deployment = connect(settings)
    if partition is not None and partition >= deployment.partitions:
        raise SettingsError(f"--partition: {partition} is impossible; there are 0 to {deployment.partitions - 1}")
    servers, codec, names = deployment.servers, deployment.codec, settings.names
    key = session_key(session, tenant).decode() if session is not None else None
    shared: dict[str, Any] = {"client_config": settings.kafka, "codec": codec, "session": key}
    try:
        if rebuild:
            numbers = None if partition is None else [partition]
            with progress("rebuilding", is_shown=not as_json) as report:
                rebuilt = write_back(servers, names, partitions=numbers, on_progress=report, **shared)
            _show_rebuild(rebuilt, as_json=as_json)
        with progress("reading", is_shown=not as_json) as report:
            found = audit(servers, names, data_dir=settings.data_dir, partition=partition, on_progress=report, **shared)
    except KafkaException as error:
        if (refused := refusal(error.args[0], servers)) is not None:
            raise refused from error
        raise BrokerError(f"Kafka at {servers}: {error.args[0].str()}; is it running?") from error
    if as_json:
        context.print_json({"event": "audit", **found.as_dict()})
    else:
        _show(found)
    if not found.is_clean:
        raise typer.Exit(1)


def _show(report: AuditReport) -> None:
    typer.echo(
        f"{report.sessions} sessions, {report.values} values, {report.events} events, {report.messages} messages, "
        f"{report.tables} local tables in {report.partitions} partitions, {report.seconds:.1f} s"
    )
    if report.lag:
        typer.echo(f"not yet acknowledged: {report.lag_events} events, {report.lag_messages} messages")
    if report.undecodable:
        typer.echo(f"{report.undecodable} records of the log are none of ours; readers skip them")
    for reason, count in report.unverifiable.items():
        typer.echo(f"unverifiable: {count} ({reason})")
    for finding in report.findings[:_SHOWN]:
        place = f"partition {finding.partition}" + (f" offset {finding.offset}" if finding.offset is not None else "")
        typer.echo(f"{finding.kind}: {place} session {finding.session or '-'}: {finding.detail}")
    if report.is_clean:
        typer.secho("clean: table, changelog and fold of the log are the same", fg=typer.colors.GREEN)
        return
    total = sum(report.counts.values())
    if total > _SHOWN:
        typer.echo(f"and {total - _SHOWN} more; --json lists them")
    counts = ", ".join(f"{kind} {count}" for kind, count in report.counts.items())
    typer.secho(f"{total} findings: {counts}; {_WHAT_TO_DO}", fg=typer.colors.RED)


def _show_rebuild(report: RebuildReport, *, as_json: bool) -> None:
    if as_json:
        context.print_json({"event": "rebuild", **report.as_dict()})
        return
    typer.echo(f"rebuilt: {report.sessions} sessions folded, {report.written} values written, {report.seconds:.1f} s")
    for reason, count in report.skipped.items():
        typer.echo(f"skipped: {count} ({reason})")
