"""`--scheduler tls://`: certificates of an own authority are needed, and enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_parts import LocalCluster
from drivers import driver, finished

trustme = pytest.importorskip("trustme")


def certificates(folder: Path) -> list[Path]:
    """An authority's certificate, and a certificate of 127.0.0.1 with its key."""
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1", "localhost")
    paths = [folder / name for name in ("ca.pem", "cert.pem", "key.pem")]
    authority.cert_pem.write_to_path(str(paths[0]))
    own.cert_chain_pems[0].write_to_path(str(paths[1]))
    own.private_key_pem.write_to_path(str(paths[2]))
    return paths


@pytest.mark.slow
def test_certificates_are_needed_and_enough(
    tiny: Callable[..., Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    suite, files = tiny(), certificates(tmp_path)
    flags = ["--tls-ca-file", "--tls-cert", "--tls-key"]
    words = [w for pair in zip(flags, map(str, files), strict=True) for w in pair]
    cluster = LocalCluster(tmp_path, *words, protocol="tls")
    try:
        cluster.worker(nanny=False)
        assert cluster.address.startswith("tls://")
        mine = ["--tls-ca", "--tls-cert", "--tls-key"]
        strangers = certificates(tmp_path_factory.mktemp("strangers"))
        for paths, code in ((strangers, 2), (files, 0)):
            given = [w for pair in zip(mine, map(str, paths), strict=True) for w in pair]
            process = driver(suite, "--scheduler", cluster.address, "--out", "run", *given)
            out, error = process.communicate(timeout=200)
            assert process.returncode == code, out + error + cluster.log()
        assert len(finished(suite.parent / "run")) == 3
    finally:
        cluster.close()
