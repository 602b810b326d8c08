"""A browser without scripts, for the console of a server process: real forms over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import mechanicalsoup

from tests.support.polling import eventually

REQUEST_S = 150


class Browser:
    """A browser: `with Browser(server.console) as browser`; pages are in English."""

    def __init__(self, console: str, *, authority: Path | None = None) -> None:
        """Make a browser that trusts the certificate authority in the file `authority`."""
        self.console = console
        self._browser: Any = mechanicalsoup.StatefulBrowser()
        self.headers: Any = self._browser.session.headers
        """Headers of each request."""
        self.headers["Accept-Language"] = "en"
        self._browser.session.trust_env = False
        if authority is not None:
            self._browser.session.verify = str(authority)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._browser.close()

    def get(self, path: str, **headers: str) -> Any:
        """Return the response of `requests` to a GET, without following redirects."""
        return self._browser.session.get(
            self.console + path, headers=headers, timeout=REQUEST_S, allow_redirects=False
        )

    def open(self, path: str) -> Any:
        """Open a page. Return the response after redirects."""
        return self._browser.open(self.console + path, timeout=REQUEST_S)

    def send(self, path: str, **fields: Any) -> Any:
        """Open a page, fill in its form and send it. Return the response after redirects."""
        opened = self.open(path)
        assert opened.status_code == 200, (path, opened.status_code)
        return self.submit(**fields)

    def set_cookie(self, name: str, value: str) -> None:
        """Send this cookie from now on."""
        self._browser.session.cookies.set(name, value)

    def submit(self, *, follow: bool = True, which: str = "", **fields: Any) -> Any:
        """Fill in a form of the open page and send it; `which` is a CSS selector of the form."""
        which = which or ("main form" + (f":has([name={next(iter(fields))}])" if fields else ""))
        form = self._browser.select_form(which)
        for name, value in fields.items():
            form.set(name, value)
        return self._browser.submit_selected(timeout=REQUEST_S, allow_redirects=follow)

    def log_in(self, username: str, password: str, *, path: str = "/login/") -> bool:
        """Log in. Return whether the console opened."""
        answer = self.send(path, username=username, password=password)
        return not str(answer.url).endswith(path)

    def change_password(self, current: str, new: str, **switches: bool) -> Any:
        """Change the password, with the push to waiting PCs unless `push=False`."""
        fields = {"current_password": current, "new_password1": new, "new_password2": new}
        answer = self.send("/password/", **fields, **switches)
        assert "/password/changed/" in answer.url, answer.text
        assert "The password was changed." in answer.text
        return answer

    def wait_for_text(self, text: str, *, within_s: float = 60) -> None:
        """Reload the page until it has this text."""

        def has_it() -> bool:
            self._browser.refresh()
            return text in self._browser.page.get_text()

        eventually(has_it, within_s=within_s, pause_s=0.3, or_say=self._text)

    def _text(self) -> str:
        return str(self._browser.page.get_text(" ", strip=True))
