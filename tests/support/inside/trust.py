"""Trust a root certificate (DER file) on this PC, as an organisation's policy does."""

import ctypes
import json
import pathlib
import sys

if sys.platform != "win32":
    raise SystemExit("runs on Windows")

SYSTEM_STORE, CURRENT_USER, X509_ASN, REPLACE = 10, 0x10000, 1, 3
crypt32 = ctypes.WinDLL("crypt32", use_last_error=True)
crypt32.CertOpenStore.restype = ctypes.c_void_p
store = crypt32.CertOpenStore(
    ctypes.c_void_p(SYSTEM_STORE), 0, None, CURRENT_USER, ctypes.c_wchar_p("Root")
)
der = pathlib.Path(sys.argv[1]).read_bytes()
added = crypt32.CertAddEncodedCertificateToStore(
    ctypes.c_void_p(store), X509_ASN, der, len(der), REPLACE, None
)
crypt32.CertCloseStore(ctypes.c_void_p(store), 0)
print(json.dumps(bool(added)))
