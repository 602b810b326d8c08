; Texts of the setup program, in Japanese and English.

!macro Say NAME JAPANESE ENGLISH
  LangString ${NAME} ${LANG_JAPANESE} "${JAPANESE}"
  LangString ${NAME} ${LANG_ENGLISH} "${ENGLISH}"
!macroend
!define Say "!insertmacro Say"

${Say} T_WELCOME \
  "このPCに ${NAME} ${VERSION} をインストールします。$\r$\n$\r$\n${NAME} は、スマートフォンのココナワーク アプリからこのPCへ接続できるように、通知領域で待ち受けるプログラムです。$\r$\n$\r$\n実行中の ${NAME} は自動的に終了し、インストール後に再開できます。" \
  "This installs ${NAME} ${VERSION} on this PC.$\r$\n$\r$\n${NAME} waits in the notification area so that you can reach this PC with the coconowork app on your smartphone.$\r$\n$\r$\nIf ${NAME} is running, it is closed, and can be started again afterwards."
${Say} T_SERVER_TITLE "ココナワークサーバ" "Coconowork server"
${Say} T_SERVER_SUBTITLE "接続するサーバと起動方法を指定します。" \
  "Which server to connect to, and when to start."
${Say} T_SERVER_HELP \
  "管理者から知らされたサーバのアドレスを入力してください。不明な場合は空欄のまま進み、最初の起動時に入力できます。" \
  "Enter the server address that your administrator gave you. If you do not know it, leave this empty: you are asked when the program first starts."
${Say} T_SERVER_LABEL "サーバのアドレス(&A):" "Server &address:"
${Say} T_SERVER_EXAMPLE "例: gw.example.com   gw.example.com:8443" \
  "Examples: gw.example.com   gw.example.com:8443"
${Say} T_AUTOSTART "Windowsへのサインイン時に自動的に起動する(&S)" "&Start at Windows sign-in"
${Say} T_SERVER_BAD \
  "このサーバのアドレスは使用できません。gw.example.com や gw.example.com:8443 のように入力してください。" \
  "This server address cannot be used. Enter one such as gw.example.com or gw.example.com:8443."
${Say} T_FINISH \
  "${NAME} のインストールが完了しました。$\r$\n$\r$\n起動すると、画面右下の通知領域にアイコンが表示されます。見えない場合は「∧」を選択し、アイコンをタスクバーへドラッグしてください。" \
  "${NAME} has been installed.$\r$\n$\r$\nIts icon appears in the notification area at the bottom right of the screen. If you do not see it, choose the arrow there and drag the icon to the task bar."
${Say} T_RUN "${NAME} を起動する" "Start ${NAME}"
${Say} T_BUSY \
  "実行中の ${NAME} が終了しません。通知領域のアイコンから終了して、再試行してください。" \
  "${NAME} is running and does not quit. Quit it from its icon in the notification area, then retry."
${Say} T_NEWER \
  "より新しいバージョン $Before がインストールされています。以前のバージョンへ戻す場合は /FORCE を付けて実行してください。" \
  "The newer version $Before is installed. To go back to an older one, start this with /FORCE."
${Say} T_RIGHTS \
  "すべてのユーザが対象の場合は、管理者の権限が必要です。" \
  "Installing or removing it for all users needs administrator rights."
${Say} T_FOR_ALL \
  "このPCには、すべてのユーザ用の ${NAME} がインストールされています。更新する場合は /ALLUSERS を付けて実行してください。" \
  "${NAME} is installed for all users of this PC. To upgrade it, start this with /ALLUSERS."
${Say} T_MANAGED \
  "このPCの ${NAME} は管理者が MSI で管理しています。管理者に相談してください。" \
  "${NAME} on this PC is managed by your administrator with the MSI. Ask your administrator."
${Say} T_OLD_WINDOWS \
  "64ビット版の Windows 10 以降が必要です。" \
  "64-bit Windows 10 or later is needed."
${Say} T_TWICE "セットアップはすでに実行中です。" "Setup is running already."
${Say} T_FILES \
  "ファイルを書き込めませんでした。ディスクの空き容量と権限を確認してください。" \
  "The files could not be written. Check the free disk space and your rights."
${Say} T_ARGUMENT "使用できないオプションです: $Word" "This option cannot be used: $Word"
; 「アンインストール」 is wider than the button.
${Say} T_REMOVE "削除(&U)" "&Uninstall"
${Say} T_FORGET \
  "このユーザに保存されているパスワードと設定も削除しますか?" \
  "Remove this user's stored password and settings as well?"
${Say} T_REMOVE_PAGE \
  "${NAME} をこのPCから削除します。続けるには [削除] を選択してください。" \
  "This removes ${NAME} from this PC. Choose Uninstall to continue."
