"""Find users as people type their names: in any width, kana or Unicode form, with any blanks."""

from __future__ import annotations

import unicodedata
from typing import Any

from django.db import models
from django.db.models import Q

MAX_CHARS = 300
"""Kept of names, so that the rows of an index stay below PostgreSQL's limit of 2,700 bytes."""


def fold(text: str) -> str:
    """Return `text` as names are compared: without case, width, blanks, invisible characters."""
    visible = "".join(char for char in text if unicodedata.category(char) != "Cf")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    return "".join(folded.split())


def contains(field: str, typed: str) -> Q:
    """Return the condition that a folded `field` has each of the typed words."""
    words = [fold(word) for word in unicodedata.normalize("NFKC", typed).split()]
    return Q(*(Q(**{f"{field}__contains": word}) for word in words))


def text_of(user: Any) -> str:
    """Return what a search of users reads: the folded user name and name."""
    return f"{fold(user.username)} {fold(user.display_name)}"[:MAX_CHARS]


class SearchField(models.CharField):  # type: ignore[type-arg]  # not subscriptable at run time
    """Holds `text_of` a user, set whenever the user is saved, also by `bulk_create`."""

    def pre_save(self, model_instance: models.Model, add: bool) -> str:  # noqa: FBT001, ARG002 - Django's
        return text_of(model_instance)
