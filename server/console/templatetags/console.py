"""Provide the filters and tags of the templates."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.forms import BoundField
from django.template import Context
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def moment(at: datetime | None) -> str:
    """Return a point in time to the minute, as a `<time>` element."""
    if at is None:
        return "–"
    local = timezone.localtime(at)
    text = f"{formats.date_format(local, 'DATE_FORMAT')} {local:%H:%M}"
    return format_html('<time datetime="{}">{}</time>', local.isoformat(timespec="minutes"), text)


@register.filter
def day(at: datetime | None) -> str:
    """Return a date, as a `<time>` element."""
    if at is None:
        return "–"
    local = timezone.localtime(at)
    text = formats.date_format(local, "DATE_FORMAT")
    return format_html('<time datetime="{}">{}</time>', f"{local:%Y-%m-%d}", text)


@register.simple_tag
def widget(field: BoundField, described_by: str = "") -> SafeString:
    """Return the field's widget, tied to its help and its errors."""
    ids = [described_by] if described_by else []
    if field.help_text:
        ids.append(f"{field.id_for_label}_help")
    if field.errors:
        ids.append(f"{field.id_for_label}_error")
    attributes: dict[str, str | bool] = {}
    if ids:
        attributes["aria-describedby"] = " ".join(ids)
    if field.errors:
        attributes["aria-invalid"] = "true"
    return field.as_widget(attrs=attributes)


@register.simple_tag(takes_context=True)
def here(context: Context, name: str) -> SafeString:
    """Return the mark of the menu entry `name` on its page and on the pages below it."""
    path, entry = context["request"].path, reverse(name)
    below = "/pcs/" if name == "home" else entry
    if path == entry:
        return SafeString(' aria-current="page"')
    return SafeString(' aria-current="true"') if path.startswith(below) else SafeString()
