"""Sign .exe and .msi files in place: `python -m installer.sign FILE…`.

Two environment variables name the certificate and its key. Without them a test certificate is
made and used:

    COCONOWORK_SIGN_CERT       PEM file: the certificate, then the intermediate certificates
    COCONOWORK_SIGN_KEY        PEM file with its key, or a PKCS#11 address (pkcs11:…)
    COCONOWORK_SIGN_PASSFILE   file with the key's pass phrase, where it has one
    COCONOWORK_SIGN_TIMESTAMP  address of an RFC 3161 time stamping service
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from installer import BuildError
from installer.freeze import source_date
from installer.winpy.assemble import BUILD

TEST_DIR = BUILD / "test-signing"
_OPENSSL = """
[req]
distinguished_name=none
[none]
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
[signer]
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=codeSigning
"""


def _certify(kind: str, subject: str, out: str, *issuer: str) -> None:
    command = ["openssl", "req", "-x509", "-config", "openssl.cnf", "-extensions", kind, *issuer]
    command += ["-newkey", "rsa:3072", "-nodes", "-days", "3650", "-subj", subject]
    command += ["-keyout", f"{kind}.key", "-out", out]
    subprocess.run(command, check=True, capture_output=True, cwd=TEST_DIR)


def test_certificate() -> Path:
    """Return the folder with an untrusted `ca.pem`, `signer.pem` and `signer.key`, made once."""
    TEST_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (TEST_DIR / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (TEST_DIR / "signer.pem").exists():
            (TEST_DIR / "openssl.cnf").write_text(_OPENSSL)
            _certify("ca", "/CN=Coconowork test CA", "ca.pem")
            by_ca = ["-CA", "ca.pem", "-CAkey", "ca.key"]
            _certify("signer", "/O=Coconowork/CN=Coconowork test signing", "signer.part", *by_ca)
            (TEST_DIR / "signer.part").rename(TEST_DIR / "signer.pem")
    return TEST_DIR


def sign(path: Path) -> None:
    """Sign one file in place. Raise BuildError."""
    certificate = os.environ.get("COCONOWORK_SIGN_CERT")
    key = os.environ.get("COCONOWORK_SIGN_KEY")
    if bool(certificate) != bool(key):
        raise BuildError("Set both COCONOWORK_SIGN_CERT and COCONOWORK_SIGN_KEY, or neither.")
    extra: list[str] = []
    if not certificate or not key:
        folder = test_certificate()
        certificate, key = str(folder / "signer.pem"), str(folder / "signer.key")
    elif passfile := os.environ.get("COCONOWORK_SIGN_PASSFILE"):
        extra += ["-readpass", passfile]
    if stamp := os.environ.get("COCONOWORK_SIGN_TIMESTAMP"):
        extra += ["-ts", stamp]
    else:
        # The time of signing would make each build differ.
        extra += ["-time", str(source_date())]
    signed = path.with_name(f"{path.name}.signed")
    command = ["osslsigncode", "sign", "-certs", certificate, "-key", key, "-h", "sha256"]
    command += ["-n", "coconowork client", *extra, "-in", str(path), "-out", str(signed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        signed.unlink(missing_ok=True)
        raise BuildError(f"osslsigncode: {path.name}: {(done.stdout + done.stderr).strip()}")
    shutil.copymode(path, signed)
    signed.replace(path)


def main() -> int:
    """Sign the files on the command line, and return exit status 1 when one could not be signed."""
    try:
        for name in sys.argv[1:]:
            sign(Path(name))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
