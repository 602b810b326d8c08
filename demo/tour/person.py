"""A person at a browser: follow links, fill in fields and press buttons by their texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import mechanicalsoup
from bs4 import BeautifulSoup, Tag


class LostError(Exception):
    """Raised when the page does not have the wanted link, field or button."""


class Person:
    """A person with one browser, which has its own cookies and asks for pages in Japanese."""

    def __init__(self, console: str) -> None:
        self._console = console
        self._browser: Any = mechanicalsoup.StatefulBrowser()
        self._browser.session.headers["Accept-Language"] = "ja"
        self._browser.session.trust_env = False  # ignore proxies in the environment
        self._form: mechanicalsoup.Form | None = None

    def open(self, path: str) -> None:
        """Open a path of the console."""
        self._browser.open(self._console + path)

    def follow(self, *texts: str) -> None:
        """Follow the link with the first text, then the link with the next text, and so on."""
        for text in texts:
            self._browser.open(self._address(text))

    def download(self, text: str) -> str:
        """Return the content of the file that the link with this text downloads."""
        answer = self._browser.session.get(self._address(text))
        return str(answer.content.decode("utf-8-sig"))

    def fill(self, values: Mapping[str, str | BinaryIO]) -> None:
        """Type into the fields with these labels, or choose files for them."""
        for label, value in values.items():
            field = self._field(label)
            self._form_of(field)[str(field["name"])] = value

    def switch(self, label: str, *, on: bool) -> None:
        """Set the switch with this label."""
        field = self._field(label)
        self._form_of(field).set_checkbox({str(field["name"]): on})

    def switch_state(self, label: str) -> tuple[bool, bool]:
        """Return whether the switch is on, and whether it can be changed."""
        field = self._field(label)
        return field.has_attr("checked"), not field.has_attr("disabled")

    def has(self, label: str) -> bool:
        """Return whether the page has a field with this label."""
        return bool(self._named("label", label))

    def press(self, text: str) -> None:
        """Press the button with this text."""
        button = self._first("form button", text)
        self._form_of(button).choose_submit(button)
        self._browser.submit_selected()
        self._form = None

    def log_in(self, path: str, username: str, password: str) -> bool:
        """Try to log in at `path`; return whether this opened another page."""
        self.open(path)
        login_page = self._browser.url
        self.fill({"ユーザ名": username, "パスワード": password})
        self.press("ログイン")
        return bool(self._browser.url != login_page)

    def text(self) -> str:
        """Return the text of the page's main part, on one line."""
        main = self._page.find("main") or self._page
        return " ".join(main.get_text(" ", strip=True).split())

    def reload(self) -> None:
        """Load the same page again."""
        self._browser.refresh()
        self._form = None

    @property
    def _page(self) -> BeautifulSoup:
        page = self._browser.page
        if not isinstance(page, BeautifulSoup):
            raise LostError("not a page")
        return page

    def _named(self, selector: str, text: str) -> list[Tag]:
        """Return the page's elements that begin with this text."""
        found = self._page.select(selector)
        return [tag for tag in found if tag.get_text(strip=True).startswith(text)]

    def _first(self, selector: str, text: str) -> Tag:
        found = self._named(selector, text)
        if not found:
            raise LostError(f"no {selector} {text}: {self.text()[:300]}")
        return found[0]

    def _address(self, text: str) -> str:
        """Return the address of the link with this text."""
        return str(self._browser.absolute_url(str(self._first("a", text)["href"])))

    def _field(self, label: str) -> Tag:
        number = self._first("label", label)["for"]
        [field] = self._page.select(f"#{number}")
        return field

    def _form_of(self, tag: Tag) -> mechanicalsoup.Form:
        parent = tag.find_parent("form")
        if self._form is None or self._form.form is not parent:
            self._form = self._browser.select_form(parent)
        return self._form
