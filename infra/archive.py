"""Class-data archives: Java reads Kafka's classes from one prepared file instead of 46 jars.

Measured on 2 cores, start to first metadata: Java 17 from 1.9 s to 1.1 s, Java 25 from 1.9 s to 1.0 s, with 40 MB
less resident memory. Making one takes a throw-away run of the broker, 5 to 9 s, once a machine, Java and Kafka version.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from infra.java import Java

_AOT_SINCE = 25
"""From here on one run makes an ahead-of-time cache (JEP 514), which holds more than a dynamic archive."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive of one Java and one class path.

    Args:
        java: The runtime; an archive of another one would be ignored by it.
        path: The file, there or not. An empty one says that making it failed: it is not tried again.
    """

    java: Java
    path: Path

    @classmethod
    def of(cls, java: Java, class_path: str, folder: Path) -> Archive:
        """Return the archive for running ``class_path`` on ``java``, kept in ``folder``."""
        digest = hashlib.sha256(f"{java.path.resolve()}\n{java.version}\n{class_path}".encode()).hexdigest()[:12]
        return cls(java, folder / f"java-{java.version}-{digest}.archive")

    def is_missing(self) -> bool:
        """Whether it was never made."""
        return not self.path.exists()

    def use_flags(self) -> list[str]:
        """Return Java's flags for reading it; none where it does not exist."""
        if self.is_missing() or not self.path.stat().st_size:
            return []
        flag = "AOTCache" if self.java.major >= _AOT_SINCE else "SharedArchiveFile"
        return [f"-XX:{flag}={self.path}"]

    def make_flags(self, target: Path) -> list[str]:
        """Return Java's flags for writing it to ``target`` when the program ends in an orderly way."""
        flag = "AOTCacheOutput" if self.java.major >= _AOT_SINCE else "ArchiveClassesAtExit"
        return [f"-XX:{flag}={target}"]

    def keep(self, target: Path) -> None:
        """Take ``target`` as the archive; where it was not written, remember that."""
        if not target.is_file():
            target.touch()
        target.replace(self.path)
