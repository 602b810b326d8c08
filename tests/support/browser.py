"""A browser on a server process: real forms over real HTTP."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import mechanicalsoup

REQUEST_S = 60


class Browser:
    """`with Browser(server.console) as browser`; pages are in English."""

    def __init__(self, console: str) -> None:
        self.console = console
        self._browser: Any = mechanicalsoup.StatefulBrowser()
        self._browser.session.headers["Accept-Language"] = "en"
        self._browser.session.trust_env = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._browser.close()

    def get(self, path: str, **headers: str) -> Any:
        """The answer to a plain request, as `requests` gives it."""
        return self._browser.session.get(
            self.console + path, headers=headers, timeout=REQUEST_S, allow_redirects=False
        )

    def open(self, path: str) -> Any:
        """Go to a page; the answer after redirects."""
        return self._browser.open(self.console + path, timeout=REQUEST_S)

    def send(self, path: str, **fields: Any) -> Any:
        """Open a page, fill in its form and send it; the answer after redirects."""
        opened = self.open(path)
        assert opened.status_code == 200, (path, opened.status_code)
        return self.submit(**fields)

    def close(self) -> None:
        """Close the browser."""
        self._browser.close()

    def submit(self, *, follow: bool = True, **fields: Any) -> Any:
        """Fill in the form of the page that is open, and send it; `follow` redirects."""
        which = f":has([name={next(iter(fields))}])" if fields else ""
        form = self._browser.select_form(f"main form{which}")
        for name, value in fields.items():
            form.set(name, value)
        return self._browser.submit_selected(timeout=REQUEST_S, allow_redirects=follow)

    def log_in(self, username: str, password: str, *, path: str = "/login/") -> bool:
        """Whether that opened the console."""
        answer = self.send(path, username=username, password=password)
        return not str(answer.url).endswith(path)

    def change_password(self, current: str, new: str) -> Any:
        """「パスワード変更」, with the push to whoever waits; the answer."""
        return self.send(
            "/password/", current_password=current, new_password1=new, new_password2=new
        )
