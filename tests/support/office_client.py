"""The real client as on an office PC: it logs in at proxies with an account of Windows.

`python -m tests.support.office_client USER PASSWORD`. Windows makes the tokens with SSPI; here the
library pyspnego does, which speaks the same protocols.
"""

from __future__ import annotations

import sys
from functools import partial
from unittest import mock

import spnego

from agent import proxy_login
from agent.__main__ import main
from agent.proxy_login import LogIn


def account(user: str, password: str, scheme: str, host: str) -> LogIn:
    """Return a login of this account, in place of `windows_login`."""
    context = spnego.client(user, password, host, "HTTP", protocol=scheme.lower())
    return lambda challenge: context.step(challenge or None) or b""


if __name__ == "__main__":
    login = partial(account, *sys.argv[1:3])
    open_tunnel = partial(proxy_login.open_tunnel, new_login=login)
    mock.patch.object(proxy_login, "open_tunnel", open_tunnel).start()
    sys.exit(main(["run", "--autostart"]))
