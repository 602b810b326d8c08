"""The cases of the manual, in the manual's order. Texts in 「」 are from the manual."""

from __future__ import annotations

from demo.tour.guide import Guide
from demo.tour.person import Person

PUSH = "「coconowork client」にパスワードの変更を反映する"
CHANGED = "パスワードが変更されました。"


def sign_in_at_the_pc(guide: Guide) -> None:
    """Log in at the PC, with a wrong password and with the right one."""
    login = ("login", "--server", guide.gateway, "--user", guide.username)
    wrong = guide.new_password()
    guide.see_command("誤ったパスワードでは保存されない", *login, answer=wrong, done=False)
    guide.see_command("正しいパスワードが保存される", *login, answer=guide.password)
    shown = guide.sign_in()
    guide.see_state("クライアントプログラムが待ち受け状態になる", "standby")
    guide.see_no_warning("警告はない", shown)


def own_password_with_push(guide: Guide) -> None:
    """Change the password with the push on."""
    guide.do("「パスワード変更」を選択し、現在と新しいパスワードを入力して「変更」を選択する")
    person, old = guide.user_at("パスワード変更"), guide.password
    see_switch(guide, person, f"「{PUSH}」は ON", expected=(True, True))
    change(guide, person)
    guide.see_page(f"「{CHANGED}」", person, CHANGED)
    delivered = "新しいパスワードがクライアントプログラムへ自動反映される"
    guide.see_page(delivered, person, "反映済み", within_s=20)
    guide.see_state("待ち受け状態のまま", "standby", days_left=None)
    shown = guide.sign_in()
    guide.see_state("次のサインインでも保存されている新しいパスワードで待ち受ける", "standby")
    guide.see_no_warning("警告はない", shown)
    only_the_new_one_opens(guide, old)


def own_password_without_push(guide: Guide) -> None:
    """Change the password with the push off."""
    person, old = guide.user_at("パスワード変更"), guide.password
    guide.do(f"「{PUSH}」を OFF にして変更する")
    person.switch(PUSH, on=False)
    change(guide, person)
    see_old_password(guide, "古いパスワードのまま正常に待ち受けできる(30日間)")
    expect_warning(guide, 30)
    guide.see_no_warning("同じサインインの間は繰り返さない", guide.restart())
    only_the_new_one_opens(guide, old)


def days_run_down(guide: Guide) -> None:
    """Move the server's clock, and compare the days in each warning."""
    for days in (29, 7, 1, 0):
        guide.days_left_become(days)
        expect_warning(guide, days)


def update_at_the_client(guide: Guide) -> None:
    """Update the stored password, with a wrong one and with the right one."""
    update, wrong = "update-password", guide.new_password()
    guide.see_command("誤ったパスワードは知らされる", update, answer=wrong, done=False)
    guide.see_state("何も変わらない", "standby_old_password")
    guide.see_command("新しいパスワードが保存される", update, answer=guide.password)
    guide.see_state("新しいパスワードで待ち受け状態になる", "standby")
    guide.see_no_warning("更新後は警告がない", guide.sign_in())


def client_not_running(guide: Guide) -> None:
    """Change the password while the client does not run."""
    guide.client.stop()
    person = guide.user_at("パスワード変更")
    see_switch(guide, person, f"「{PUSH}」は OFF のまま変更できません", expected=(False, False))
    change(guide, person)
    guide.see_page(f"「{CHANGED}」", person, CHANGED)
    expect_warning(guide, 30)


def old_password_ends(guide: Guide) -> None:
    """Move the server's clock past the end of the old password."""
    guide.days_left_become(-1)
    guide.see_state("待ち受けを終え、利用者に尋ねる", "needs_password", reason="expired")
    guide.see_no_warning("一度だけ知らせる", guide.restart())
    guide.see_state("無効なパスワードは自動では送らない", "needs_password")
    guide.see_update()


def forced_by_administrator(guide: Guide) -> None:
    """Have the administrator set a password that must be changed."""
    guide.do("「ユーザ管理」から一般ユーザを選択し、新しいパスワードを2カ所に入力する")
    old = guide.password
    told = "「一般ユーザに新しいパスワードを通知し、…パスワードの更新 を指示してください」"
    guide.see_page(told, force(guide, must_change=True), "保存されているパスワード")
    see_old_password(guide, "新しいパスワードは反映されず、30日間は古いパスワードで待ち受ける")
    expect_warning(guide, 30)
    person = guide.user_at()
    guide.see(
        "「仮パスワードのまま初めてログインした場合には、パスワードの変更を求められます」",
        person.text()[:60],
        expected=person.has("新しいパスワード") and not person.has("現在のパスワード"),
    )
    person.open("/")
    asked = person.has("新しいパスワード")
    guide.see("変更するまで他の画面は開けない", person.text()[:40], expected=asked)
    change(guide, person, current=False)
    guide.see_page("この変更はクライアントへ反映される", person, "反映済み", within_s=20)
    guide.see_state("新しいパスワードで待ち受ける", "standby")
    only_the_new_one_opens(guide, old)


def forced_without_must_change(guide: Guide) -> None:
    """Have the administrator set a password that may stay."""
    old = guide.password
    force(guide, must_change=False)
    person = guide.user_at()
    guide.see(
        "「ここで設定するパスワードのまま一般ユーザが利用することを許容します」",
        person.text()[:40],
        expected=not person.has("新しいパスワード"),
    )
    only_the_new_one_opens(guide, old)
    expect_warning(guide, 30)
    updated = "指示どおりに更新すると待ち受け状態になる"
    guide.see_command(updated, "update-password", answer=guide.password)


def administrators_own_password(guide: Guide) -> None:
    """Change the administrator's own password."""
    admin, new = guide.administrator_at("パスワード変更"), guide.new_password()
    guide.see(f"「{PUSH}」はない", admin.text()[:40], expected=not admin.has(PUSH))
    admin.fill({"現在のパスワード": guide.admin_password, **twice(new)})
    admin.press("変更")
    guide.see_page(f"「{CHANGED}」", admin, CHANGED)
    refused = not guide.person().log_in("/login/", guide.administrator, guide.admin_password)
    guide.see("管理機能は新しいパスワードだけを受け付ける", f"拒否={refused}", expected=refused)
    guide.admin_password = new
    guide.administrator_at()


ALL = {
    "接続先PCのクライアントプログラムにサインインし、待ち受け状態にする": sign_in_at_the_pc,
    "一般ユーザが自身のパスワードを変更する場合(反映する: ON)": own_password_with_push,
    "一般ユーザが自身のパスワードを変更する場合(反映する: OFF)": own_password_without_push,
    "残り日数が減り、Windowsサインインする都度、実際の残り日数が通知される": days_run_down,
    "クライアントプログラムに保存されているパスワードを更新する": update_at_the_client,
    "クライアントプログラムが動作していなかった場合": client_not_running,
    "古いパスワードが無効になる": old_password_ends,
    "アカウント管理者が一般ユーザのパスワードを強制変更する場合": forced_by_administrator,
    "強制変更(「次回ログイン時にパスワードの変更が必要」 OFF)": forced_without_must_change,
    "アカウント管理者が自身のパスワードを変更する場合": administrators_own_password,
}
"""Cases by their titles in the manual."""


# --- steps of several cases


def twice(new: str) -> dict[str, str]:
    """Return the values of the two fields for a new password."""
    return dict.fromkeys(("新しいパスワード", "新しいパスワード(確認)"), new)


def change(guide: Guide, person: Person, *, current: bool = True) -> None:
    """Fill in the form of 「パスワード変更」 and press 「変更」."""
    new = guide.new_password()
    person.fill(({"現在のパスワード": guide.password} if current else {}) | twice(new))
    person.press("変更")
    guide.password = new


def force(guide: Guide, *, must_change: bool) -> Person:
    """Change the user's password as the administrator; return that person at the next page."""
    admin = guide.administrator_at("ユーザ管理", guide.username)
    guide.password = guide.new_password()
    admin.fill(twice(guide.password))
    admin.switch("次回ログイン時にパスワードの変更が必要", on=must_change)
    admin.press("パスワードを変更")
    return admin


def see_switch(guide: Guide, person: Person, manual: str, *, expected: tuple[bool, bool]) -> None:
    """Check whether the switch of the push is on, and whether it can be changed."""
    on, changeable = found = person.switch_state(PUSH)
    guide.see(manual, f"on={on}, 変更可={changeable}", expected=found == expected)


def see_old_password(guide: Guide, manual: str) -> None:
    """Check that the client waits with the old password, which has 30 days left."""
    guide.see_state(manual, "standby_old_password", days_left=30)


def expect_warning(guide: Guide, days: int) -> None:
    """Sign in to Windows, and check that exactly one warning with these days is shown."""
    shown = guide.sign_in()
    when = "本日" if days == 0 else f"{days}日後"
    warned = f"サインインすると警告「{when}」が通知される"
    guide.see(warned, " / ".join(shown), expected=[when in each for each in shown] == [True])


def only_the_new_one_opens(guide: Guide, old: str) -> None:
    """Check the manual's last sentence: smartphone and console accept only the new password."""
    app = "スマートフォンのココナワーク アプリ"
    for place, path in ((app, "/app/login/"), ("管理機能", "/login/")):
        refused = not guide.person().log_in(path, guide.username, old)
        accepted = guide.person().log_in(path, guide.username, guide.password)
        guide.see(
            f"「{place}は、新しいパスワードでログインする必要があります」",
            f"古い: {'拒否' if refused else '許可'}, 新しい: {'許可' if accepted else '拒否'}",
            expected=refused and accepted,
        )
