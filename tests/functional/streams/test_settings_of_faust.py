"""What we set on Faust because its default is a hazard; each line is a fence, with the hazard's number."""

from pathlib import Path

from faust.types.enums import ProcessingGuarantee

from state.options import StoreOptions
from streams.app import create_app
from streams.consumer import MAX_POLL_RECORDS
from streams.options import ConsumerOptions
from topics.names import TopicNames


async def test_app_settings_hazardous_defaults_are_replaced(tmp_path: Path) -> None:
    """Fails with any of the lines in ``create_app`` taken out."""
    options = ConsumerOptions(session_timeout_s=7.0, heartbeat_interval_s=1.0)
    app, _ = create_app(
        names=TopicNames("t"),
        bootstrap_servers="127.0.0.1:1",
        partitions=3,
        data_dir=tmp_path,
        worker="w1",
        consumer=options,
        store=StoreOptions(),
    )
    conf = app.conf
    assert conf.processing_guarantee is ProcessingGuarantee.AT_LEAST_ONCE  # F5-F9
    assert conf.stream_wait_empty is False  # F11
    assert conf.stream_publish_on_commit is False  # F23
    assert conf.web_enabled is False  # F22
    assert conf.broker_max_poll_records == MAX_POLL_RECORDS  # P4
    assert conf.autodiscover is False  # an import error is an error
    assert conf.topic_allow_declare is False  # topics are ours to make and to verify
    assert conf.topic_disable_leader is True
    assert str(conf.canonical_url) == "http://w1"  # T3
    assert conf.consumer_auto_offset_reset == "earliest"
    assert conf.broker_session_timeout == 7.0  # B1
    assert conf.broker_heartbeat_interval == 1.0
    assert conf.worker_redirect_stdouts is False
