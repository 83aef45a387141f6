"""``doctor`` for tests: the product's own audit, which must find nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from state.audit import audit

if TYPE_CHECKING:
    from tests.support.deployment import Deployment


def assert_audit_clean(deployment: Deployment) -> None:
    """Run the audit over the deployment's topics and what its workers left on disk."""
    report = audit(deployment.bootstrap_servers, deployment.names, data_dir=deployment.folder / "data")
    findings = "\n".join(map(str, report.findings[:20]))
    assert report.is_clean, f"doctor: {report.counts}\n{findings}"
    assert not report.unverifiable, f"doctor cannot verify: {report.unverifiable}"
    assert report.messages >= len({(m.partition, m.offset) for m in deployment.published})
