"""The keyring on Windows: generic credentials of the Credential Manager, by its own functions."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import ctypes
from ctypes import wintypes

CRED_TYPE_GENERIC = 1
CRED_PERSIST_LOCAL_MACHINE = 2
"""Stays on this PC; what roams with the profile would turn up on others."""
ERROR_NOT_FOUND = 1168


class _Credential(ctypes.Structure):
    """CREDENTIALW."""

    _fields_ = (
        ("Flags", wintypes.DWORD),
        ("Type", wintypes.DWORD),
        ("TargetName", wintypes.LPWSTR),
        ("Comment", wintypes.LPWSTR),
        ("LastWritten", wintypes.FILETIME),
        ("CredentialBlobSize", wintypes.DWORD),
        ("CredentialBlob", ctypes.c_void_p),
        ("Persist", wintypes.DWORD),
        ("AttributeCount", wintypes.DWORD),
        ("Attributes", ctypes.c_void_p),
        ("TargetAlias", wintypes.LPWSTR),
        ("UserName", wintypes.LPWSTR),
    )


_Pointer = ctypes.POINTER(_Credential)
_advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
_advapi32.CredReadW.argtypes = (
    wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD, ctypes.POINTER(_Pointer),
)  # fmt: skip
_advapi32.CredWriteW.argtypes = (_Pointer, wintypes.DWORD)
_advapi32.CredDeleteW.argtypes = (wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD)
_advapi32.CredFree.argtypes = (ctypes.c_void_p,)
_advapi32.CredFree.restype = None


class CredentialManager:
    """Entries as Python's keyring library writes them. Raises OSError with Windows' number."""

    def get_password(self, service: str, user: str) -> str | None:
        """Raise UnicodeDecodeError when the entry is no text."""
        self._delete(f"{user}@{service}")
        found = _Pointer()
        if not _advapi32.CredReadW(service, CRED_TYPE_GENERIC, 0, ctypes.byref(found)):
            _raise_unless_not_found()
            return None
        try:
            credential = found.contents
            if credential.UserName != user:
                return None
            size = credential.CredentialBlobSize
            blob = ctypes.string_at(credential.CredentialBlob, size) if size else b""
        finally:
            _advapi32.CredFree(found)
        return blob.decode("utf-16-le")

    def set_password(self, service: str, user: str, password: str) -> None:
        blob = password.encode("utf-16-le", "surrogatepass")
        credential = _Credential(
            Type=CRED_TYPE_GENERIC,
            TargetName=service,
            CredentialBlobSize=len(blob),
            CredentialBlob=ctypes.cast(blob, ctypes.c_void_p),
            Persist=CRED_PERSIST_LOCAL_MACHINE,
            UserName=user,
        )
        if not _advapi32.CredWriteW(ctypes.byref(credential), 0):
            raise ctypes.WinError(ctypes.get_last_error())

    def delete_password(self, service: str, user: str) -> None:
        """Nothing where there is none."""
        self._delete(f"{user}@{service}")
        self._delete(service)

    @staticmethod
    def _delete(target: str) -> None:
        # Earlier releases used a library that leaves the password before under `user@service`.
        if not _advapi32.CredDeleteW(target, CRED_TYPE_GENERIC, 0):
            _raise_unless_not_found()


def _raise_unless_not_found() -> None:
    number = ctypes.get_last_error()
    if number != ERROR_NOT_FOUND:
        raise ctypes.WinError(number)
