"""The console's bundle is committed, so that nobody needs Node: it is of these sources, whole, and in the package."""

import hashlib
import re
import tomllib

import msgspec

from barnabas.gateway.console.bundle import DIST, read_manifest
from tests.support.processes import ROOT

SOURCES = ROOT / "console"
_NAMED = ("build.mjs", "index.html", "package.json", "tsconfig.json")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_bundle_is_of_these_sources() -> None:
    """A change without `make console` would be served by nobody; seen to fail with one character changed."""
    files = [*(SOURCES / name for name in _NAMED), *(path for path in (SOURCES / "src").rglob("*") if path.is_file())]
    named = sorted((path.relative_to(SOURCES).as_posix(), _sha256(path.read_bytes())) for path in files)
    found = _sha256("".join(f"{digest}  {name}\n" for name, digest in named).encode())
    assert read_manifest().sources == found, "console/ has changed since the bundle was built: run `make console`"


def test_bundle_has_exactly_the_files_that_were_built() -> None:
    """None is left over, none was changed by hand."""
    found = {
        path.relative_to(DIST).as_posix(): _sha256(path.read_bytes())
        for path in DIST.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert found == read_manifest().files


def test_asset_names_carry_a_hash_and_the_page_names_them() -> None:
    """They are kept for ever: other content needs another name."""
    assets = read_manifest().assets
    assert set(assets) == {"console.js", "console.css", "icon.svg", "licences.txt"}
    assert all(re.fullmatch(r"[a-z]+-[A-Z0-9]{8}\.[a-z]+", name) for name in assets.values())
    page = (DIST / "index.html").read_text()
    assert sorted(re.findall(r"/assets/([\w.-]+)", page)) == sorted(assets.values())


def test_page_asks_nobody_else_and_has_nothing_inline() -> None:
    """Neither page nor style sheet names another host; the policy would refuse what is inline."""
    page = (DIST / "index.html").read_text()
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", page)
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    style = (DIST / "assets" / read_manifest().assets["console.css"]).read_text()
    assert "url(" not in style
    assert "@import" not in style


def test_libraries_are_pinned_and_their_licences_are_there() -> None:
    """Exact versions instead of a lock file, none of which has dependencies of its own."""
    package = msgspec.json.decode((SOURCES / "package.json").read_bytes())
    pins = {**package["dependencies"], **package["devDependencies"]}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pins.values()), pins
    manifest = read_manifest()
    assert manifest.libraries == package["dependencies"]
    licences = (DIST / "assets" / manifest.assets["licences.txt"]).read_text()
    assert all(f"\n{name} {version}\n" in licences for name, version in manifest.libraries.items())


def test_bundle_is_in_the_package() -> None:
    """The wheel has what setuptools is told of: every file of the bundle."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "barnabas.gateway.console" in told["packages"]
    patterns = told["package-data"]["barnabas.gateway.console"]
    packed = {path for pattern in patterns for path in DIST.parent.glob(pattern) if path.is_file()}
    assert packed == {path for path in DIST.rglob("*") if path.is_file()}
