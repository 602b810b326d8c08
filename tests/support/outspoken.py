"""Run the real client, wrapped so that it prints its messages to its windows.

`python -m tests.support.outspoken` ignores its arguments. The product has no such hook; this module
wraps the client.
"""

from __future__ import annotations

import sys
from unittest import mock

from agent.__main__ import main
from agent.dialogs.messages import FromClient, encode
from agent.dialogs.process import WindowProcess

if __name__ == "__main__":
    send = WindowProcess.send

    def send_and_print(self: WindowProcess, message: FromClient) -> None:
        print(encode(message).decode().strip(), flush=True)
        send(self, message)

    mock.patch.object(WindowProcess, "send", send_and_print).start()
    sys.exit(main(["run"]))
