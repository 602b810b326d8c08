"""Map addresses to the console's views."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from server.console import problems
from server.console.views import app, imports, lost, new_pc, password, pcs, reports, session, users

urlpatterns: list[URLPattern | URLResolver] = [
    path("", pcs.home, name="home"),
    path("live/pcs/", pcs.live_pcs, name="live-pcs"),
    path("pcs/new/", new_pc.ask, name="new-pc"),
    path("pcs/new/check/", new_pc.check, name="new-pc-check"),
    path("pcs/new/<int:pk>/", new_pc.result, name="new-pc-result"),
    path("live/pcs/new/<int:pk>/", new_pc.result, name="live-new-pc"),
    path("pcs/<int:device_pk>/lost/", lost.lost, name="lost"),
    path("pcs/<int:device_pk>/<slug:action>/", pcs.pc_action, name="pc"),
    path("login/", session.Login.as_view(), name="login"),
    path("logout/", session.logout, name="logout"),
    path("sessions/end/", session.end_others, name="end-sessions"),
    path("language/", session.set_language, name="set-language"),
    path("password/", password.change, name="password"),
    path("password/rules/", password.password_rules, name="password-rules"),
    path("password/end-old/", password.end_old, name="end-old"),
    path("password/changed/<slug:change_id>/", password.changed, name="password-changed"),
    path("password/push/", password.push_later, name="push-later"),
    path("live/push/", password.live_push, name="live-push"),
    path("live/changed/<slug:change_id>/", password.changed, name="live-changed"),
    path("users/", users.user_list, name="users"),
    path("users.csv", users.users_csv, name="users-csv"),
    path("users/new/", users.user_new, name="user-new"),
    path("users/import/", imports.user_import, name="user-import"),
    path("users/import/<int:pk>/", imports.import_job, name="import-job"),
    path("users/import/<int:pk>/passwords/", imports.import_passwords, name="import-passwords"),
    path("live/import/<int:pk>/", imports.import_job, name="live-import"),
    path("users/<int:pk>/", users.user_detail, name="user"),
    path("users/<int:pk>/changed/<slug:change_id>/", users.user_changed, name="user-changed"),
    path("users/<int:pk>/end-old/", password.end_old, name="user-end-old"),
    path("users/<int:pk>/pcs/<int:device_pk>/lost/", lost.lost, name="user-lost"),
    path("users/<int:pk>/pcs/<int:device_pk>/<slug:action>/", pcs.pc_action, name="user-pc"),
    path("users/<int:pk>/edit/", users.user_edit, name="user-edit"),
    path("users/<int:pk>/delete/", users.user_delete, name="user-delete"),
    path("users/<int:pk>/<slug:action>/", users.user_action, name="user-action"),
    path("pcs/unseen/", reports.unseen_pcs, name="unseen-pcs"),
    path("old-passwords/", reports.old_passwords, name="old-passwords"),
    path("old-passwords.csv", reports.old_passwords_csv, name="old-passwords-csv"),
    path("audit.csv", reports.audit_csv, name="audit-csv"),
    path("audit/", reports.audit_trail, name="audit"),
    path("app/", app.app, name="app"),
    path("app/live/", app.app, name="app-live"),
    path("app/push/", password.push_later, name="app-push-later"),
    path("app/new/", new_pc.ask, name="app-new-pc"),
    path("app/new/check/", new_pc.check, name="app-new-pc-check"),
    path("app/new/<int:pk>/", new_pc.result, name="app-new-pc-result"),
    path("app/live/new/<int:pk>/", new_pc.result, name="app-live-new-pc"),
    path("app/login/", app.AppLogin.as_view(), name="app-login"),
    path("app/logout/", app.logout, name="app-logout"),
    path("app/worker.js", app.worker, name="app-worker"),
    path("app/manifest.webmanifest", app.manifest, name="app-manifest"),
]

handler400 = problems.bad_request
handler403 = problems.forbidden
handler404 = problems.not_found
handler500 = problems.server_error
