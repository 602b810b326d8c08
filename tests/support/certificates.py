"""Certificates and authorities for tests, made by trustme."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


class Authority:
    """A certificate authority. `file` has the authority's certificate in PEM, for clients."""

    def __init__(self, folder: Path, *, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> None:
        """Make an authority, and write its files to `folder`, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "authority.pem"
        self._key_type = key_type
        self._authority = trustme.CA(key_type=key_type)
        self._authority.cert_pem.write_to_path(self.file)

    @property
    def der(self) -> Path:
        """Return a file with the authority's certificate in DER, as Windows imports it."""
        file = self.file.with_suffix(".der")
        file.write_bytes(ssl.PEM_cert_to_DER_cert(self.file.read_text("ascii")))
        return file

    def issue(self, name: str = "127.0.0.1", *, days: tuple[int, int] = (-1, 30)) -> Path:
        """Return a file with a server's key and certificate; `days` from now limit the validity."""
        now = datetime.now(UTC)
        made = self._authority.issue_cert(
            name,
            key_type=self._key_type,
            not_before=now + timedelta(days=days[0]),
            not_after=now + timedelta(days=days[1]),
        )
        file = self.file.with_name("server.pem")
        made.private_key_and_cert_chain_pem.write_to_path(file)
        return file

    def context(
        self, name: str = "127.0.0.1", *, days: tuple[int, int] = (-1, 30)
    ) -> ssl.SSLContext:
        """Return a server's TLS context with a certificate as `issue` makes it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue(name, days=days))
        return context

    def trust(self) -> ssl.SSLContext:
        """Return a client's TLS context that trusts only this authority."""
        return ssl.create_default_context(cafile=self.file)
