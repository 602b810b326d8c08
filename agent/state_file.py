"""The saved state of one identity, in a file beside the vault; it holds no secret."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from pathlib import Path

import msgspec

from agent.core.credentials import Identity
from agent.core.saved_state import SavedState
from agent.files import read_file, replace_file
from agent.paths import make_private

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024


class StateFile:
    """Keep one JSON file for each identity in `directory`. Calls block; make them off the loop."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, identity: Identity) -> SavedState:
        """Return the saved state, an empty one if the file is missing or broken. Never raise."""
        path = self._path(identity)
        try:
            data = read_file(path, MAX_BYTES)
            # The beginning of a file that is too long is not valid JSON.
            return msgspec.json.decode(data[:MAX_BYTES], type=SavedState)
        except FileNotFoundError:
            pass
        except OSError as exc:
            log.warning("%s cannot be read (%s); going on without it", path, exc.strerror)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            aside = path.with_suffix(".broken")
            log.warning("%s is broken; set aside as %s", path, aside.name)
            with suppress(OSError):
                path.replace(aside)
        return SavedState()

    def save(self, identity: Identity, saved_state: SavedState) -> None:
        """Save the state: replace its file in one step. Raise OSError."""
        make_private(self._directory)
        replace_file(self._path(identity), msgspec.json.encode(saved_state))

    def _path(self, identity: Identity) -> Path:
        name = hashlib.sha256(f"{identity.server}\n{identity.user}".encode()).hexdigest()[:32]
        return self._directory / f"{name}.json"
