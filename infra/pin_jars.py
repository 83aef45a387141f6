"""Makes ``kafka_jars.json``: ``python -m infra.pin_jars 4.1.2`` resolves, fetches and hashes Kafka's jars.

For maintainers, on an update of Kafka. Read the difference before it is committed.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

LOG4J_VERSION = "2.25.3"
"""Kafka's own log4j of that release: the binding has to match, and Maven does not name it."""


def main(version: str) -> None:
    """Write the pins of Kafka ``version`` beside this module."""
    import jgo

    # The clients are named, or the resolver picks an older one and the broker dies with NoSuchMethodError.
    kafka = jgo.resolve(f"org.apache.kafka:kafka_2.13:{version}+org.apache.kafka:kafka-clients:{version}")
    # Resolved apart and taken without its own dependencies: log4j's parent would change Kafka's versions of Jackson
    # and zstd.
    binding, *_ = jgo.resolve(f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J_VERSION}")
    jars = {}
    for artifact in [*kafka, binding]:
        content = Path(artifact.resolve()).read_bytes()
        coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
        jars[coordinate] = {
            "coordinate": coordinate,
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
        }
    pins = {"kafka_version": version, "jars": [jars[coordinate] for coordinate in sorted(jars)]}
    Path(__file__).with_name("kafka_jars.json").write_text(json.dumps(pins, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
