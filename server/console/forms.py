"""Define the forms of the pages: which fields they have and which errors they show.

Every typed user name is a `NameField` and every typed password a `PasswordField`: both normalise
what people type and paste (`protocol.names`).
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from protocol.names import MAX_NAME_CHARS, is_name, is_password, normalise_name, normalise_password
from server import clock
from server.console import csvfiles, presence
from server.console.audit import Action
from server.console.lockout import in_turn
from server.console.models import Account, Device, User

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

MAX_TYPED = 1024
"""Most characters of a password field: more than the rules allow, so that a rule is the error."""


class NameField(forms.CharField):
    """A user name as typed, normalised."""

    def __init__(self, *, autocomplete: str, **kwargs: Any) -> None:
        attributes = {"autocomplete": autocomplete, "autocapitalize": "none", "spellcheck": "false"}
        widget = forms.TextInput(attrs=attributes)
        super().__init__(label=gettext_lazy("User name"), widget=widget, **kwargs)

    def to_python(self, value: object) -> str:
        """Return the name without full-width letters, invisible characters and outer blanks."""
        return normalise_name(super().to_python(value) or "")


class PasswordField(forms.CharField):
    """A password as typed, normalised; the page never shows it again."""

    def __init__(self, *, label: str | StrPromise, autocomplete: str) -> None:
        attributes = {"autocomplete": autocomplete, "maxlength": MAX_TYPED, "spellcheck": "false"}
        widget = forms.PasswordInput(render_value=False, attrs=attributes)
        super().__init__(label=label, strip=False, max_length=MAX_TYPED, widget=widget)

    def to_python(self, value: object) -> str:
        """Return the password without full-width letters, invisible characters and line ends."""
        return normalise_password(super().to_python(value) or "")


class LoginForm(AuthenticationForm):
    """User name and current password, with the same error for everything that is wrong."""

    username = NameField(autocomplete="username")
    password = PasswordField(label=gettext_lazy("Password"), autocomplete="current-password")

    error_messages = {  # noqa: RUF012 - Django copies it
        "invalid_login": gettext_lazy("The user name or the password is wrong."),
        "inactive": gettext_lazy("The user name or the password is wrong."),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.validators = []  # for a NUL or too many characters, `clean` gives the error
        self.fields["username"].widget.attrs["autofocus"] = True

    def clean(self) -> dict[str, Any]:
        """Check the password, unless no user can have this name or this password."""
        if self.errors:
            return self.cleaned_data
        name = self.cleaned_data["username"]
        if not (is_name(name) and is_password(self.cleaned_data["password"])):
            raise self.get_invalid_login_error()
        with in_turn(name):
            return super().clean()

    def confirm_login_allowed(self, user: User) -> None:
        """Refuse a correct temporary password that has expired."""
        super().confirm_login_allowed(user)
        if user.temporary_until is not None and user.temporary_until <= clock.now():
            raise ValidationError(
                _("This temporary password has ended. Ask an administrator for a new one.")
            )


class NewPasswordForm(forms.Form):
    """A new password, typed twice, for `user`."""

    new_password1 = PasswordField(label=gettext_lazy("New password"), autocomplete="new-password")
    new_password2 = PasswordField(
        label=gettext_lazy("New password (again)"), autocomplete="new-password"
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, second = cleaned.get("new_password1"), cleaned.get("new_password2")
        if first and second and first != second:
            self.add_error("new_password2", _("The two new passwords are not the same."))
        elif first and second and not self.errors:
            try:
                validate_password(first, self.user)
            except ValidationError as error:
                self.add_error("new_password1", error)
        return cleaned


class ForcePasswordForm(NewPasswordForm):
    """The form by which an account administrator sets a new password for a user."""

    must_change = forms.BooleanField(
        label=gettext_lazy("Password change required at next login"),
        required=False,
        initial=True,
        widget=forms.CheckboxInput(attrs={"aria-describedby": "must_change_hint"}),
    )


class CurrentPasswordForm(forms.Form):
    """A form that asks the user who is logged in for the current password."""

    current_password = PasswordField(
        label=gettext_lazy("Current password"), autocomplete="current-password"
    )

    def __init__(self, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(request.POST if request.method == "POST" else None, **kwargs)
        self.request, self.user = request, cast("User", request.user)

    def clean_current_password(self) -> str:
        """Check the password as a login does, so that guesses count towards the lockout."""
        password: str = self.cleaned_data["current_password"]
        name = self.user.get_username()
        with in_turn(name):
            checked = authenticate(self.request, username=name, password=password)
        if checked is None:
            raise ValidationError(_("The current password is wrong."))
        # Keep the verifier that was checked: a later change is then seen as concurrent.
        self.user.password = checked.password
        return password


_NOT_YOURS = gettext_lazy("One of the PCs is not yours. Load the page again.")


class PushLaterForm(CurrentPasswordForm):
    """The current password, and the PCs to push it to."""

    device = forms.TypedMultipleChoiceField(
        label=gettext_lazy("PCs that take the new password"),
        coerce=int,
        error_messages={
            "required": gettext_lazy("Choose at least one PC."),
            "invalid_choice": _NOT_YOURS,
            "invalid": _NOT_YOURS,
        },
    )
    field_order = ("device", "current_password")

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        self._own = {device.pk: device for device in self.user.devices.all()}
        own = [(pk, "") for pk in self._own]
        self.fields["device"].choices = own  # type: ignore[attr-defined]  # a choice field

    @property
    def chosen(self) -> list[Device]:
        """The PCs that the user has chosen."""
        return [self._own[pk] for pk in self.cleaned_data["device"]]


class OwnPasswordForm(CurrentPasswordForm, NewPasswordForm):
    """A user's own change, pushed to the PCs in `push_to`: chosen PCs that wait now.

    After a temporary password, the PCs in `push_late` get the password at their next login.
    """

    push = forms.BooleanField(
        label=gettext_lazy("Apply the password change to “coconowork client”"), required=False
    )
    device = forms.TypedMultipleChoiceField(coerce=int, required=False)
    shown = forms.TypedMultipleChoiceField(coerce=int, required=False)
    late = forms.TypedMultipleChoiceField(coerce=int, required=False)
    field_order = ("current_password", "new_password1", "new_password2", "push")

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request, user=request.user)
        self.pcs = presence.pcs_of(self.user)
        self.waiting = [pc.device for pc in self.pcs if pc.waiting]
        own = [(pc.device.pk, "") for pc in self.pcs]
        for name in ("device", "shown", "late"):
            self.fields[name].choices = own  # type: ignore[attr-defined]  # as above
        if self.user.must_change_password:  # the user has just typed it at the login
            del self.fields["current_password"]
        else:
            del self.fields["late"]
        if self.user.is_administrator:  # the manual offers them no push
            for name in ("push", "device", "shown"):
                del self.fields[name]

    @property
    def chosen(self) -> set[int]:
        """The primary keys of the PCs that the user has chosen for the push."""
        return set(self.cleaned_data.get("device", ())) if self.cleaned_data.get("push") else set()

    @property
    def push_to(self) -> list[Device]:
        """Chosen PCs that wait."""
        return [device for device in self.waiting if device.pk in self.chosen]

    @property
    def gone(self) -> list[Device]:
        """Chosen PCs that do not wait any more."""
        chosen = (pc for pc in self.pcs if pc.device.pk in self.chosen)
        return [pc.device for pc in chosen if not pc.waiting]

    @property
    def come(self) -> list[Device]:
        """PCs that began to wait after the page was made, and are not chosen."""
        if "shown" not in self.fields:
            return []
        known = {*self.cleaned_data.get("shown", ()), *self.chosen}
        return [device for device in self.waiting if device.pk not in known]

    @property
    def push_late(self) -> list[Device]:
        """PCs that get the password at their next login."""
        wanted = self.cleaned_data.get("late", ())
        return [pc.device for pc in self.pcs if pc.device.pk in wanted]

    def push_context(self) -> dict[str, object]:
        """Return the template's context: waiting PCs, ticked PCs (at first all), and a preview."""
        data = self.request.POST
        shown, off = data.getlist("shown"), set(data.getlist("shown")) - set(data.getlist("device"))
        ticked = {device.pk for device in self.waiting if str(device.pk) not in off}
        is_on = bool(self.waiting) and ("push" in data or not shown)
        takes = ticked if is_on and "push" in self.fields else set()
        late = {pc.device.pk for pc in self.pcs if str(pc.device.pk) in data.getlist("late")}
        return {
            "temporary": self.user.must_change_password,
            "waiting": self.waiting,
            "ticked": ticked,
            "push_on": is_on,
            "preview": presence.preview(self.pcs, takes),
            "late": late,
        }

    def clean(self) -> dict[str, Any]:
        forged = [name for name in ("device", "shown", "late") if self.errors.pop(name, None)]
        cleaned = super().clean()
        if forged:
            self.add_error("push" if "push" in self.fields else None, _NOT_YOURS)
        if cleaned.get("push") and not self.errors and not self.push_to:
            if self.chosen:
                message = _(
                    "The client has just stopped waiting, so nothing was changed. Choose "
                    "“Change” again to change the password without applying it to the client."
                )
            else:
                message = _("Choose at least one PC, or switch this off.")
            self.add_error("push", message)
        return cleaned


_username_rule = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9._@-]*\Z",
    gettext_lazy("Use half-width letters, digits and . _ - @, beginning with a letter or digit."),
)


class EditUserForm(forms.Form):
    """The fields of a user that an administrator may change."""

    display_name = forms.CharField(
        label=pgettext_lazy("of a person", "Name"), max_length=150, required=False
    )
    role = forms.ChoiceField(
        label=gettext_lazy("Role"), choices=User.Role.choices, initial=User.Role.GENERAL
    )


class UserForm(EditUserForm):
    """A new user, typed or from a line of a file; `people.py` checks that the name is free."""

    username = NameField(
        autocomplete="off",
        max_length=MAX_NAME_CHARS,
        validators=[_username_rule],
        help_text=gettext_lazy("Half-width letters, digits and . _ - @, up to 64 characters."),
    )
    field_order = ("username",)

    def user_of(self, account: Account) -> User:
        """Return the user that the form describes, not saved and without a password."""
        return User(account=account, **self.cleaned_data)


class ImportForm(forms.Form):
    """A file of users; the cleaned `file` is its lines."""

    file = forms.FileField(
        label=gettext_lazy("CSV file"),
        widget=forms.FileInput(attrs={"accept": ".csv,.txt,text/csv"}),
    )

    def clean_file(self) -> list[csvfiles.Line]:
        return csvfiles.read_users(self.cleaned_data["file"].read())


def _search(label: StrPromise, max_length: int) -> forms.CharField:
    widget = forms.TextInput(attrs={"type": "search", "autocomplete": "off"})
    return forms.CharField(label=label, max_length=max_length, required=False, widget=widget)


def _day(label: StrPromise) -> forms.DateField:
    """Return a field for a day that has a midnight in every time zone."""
    limits = [MinValueValidator(date(1970, 1, 1)), MaxValueValidator(date(2999, 12, 31))]
    widget = forms.DateInput(attrs={"type": "date"})
    return forms.DateField(label=label, required=False, widget=widget, validators=limits)


class UserFilterForm(forms.Form):
    """The filter of the list of users."""

    STATES: ClassVar = [
        ("", gettext_lazy("All")),
        ("waiting", gettext_lazy("Waiting")),
        ("old", gettext_lazy("On an old password")),
        ("temporary", gettext_lazy("Temporary password")),
        ("disabled", gettext_lazy("Disabled")),
    ]
    q = _search(gettext_lazy("User name or name"), 150)
    state = forms.ChoiceField(label=gettext_lazy("State"), choices=STATES, required=False)


class OldPasswordFilterForm(forms.Form):
    """The filter of the PCs on an old password."""

    GROUPS: ClassVar = [
        ("ended", gettext_lazy("no longer valid")),
        ("week", gettext_lazy("7 days left or fewer")),
        ("fortnight", gettext_lazy("8 to 14 days left")),
        ("later", gettext_lazy("15 days left or more")),
    ]
    FAILED: ClassVar = ("failed", gettext_lazy("New password could not be applied"))
    left = forms.ChoiceField(
        label=gettext_lazy("Old password"),
        choices=[("", gettext_lazy("All")), *GROUPS, FAILED],
        required=False,
    )


class UnseenFilterForm(forms.Form):
    """The filter of the PCs that have not been seen for some days."""

    days = forms.IntegerField(
        label=gettext_lazy("Not seen for (days)"), min_value=1, max_value=3650
    )


class AuditFilterForm(forms.Form):
    """The filter of the audit trail; `user` is the user whose page linked to it."""

    user = forms.IntegerField(
        min_value=1, max_value=2**63 - 1, required=False, widget=forms.HiddenInput
    )
    q = _search(gettext_lazy("User name"), 64)
    action = forms.ChoiceField(
        label=gettext_lazy("Action"),
        choices=[("", gettext_lazy("All")), *Action.choices],
        required=False,
    )
    since = _day(gettext_lazy("From"))
    until = _day(gettext_lazy("To"))
