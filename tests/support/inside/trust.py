"""Trust a root certificate (DER file) on this PC, as an organisation's policy does."""

import json
import pathlib
import sys

if sys.platform != "win32":
    raise SystemExit("runs on Windows")
import win32crypt
import win32cryptcon as con

store = win32crypt.CertOpenStore(
    con.CERT_STORE_PROV_SYSTEM, 0, None, con.CERT_SYSTEM_STORE_CURRENT_USER, "Root"
)
assert store is not None
der = pathlib.Path(sys.argv[1]).read_bytes()
store.CertAddEncodedCertificateToStore(
    con.X509_ASN_ENCODING, der, con.CERT_STORE_ADD_REPLACE_EXISTING
)
store.CertCloseStore()
print(json.dumps(True))
