"""Cases that are not in the manual: an unattended, a lost and a new PC, and users who leave."""

from __future__ import annotations

import io

from demo.installation import Sample
from demo.terminal import at_terminal
from demo.tour.cases import PUSH, change, see_old_password
from demo.tour.guide import Guide
from demo.tour.person import Person


def push_later(guide: Guide) -> None:
    """Change the password without a push, and push it later from the smartphone."""
    person = guide.user_at("パスワード変更")
    takes = "すぐに新しいパスワードを受け取る"
    guide.see_page("「変更」の前に、PCごとの結果が表示される", person, takes)
    person.switch(PUSH, on=False)
    change(guide, person)
    see_old_password(guide, "反映しなかったので、古いパスワードのまま待ち受ける")
    guide.do("外出先で、スマートフォンのページを開く")
    phone = guide.person()
    phone.log_in("/app/login/", guide.username, guide.password)
    guide.see_page("残り日数が表示される", phone, "残り30日")
    push_from_the_page(guide, phone)
    guide.see_state("PCを操作せずに、新しいパスワードで待ち受ける", "standby")
    phone.reload()
    gone = "古いパスワード" not in phone.text()
    guide.see("スマートフォンのページにも反映される", phone.text(), expected=gone)


def push_to_a_sleeping_pc(guide: Guide) -> None:
    """Change the password while the PC is off, and push it for its next login."""
    guide.client.stop()
    person = guide.user_at("パスワード変更")
    change(guide, person)
    push_from_the_page(guide, person)
    waits = "次回ログイン時に新しいパスワードを受け取ります"
    guide.see_page("次回ログイン時に届けられる", person, waits)
    shown = guide.sign_in()
    guide.see_state("起動すると、新しいパスワードを受け取って待ち受ける", "standby")
    told = ["受け取りました" in each for each in shown] == [True]
    guide.see("警告はなく、受け取ったことだけが通知される", shown, expected=told)
    guide.see_page("結果の画面に反映される", person, "反映済み", within_s=20)


def lost_pc(guide: Guide) -> None:
    """Take the steps for a lost PC, and read the record."""
    person = guide.user_at("PCを紛失した")
    opened = person.text().count("実施しない場合:")
    guide.see("4つの手順と、省略した場合の説明が表示される", opened, expected=opened == 4)
    person.follow("切断")
    person.press("切断")
    guide.see_state("PCはただちに切断される", "retrying", reason="blocked")
    person.follow("パスワードを変更")
    change(guide, person)
    person.follow("戻る")
    for step in ("古いパスワードを無効にする", "終了する"):
        person.follow(step)
        person.press(step)
    done = person.text().count("実施済み")
    guide.see("すべての手順が実施済みになる", done, expected=done == 4)
    record = person.text().partition("記録")[2]
    kept = all(word in record for word in ("PCの切断", "パスワードの変更", guide.username))
    guide.see("記録に、操作と実行者と日時が残る", record[-200:], expected=kept)
    guide.do("PCが見つかったので、再び許可する")
    person.open("/")
    person.press("再び許可")
    guide.sign_in()
    guide.see_state("無効にしたパスワードでは待ち受けない", "needs_password")
    guide.see_update()


def rehearsal(guide: Guide) -> None:
    """Go through the last days of an old password, as `make demo DAY=29` does."""
    from demo.rehearsal import BUTTONS, Rehearsal  # needs a server that has been set up

    before = Sample(guide.username, "", guide.password)
    shown = Rehearsal(guide.client, guide.gateway, before)
    guide.password = shown.user.password
    guide.passwords.append(guide.password)
    person, phone = guide.user_at(), guide.person()
    phone.log_in("/app/login/", guide.username, guide.password)
    for text, page in {"7": "残り7日", "0": "本日まで", "31": "古いパスワード(無効)"}.items():
        shown.show(BUTTONS[text])
        left = (guide.client.status() or {}).get("days_left")
        person.open("/")
        phone.open("/app/")
        seen = [left, page in person.text(), page in phone.text()]
        where = "管理機能・スマートフォン・クライアントで同じ日数になる"
        expected = [None if text == "31" else int(text), True, True]
        guide.see(f"{text}: {where}", f"{page}: {seen}", expected=seen == expected)
    guide.see_state("31日目には、パスワードの入力が必要になる", "needs_password")
    guide.see_update()


def users_change(guide: Guide) -> None:
    """Change a user's name, export the list, and import it with another change and a new user."""
    admin = guide.administrator_at("ユーザ管理", guide.username, "名前または役割の変更")
    admin.fill({"名前": "新田 花子"})
    admin.press("保存")
    guide.see_page("名前が変更される", admin, "新田 花子")
    admin.follow("ユーザ管理")
    lines = admin.download("CSV で保存")
    kept = guide.username in lines and "新田 花子" in lines
    guide.see("一覧を CSV で保存できる", lines.splitlines(), expected=kept)
    guide.do("名前を修正し、新しいユーザを加えて、取り込む")
    text = f"ユーザ名,名前\n{guide.username},田中 花子\nsuzuki,鈴木 一郎\n"
    admin.follow("CSV から取り込む")
    file = io.BytesIO(text.encode())
    file.name = "users.csv"
    admin.fill({"CSV ファイル": file})
    admin.press("取り込む")
    ended = ("仮パスワードを開く", "2 作成または変更")
    guide.see_page("取り込みが終わる", admin, *ended, within_s=20)
    admin.follow("ユーザ管理")
    guide.see_page("一覧に反映される", admin, "田中 花子", "suzuki")


def remove_pc(guide: Guide) -> None:
    """Remove a PC from the list; its client comes back as a new PC."""
    guide.client.stop()
    admin = guide.administrator_at("ユーザ管理", guide.username, "削除")
    guide.see_page("「削除」の前に、その後どうなるかが表示される", admin, "新しいPC")
    admin.press("削除")
    guide.see_page("PCが一覧から消える", admin, "まだ接続していません")
    guide.sign_in()
    guide.see_state("クライアントは新しいPCとして待ち受ける", "standby")


def new_pc_by_code(guide: Guide) -> None:
    """Connect a new PC by the code that it shows, without typing a password there."""
    command = ("login", "--code", "--server", guide.gateway)
    guide.do("新しいPCで「coconowork-client login --code」を実行する")
    with at_terminal(guide.new_pc, *command) as terminal:
        code, words = terminal.code()
        shown = f"{code}: {' '.join(words)}"
        guide.see("新しいPCに、コードと4つの言葉が表示される", shown, expected=len(words) == 4)
        person = guide.user_at("新しいPCを追加")
        warning = "伝えられたコードは入力しないでください"
        guide.see_page("伝えられたコードを入力しないように注意がある", person, warning)
        wrong = code[:-1] + ("B" if code[-1] != "B" else "C")
        type_code(person, wrong)
        refused = "このコードを表示しているPCはありません"
        guide.see_page(f"誤ったコード {wrong} は拒否される", person, refused)
        type_code(person, code)
        same = person.text().partition("表示されていますか?")[2].split()[: 2 * len(words) : 2]
        guide.see("管理機能にも、同じ4つの言葉が表示される", " ".join(same), expected=same == words)
        guide.do("現在のパスワードを入力し、「このPCを接続する」を選択する")
        person.fill({"現在のパスワード": guide.password})
        person.press("このPCを接続する")
        question = terminal.says(r"(\S+) \[y/N\] $")[1]
        asks = guide.username in question
        guide.see("新しいPCに、接続するユーザの確認が表示される", question, expected=asks)
        guide.see_page("管理機能はPCの操作を待つ", person, "PCの操作待ち", within_s=20)
        nothing = not guide.new_pc.paths.config_file.exists()
        guide.see("確認の前には何も保存されない", f"設定なし={nothing}", expected=nothing)
        terminal.answer("y")
        stored = terminal.says(r"\] (.*保存しました。)")[1]
        done = terminal.process.wait(20) == 0
        guide.see("「y」と答えると、パスワードが保存される", stored, expected=done)
    guide.see_page("結果の画面に反映される", person, "接続済み", within_s=20)
    guide.new_pc.start()
    guide.see("新しいPCが待ち受け状態になる", guide.new_pc.wait_for("standby")["state"])
    person.open("/")
    listed = person.text().count("待ち受け中")
    rows = person.text().partition("操作 ")[2].partition(" パスワード ")[0]
    guide.see("管理機能の一覧に、2台のPCが表示される", rows, expected=listed == 2)


def delete_user(guide: Guide) -> None:
    """Delete the user, and download the audit trail."""
    admin = guide.administrator_at("ユーザ管理", guide.username, "このユーザを削除する")
    said = ("2台", "監査記録", "元に戻すことはできません")
    guide.see_page("PC、監査記録がどうなるかが先に表示される", admin, *said)
    admin.press("削除")
    guide.see_page("ユーザが削除される", admin, f"{guide.username} を削除しました")
    guide.sign_in()
    guide.see_state("PCは切断され、ログインできない", "needs_password")
    admin.follow("監査記録")
    lines = admin.download("CSV で保存").splitlines()
    kept = all(word in lines[1] for word in ("ユーザの削除", guide.username))
    guide.see("監査記録を CSV で保存でき、名前が残る", lines[1], expected=kept)


ALL = {
    "接続先PCの前にいないとき: 待ち受け状態のPCに後から反映する": push_later,
    "接続先PCの前にいないとき: 動作していなかったPCに届ける": push_to_a_sleeping_pc,
    "PCを紛失した": lost_pc,
    "リハーサル: 古いパスワードの残り日数": rehearsal,
    "ユーザの変更、CSV で保存と取り込み": users_change,
    "今後使わないPCを一覧から削除する": remove_pc,
    "新しいPCをコードで接続する": new_pc_by_code,
    "ユーザを削除し、監査記録を保存する": delete_user,
}
"""Cases by title, in their order: the last one deletes the user that the others need."""


def push_from_the_page(guide: Guide, person: Person) -> None:
    """Push the current password to the PC from a page that has the button."""
    guide.do("「このPCに新しいパスワードを反映する」を選択し、現在のパスワードを入力する")
    person.follow("このPCに新しいパスワードを反映する")
    person.fill({"現在のパスワード": guide.password})
    person.press("反映する")


def type_code(person: Person, code: str) -> None:
    """Type the code of a new PC in the console."""
    person.fill({"新しいPCの画面のコード": code})
    person.press("次へ")
