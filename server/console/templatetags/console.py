"""Filters and tags for the templates."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.template import Context
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from server import clock
from server.console import audit, presence
from server.console.models import Device

register = template.Library()
register.filter(audit.action_text)
register.filter(audit.detail_text)
register.filter("failure", audit.failure_text)
register.filter("days_left", presence.days_left_text)


@register.filter
def is_past(at: datetime) -> bool:
    """Return whether a point in time has passed."""
    return at <= clock.now()


@register.filter
def moment(at: datetime | None) -> str:
    """Return a time to the minute, as a `<time>` element."""
    return _time(at, " %H:%M", "%Y-%m-%dT%H:%M%z")


@register.filter
def away(device: Device) -> str:
    """Return why a PC does not wait, and since when: a time, with the date if it was not today."""
    local = timezone.localtime(device.last_seen_at)
    is_today = local.date() == timezone.localtime(clock.now()).date()
    since = local.strftime("%H:%M") if is_today else moment(device.last_seen_at)
    return format_html(presence.away_text(device.farewell), since=since)


@register.filter
def day(at: datetime | None) -> str:
    """Return a date, as a `<time>` element."""
    return _time(at, "", "%Y-%m-%d")


def _time(at: datetime | None, after_date: str, machine: str) -> str:
    if at is None:
        return "–"
    local = timezone.localtime(at)
    text = formats.date_format(local, "DATE_FORMAT") + local.strftime(after_date)
    return format_html('<time datetime="{}">{}</time>', local.strftime(machine), text)


@register.simple_tag(takes_context=True)
def here(context: Context, name: str) -> SafeString:
    """Return the `aria-current` mark of the menu entry `name` for the current page, or nothing."""
    path, entry = context["request"].path, reverse(name)
    below = "/pcs/" if name == "home" else entry
    if path == entry:
        return SafeString(' aria-current="page"')
    return SafeString(' aria-current="true"') if path.startswith(below) else SafeString()
