"""Find users by names as people type them: in any case, width or Unicode form, with any blanks."""

from __future__ import annotations

import unicodedata
from typing import Any

from django.db import models
from django.db.models import Q

MAX_CHARS = 300
"""Most characters of a search text: an index row of PostgreSQL has at most 2,700 bytes."""


def fold(text: str) -> str:
    """Return `text` for comparison: without case, width, blanks and invisible characters."""
    visible = "".join(char for char in text if unicodedata.category(char) != "Cf")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    return "".join(folded.split())


def contains(field: str, typed: str) -> Q:
    """Return the condition that a folded `field` contains each of the typed words."""
    words = [fold(word) for word in unicodedata.normalize("NFKC", typed).split()]
    return Q(*(Q(**{f"{field}__contains": word}) for word in words))


def text_of(user: Any) -> str:
    """Return a user's search text: the folded user name and name."""
    return f"{fold(user.username)} {fold(user.display_name)}"[:MAX_CHARS]


class SearchField(models.CharField):  # type: ignore[type-arg]  # not subscriptable at run time
    """A column with `text_of` a user, updated when the user is saved, also by `bulk_create`."""

    def pre_save(self, model_instance: models.Model, add: bool) -> str:  # noqa: FBT001, ARG002 - Django's
        return text_of(model_instance)
