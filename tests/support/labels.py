"""What the pages call things, for tests that follow the manual word by word."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Labels:
    """The Japanese ones are the manual's."""

    language: str
    username: str
    password: str
    log_in: str
    password_change: str
    current_password: str
    new_password: str
    push: str
    change: str
    changed: str
    user_management: str
    must_change: str
    force: str
    rules: str
    waiting: str
    applied: str
    not_applied: str
    old_password: str
    days_left_30: str
    refused: str
    other_language: str


JA = Labels(
    language="ja",
    username="ユーザ名",
    password="パスワード",
    log_in="ログイン",
    password_change="パスワード変更",
    current_password="現在のパスワード",
    new_password="新しいパスワード",
    push="「coconowork client」にパスワードの変更を反映する",
    change="変更",
    changed="パスワードが変更されました。",
    user_management="ユーザ管理",
    must_change="次回ログイン時にパスワードの変更が必要",
    force="パスワードを変更",
    rules="ココナワークのパスワードの条件",
    waiting="待ち受け中",
    applied="反映済み",
    not_applied="反映していません",
    old_password="古いパスワード",
    days_left_30="残り 30 日",
    refused="ユーザ名またはパスワードが正しくありません。",
    other_language="English",
)
EN = Labels(
    language="en",
    username="User name",
    password="Password",
    log_in="Log in",
    password_change="Password change",
    current_password="Current password",
    new_password="New password",
    push="Apply the password change to “coconowork client”",
    change="Change",
    changed="The password was changed.",
    user_management="User management",
    must_change="Password change required at next login",
    force="Change password",
    rules="Rules for coconowork passwords",
    waiting="Waiting",
    applied="Applied",
    not_applied="Not applied",
    old_password="Old password",
    days_left_30="30 days left",
    refused="The user name or the password is wrong.",
    other_language="日本語",
)
