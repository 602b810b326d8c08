"""A gateway that knows one password, and a certificate authority, for tests of the client."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from scramp import ScramException, ScramMechanism
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from protocol import messages as msg

PASSWORD, WRONG = "Passw0rd!", "Wrong-000"
_mechanism = ScramMechanism("SCRAM-SHA-256")


@functools.cache
def verifier() -> tuple[bytes, bytes, bytes, int]:
    made = _mechanism.make_auth_info(
        PASSWORD, iteration_count=msg.MIN_ITERATIONS, salt=b"a salt for tests"
    )
    return (made[0], made[1], made[2], made[3])


@dataclass
class Gateway:
    """A server that knows one password; `answer` replaces what it says to a right one."""

    answer: Callable[[str], msg.ServerMessage] | None = None
    refuse: msg.Rejected | None = None
    logins: list[str] = field(default_factory=list)
    notices: list[msg.Notice] = field(default_factory=list)
    port: int = 0

    async def talk(self, connection: ServerConnection) -> None:
        async for data in connection:
            hello = msg.decode_from_client(str(data).encode())
            if isinstance(hello, msg.Notice):
                self.notices.append(hello)
                continue
            assert isinstance(hello, msg.Hello)
            self.logins.append(hello.device.id)
            scram = _mechanism.make_server(lambda _: verifier())
            scram.set_client_first(hello.scram)
            await connection.send(
                msg.encode(msg.Challenge(scram=scram.get_server_first())), text=True
            )
            proof = msg.decode_from_client(str(await connection.recv()).encode())
            assert isinstance(proof, msg.Proof)
            reply: msg.ServerMessage
            try:
                scram.set_client_final(proof.scram)
                reply = self.refuse or (self.answer or welcome)(scram.get_server_final())
            except ScramException:
                reply = msg.Rejected(reason="credentials")
            await connection.send(msg.encode(reply), text=True)


def welcome(scram: str) -> msg.ServerMessage:
    return msg.Welcome(scram=scram, password="current", server_time=datetime.now(UTC))


@asynccontextmanager
async def running(
    gateway: Gateway,
    *,
    tls: ssl.SSLContext | None = None,
    process: Callable[[ServerConnection, Request], Response | None] | None = None,
    port: int = 0,
) -> AsyncIterator[str]:
    """The gateway's address, on a free port unless one is named."""
    async with serve(
        gateway.talk,
        "127.0.0.1",
        port,
        ssl=tls,
        process_request=process,
        subprotocols=[msg.SUBPROTOCOL],  # type: ignore[list-item] # a NewType over str
    ) as server:
        gateway.port = next(iter(server.sockets)).getsockname()[1]
        yield f"{'wss' if tls else 'ws'}://127.0.0.1:{gateway.port}/gateway"


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the tests' own; `file` is its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    file: Path

    def context(
        self, *, name: str = "127.0.0.1", days: tuple[int, int] = (-1, 30)
    ) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        made = make_certificate(name, key, self.certificate.subject, self.key, days)
        file = self.file.with_name("server.pem")
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def make_certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name | None,
    signer: ec.EllipticCurvePrivateKey,
    days: tuple[int, int],
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        alternative: x509.GeneralName = (
            x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        )
        builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
    return builder.sign(signer, hashes.SHA256())
