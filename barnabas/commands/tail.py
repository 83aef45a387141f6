"""``barnabas tail``: the tokens topic, as it is written."""

from __future__ import annotations

from typing import Annotated

import typer

from barnabas.commands import context
from barnabas.commands.context import Json, SessionOption, TenantOption


def tail(
    session: SessionOption = None,
    tenant: TenantOption = None,
    *,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="With the oldest record kept.")] = False,
    after: Annotated[
        str | None,
        typer.Option(metavar="CURSOR", help="Behind this cursor, such as send and tail --json print; its partition."),
    ] = None,
    no_follow: Annotated[bool, typer.Option("--no-follow", help="End where the topic ends now.")] = False,
    as_json: Json = False,
) -> None:
    """Print token records, each attempt's, as they come.

    Example: barnabas tail --session ada --after 3:1200:17
    """
    if after is not None and from_beginning:
        raise typer.BadParameter("say either --after or --from-beginning")
    from barnabas.commands.reading import codec_for, open_reader, print_line, print_record, print_undecodable
    from barnabas.cursor import Cursor
    from barnabas.reader import Start
    from schemas.errors import DecodeError
    from topics.partitioner import session_key

    settings = context.settings()
    codec = codec_for(settings)
    start = Start.BEGINNING if from_beginning else Start.END
    wanted = session_key(session, tenant) if session is not None else None
    topic = settings.names.tokens
    place = Cursor.parse(after) if after is not None else None
    with open_reader(settings, topic, start=start, session=session, tenant=tenant, after=place) as reader:
        for record in reader.until_end() if no_follow else reader.forever():
            if wanted is not None and record.key != wanted:
                continue
            try:
                token = codec.decode_token(record.value, topic=topic, partition=record.partition, offset=record.offset)
            except DecodeError as error:
                print_undecodable(record, topic, error, as_json=as_json)
                continue
            if as_json:
                cursor = Cursor(record.partition, record.offset, token.epoch)
                print_record(record, token, cursor=str(cursor))
                continue
            attempt = f"{token.attempt.epoch}.{token.attempt.number}"
            print_line(
                record,
                token.kind,
                token.session_id,
                ("turn", token.turn_id[:9]),
                ("attempt", attempt),
                ("index", token.index),
                ("text", token.text),
                ("cause", token.cause),
                ("detail", token.detail),
            )
