; The setup program. installer/package.py calls makensis with
;   VERSION   such as 1.2.3
;   OUT       where the setup program goes
;   HERE      this folder
;   ICON      the .ico of all these programs
;   ART       folder with wizard.bmp, and files.nsh: all that PyInstaller made
;   SIGN      command that signs the file named after it
; Command line and exit codes are in docs/admin.md; tests/system/windows/product/test_setup.py holds them to it.

Unicode true
Target amd64-unicode
!ifdef FAST ; for tests that need a second version
  SetCompressor zlib
!else
  SetCompressor /SOLID lzma
!endif
ManifestDPIAware true
ManifestSupportedOS Win10
RequestExecutionLevel user
AllowSkipFiles off
CRCCheck on

!define NAME "coconowork client"
!define EXE "coconowork-client.exe"
!define GUARD "coconowork-guard.exe"
!define FOLDER "Coconowork Client"
!define SETTINGS "Software\Coconowork\Client"
!define POLICIES "Software\Policies\Coconowork\Client"
!define RUN_KEY "Software\Microsoft\Windows\CurrentVersion\Run"
; The key where Windows and the client's menu note that a program of RUN_KEY is switched off.
!define APPROVED_KEY "Software\Microsoft\Windows\CurrentVersion\Explorer\StartupApproved\Run"
!define RUN_VALUE "Coconowork Client"
!define UNINSTALL_KEY "Software\Microsoft\Windows\CurrentVersion\Uninstall\Coconowork Client"
!define USER_FOLDER "coconowork" ; in the user's local application data: settings, state, log

; Windows' own numbers where it has one.
!define EXIT_FILES 1603      ; ERROR_INSTALL_FAILURE
!define EXIT_ARGUMENT 87     ; ERROR_INVALID_PARAMETER
!define EXIT_BUSY 170        ; ERROR_BUSY
!define EXIT_RIGHTS 740      ; ERROR_ELEVATION_REQUIRED
!define EXIT_WINDOWS 1150    ; ERROR_OLD_WIN_VERSION
!define EXIT_TWICE 1618      ; ERROR_INSTALL_ALREADY_RUNNING
!define EXIT_OTHER 1625      ; ERROR_INSTALL_PACKAGE_REJECTED
!define EXIT_NEWER 1638      ; ERROR_PRODUCT_VERSION

Name "${NAME}"
OutFile "${OUT}"
BrandingText "${NAME} ${VERSION}"
InstallDir ""
!uninstfinalize '${SIGN} "%1"'
!finalize '${SIGN} "%1"'

VIProductVersion "${VERSION}.0"
VIAddVersionKey /LANG=0 "ProductName" "${NAME}"
VIAddVersionKey /LANG=0 "ProductVersion" "${VERSION}"
VIAddVersionKey /LANG=0 "FileDescription" "${NAME} setup"
VIAddVersionKey /LANG=0 "FileVersion" "${VERSION}"
VIAddVersionKey /LANG=0 "CompanyName" "Coconowork"
VIAddVersionKey /LANG=0 "LegalCopyright" "Coconowork"

!include MUI2.nsh
!include FileFunc.nsh
!include LogicLib.nsh
!include nsDialogs.nsh
!include WinVer.nsh
!include WordFunc.nsh
!include x64.nsh

Var AllUsers     ; 1: for all users of this PC
Var Server       ; the address for the registry; empty when none was given
Var NoAutostart  ; 1: no entry under Run
Var Force        ; 1: an older version may replace a newer one
Var Start        ; 1: start the client when all is done
Var Forget       ; 1: the stored password and the settings go, too
Var WasRunning   ; 1: the client ran before, and is started again
Var ExitCode     ; of an installation that failed
Var Before       ; the version that is installed already; empty when none
Var ServerField
Var AutostartField

!define MUI_ICON "${ICON}"
!define MUI_UNICON "${ICON}"
!define MUI_WELCOMEFINISHPAGE_BITMAP "${ART}/wizard.bmp"
!define MUI_UNWELCOMEFINISHPAGE_BITMAP "${ART}/wizard.bmp"
!define MUI_ABORTWARNING

!define MUI_WELCOMEPAGE_TEXT "$(T_WELCOME)"
!insertmacro MUI_PAGE_WELCOME
Page custom ServerPage ServerPageLeave
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_INSTFILES
!define MUI_FINISHPAGE_TEXT "$(T_FINISH)"
!define MUI_FINISHPAGE_RUN
!define MUI_FINISHPAGE_RUN_FUNCTION StartClient
!define MUI_FINISHPAGE_RUN_TEXT "$(T_RUN)"
!insertmacro MUI_PAGE_FINISH
!define MUI_UNCONFIRMPAGE_TEXT_TOP "$(T_REMOVE_PAGE)"
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE "English"
!insertmacro MUI_LANGUAGE "Japanese"

!addincludedir "${HERE}"
!include "refuse.nsh"
!include "address.nsh"
!include "arguments.nsh"
!include "strings.nsh"
UninstallButtonText "$(T_REMOVE)"
!include "client.nsh"

; Apply the macro DO to each part of the program. The guard is the last one: see installer/guard.
!macro EachPart DO
  !insertmacro ${DO} "_internal"
  !insertmacro ${DO} "coconowork-client.pkg"
  !insertmacro ${DO} "coconowork-client.com"
  !insertmacro ${DO} "${EXE}"
  !insertmacro ${DO} "${GUARD}"
!macroend
!define EachPart "!insertmacro EachPart"
!macro SetAside PART
  Rename "$INSTDIR\${PART}" "$INSTDIR\old\${PART}"
!macroend
!macro PutNew PART
  Rename "$INSTDIR\new\${PART}" "$INSTDIR\${PART}"
!macroend
!macro Remove PART
  RMDir /r "$INSTDIR\${PART}" ; a folder
  Delete "$INSTDIR\${PART}"   ; a file
!macroend
!macro PutBack PART
  ${If} ${FileExists} "$INSTDIR\old\${PART}"
    !insertmacro Remove "${PART}"
    Rename "$INSTDIR\old\${PART}" "$INSTDIR\${PART}"
  ${EndIf}
!macroend

Function .onInit
  SetRegView 64
  Call ReadArguments
  ${IfNot} ${AtLeastWin10}
  ${OrIfNot} ${RunningX64}
    ${Refuse} ${EXIT_WINDOWS} "$(T_OLD_WINDOWS)"
  ${EndIf}
  System::Call 'kernel32::CreateMutexW(p 0, i 0, w "Global\coconowork-client-setup") p .r1 ?e'
  Pop $0
  ${If} $0 = 183 ; ERROR_ALREADY_EXISTS
    ${Refuse} ${EXIT_TWICE} "$(T_TWICE)"
  ${EndIf}
  StrCpy $ExitCode 0
  ReadRegStr $0 HKLM "${SETTINGS}" "Setup"
  ${If} $0 == "msi"
    ${Refuse} ${EXIT_OTHER} "$(T_MANAGED)"
  ${EndIf}
  ${If} $AllUsers = 1
    UserInfo::GetAccountType
    Pop $0
    ${If} $0 != "Admin"
      Call AskForRights
    ${EndIf}
    SetShellVarContext all
  ${Else}
    ReadRegStr $0 HKLM "${UNINSTALL_KEY}" "DisplayVersion"
    ${If} $0 != ""
      ${Refuse} ${EXIT_OTHER} "$(T_FOR_ALL)"
    ${EndIf}
    SetShellVarContext current
  ${EndIf}

  ReadRegStr $Before SHCTX "${UNINSTALL_KEY}" "DisplayVersion"
  ${If} $Before != ""
  ${AndIf} $Force <> 1
    ${VersionCompare} "$Before" "${VERSION}" $0
    ${If} $0 = 1
      ${Refuse} ${EXIT_NEWER} "$(T_NEWER)"
    ${EndIf}
  ${EndIf}

  ; An upgrade leaves the switch as the user put it.
  ${If} $Before != ""
    ReadRegStr $0 SHCTX "${RUN_KEY}" "${RUN_VALUE}"
    ${If} $0 == ""
      StrCpy $NoAutostart 1
    ${EndIf}
  ${EndIf}
  ${If} $Server == ""
    ReadRegStr $Server SHCTX "${SETTINGS}" "Server"
  ${EndIf}
  ${If} $INSTDIR == ""
    ReadRegStr $INSTDIR SHCTX "${SETTINGS}" "InstallDir"
  ${EndIf}
  ${If} $INSTDIR == ""
    ${If} $AllUsers = 1
      StrCpy $INSTDIR "$PROGRAMFILES64\${FOLDER}"
    ${Else}
      StrCpy $INSTDIR "$LOCALAPPDATA\Programs\${FOLDER}"
    ${EndIf}
  ${EndIf}
FunctionEnd

; Installing for all users needs an administrator: let Windows ask for one, or show a message.
Function AskForRights
  ${IfNot} ${Silent}
    ClearErrors
    ${GetParameters} $0
    ExecShell "runas" "$EXEPATH" "$0"
    ${IfNot} ${Errors}
      SetErrorLevel 0
      Quit
    ${EndIf}
  ${EndIf}
  ${Refuse} ${EXIT_RIGHTS} "$(T_RIGHTS)"
FunctionEnd

Function ServerPage
  ReadRegStr $0 HKLM "${POLICIES}" "Server"
  ${If} $0 != ""
    Abort ; the administrator has decided
  ${EndIf}
  !insertmacro MUI_HEADER_TEXT "$(T_SERVER_TITLE)" "$(T_SERVER_SUBTITLE)"
  nsDialogs::Create 1018
  Pop $0
  ${NSD_CreateLabel} 0 0 100% 24u "$(T_SERVER_HELP)"
  Pop $0
  ${NSD_CreateLabel} 0 34u 100% 10u "$(T_SERVER_LABEL)"
  Pop $0
  ${NSD_CreateText} 0 46u 100% 13u "$Server"
  Pop $ServerField
  ${NSD_CreateLabel} 0 62u 100% 10u "$(T_SERVER_EXAMPLE)"
  Pop $0
  ${NSD_CreateCheckbox} 0 90u 100% 11u "$(T_AUTOSTART)"
  Pop $AutostartField
  ${If} $NoAutostart <> 1
    ${NSD_Check} $AutostartField
  ${EndIf}
  ${NSD_SetFocus} $ServerField
  nsDialogs::Show
FunctionEnd

Function ServerPageLeave
  ${NSD_GetText} $ServerField $Address
  Call CheckAddress
  ${If} $Valid <> 1
    MessageBox MB_OK|MB_ICONEXCLAMATION "$(T_SERVER_BAD)"
    ${NSD_SetFocus} $ServerField
    SendMessage $ServerField ${EM_SETSEL} 0 -1
    Abort
  ${EndIf}
  StrCpy $Server $Address
  ${NSD_GetState} $AutostartField $0
  ${If} $0 = ${BST_CHECKED}
    StrCpy $NoAutostart 0
  ${Else}
    StrCpy $NoAutostart 1
  ${EndIf}
FunctionEnd

; Put the old program back, or leave nothing. NSIS calls this also when it cannot write a file.
Function .onInstFailed
  SetOutPath "$TEMP"
  ${EachPart} PutBack
  ${If} $Before == ""
    ${EachPart} Remove
    Delete "$INSTDIR\uninstall.exe"
  ${EndIf}
  RMDir /r "$INSTDIR\new"
  RMDir /r "$INSTDIR\old"
  RMDir "$INSTDIR" ; only when it is empty: it may be a folder of the user's
  ${If} $ExitCode = 0
    StrCpy $ExitCode ${EXIT_FILES}
  ${EndIf}
  SetErrorLevel $ExitCode
FunctionEnd

; End the installation with a message, unless it is silent. Its exit code is set by .onInstFailed.
!macro Fail CODE TEXT
  MessageBox MB_OK|MB_ICONSTOP "${TEXT}" /SD IDOK
  StrCpy $ExitCode ${CODE}
  Abort
!macroend
!define Fail "!insertmacro Fail"

Section
  ; The new files go beside the old ones: when the disk is full, the old program is still whole.
  RMDir /r "$INSTDIR\new"
  SetOutPath "$INSTDIR\new"
  ClearErrors
  !include "${ART}/files.nsh"
  SetOutPath "$INSTDIR"
  ${If} ${Errors}
    ${Fail} ${EXIT_FILES} "$(T_FILES)"
  ${EndIf}
  RMDir /r "$INSTDIR\old"
  CreateDirectory "$INSTDIR\old"
  ${If} $AllUsers = 1
    ; Each user's client notices the move and ends, and its guard starts the new client.
    !insertmacro SetAside "${GUARD}"
    Call WaitForEnd
    Pop $0
    Call EndClients
  ${Else}
    Call QuitClient
  ${EndIf}
  Pop $0
  ${If} $0 <> 1
    StrCpy $ExitCode ${EXIT_BUSY} ; QuitClient or EndClients has shown a message
    Abort
  ${EndIf}
  ${EachPart} SetAside
  ClearErrors ; there is no old program at the first installation
  ${EachPart} PutNew
  WriteUninstaller "$INSTDIR\uninstall.exe"
  ${If} ${Errors}
    ${Fail} ${EXIT_FILES} "$(T_FILES)"
  ${EndIf}
  RMDir "$INSTDIR\new"
  RMDir /r "$INSTDIR\old" ; all but a running guard
  ${If} $AllUsers = 1
    Call RemoveOwnCopy
  ${EndIf}

  CreateShortCut "$SMPROGRAMS\${NAME}.lnk" "$INSTDIR\${EXE}" "run"
  WriteRegStr SHCTX "${SETTINGS}" "InstallDir" "$INSTDIR"
  WriteRegStr SHCTX "${SETTINGS}" "Setup" "exe"
  ${If} $Server != ""
    WriteRegStr SHCTX "${SETTINGS}" "Server" "$Server"
  ${EndIf}
  Call WriteAutostart

  WriteRegStr SHCTX "${UNINSTALL_KEY}" "DisplayName" "${NAME}"
  WriteRegStr SHCTX "${UNINSTALL_KEY}" "DisplayVersion" "${VERSION}"
  WriteRegStr SHCTX "${UNINSTALL_KEY}" "Publisher" "Coconowork"
  WriteRegStr SHCTX "${UNINSTALL_KEY}" "DisplayIcon" "$INSTDIR\${EXE}"
  WriteRegStr SHCTX "${UNINSTALL_KEY}" "InstallLocation" "$INSTDIR"
  WriteRegStr SHCTX "${UNINSTALL_KEY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr SHCTX "${UNINSTALL_KEY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD SHCTX "${UNINSTALL_KEY}" "NoModify" 1
  WriteRegDWORD SHCTX "${UNINSTALL_KEY}" "NoRepair" 1
  ${GetSize} "$INSTDIR" "/S=0K" $0 $1 $2
  WriteRegDWORD SHCTX "${UNINSTALL_KEY}" "EstimatedSize" $0

  ; With a window, the last page starts the client if the user ticks the box.
  ${If} ${Silent}
    ${If} $WasRunning = 1
    ${OrIf} $Start = 1
      Call StartClient
    ${EndIf}
  ${EndIf}

  ; Guards that run from the folder `old` end as soon as they have started the new clients.
  ${For} $0 1 20
    RMDir /r "$INSTDIR\old"
    ${IfNot} ${FileExists} "$INSTDIR\old\*.*"
      ${Break}
    ${EndIf}
    Sleep 500
  ${Next}
SectionEnd

; Act on $Word, or refuse it.
Function un.ReadArgument
  ${If} $Word == "/S"
    SetSilent silent ; NSIS itself does not know /s
  ${ElseIf} $Word == "/FORGET"
    StrCpy $Forget 1
  ${ElseIf} $Word == "/LANG=ja"
    StrCpy $LANGUAGE ${LANG_JAPANESE}
  ${ElseIf} $Word == "/LANG=en"
    StrCpy $LANGUAGE ${LANG_ENGLISH}
  ${ElseIf} $Word S!= "/NCRC"
    ${Refuse} ${EXIT_ARGUMENT} "$(T_ARGUMENT)"
  ${EndIf}
FunctionEnd
!insertmacro ReadArguments "un." "_?="

Function un.onInit
  SetRegView 64
  Call un.ReadArguments
  ReadRegStr $0 HKLM "${UNINSTALL_KEY}" "InstallLocation"
  ${If} $0 == $INSTDIR
    StrCpy $AllUsers 1
    SetShellVarContext all
    UserInfo::GetAccountType
    Pop $0
    ${If} $0 != "Admin"
      ${Refuse} ${EXIT_RIGHTS} "$(T_RIGHTS)"
    ${EndIf}
  ${Else}
    SetShellVarContext current
  ${EndIf}
FunctionEnd

Section Uninstall
  ${If} $AllUsers = 1
    nsExec::Exec /TIMEOUT=20000 '"$SYSDIR\taskkill.exe" /F /IM "${GUARD}"'
    Pop $0
    Call un.EndClients
  ${Else}
    Call un.QuitClient
  ${EndIf}
  Pop $0
  ${If} $0 <> 1
    SetErrorLevel ${EXIT_BUSY}
    Abort
  ${EndIf}
  Call un.AskForget
  ${If} $Forget = 1
    nsExec::Exec /TIMEOUT=30000 '"$INSTDIR\${EXE}" logout'
    Pop $0
    SetShellVarContext current
    RMDir /r "$LOCALAPPDATA\${USER_FOLDER}"
    ${If} $AllUsers = 1
      SetShellVarContext all
    ${EndIf}
  ${EndIf}

  SetOutPath "$TEMP"
  Delete "$SMPROGRAMS\${NAME}.lnk"
  ${EachPart} Remove
  RMDir /r "$INSTDIR\new"
  RMDir /r "$INSTDIR\old"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR" ; only when it is empty: it may be a folder of the user's
  DeleteRegKey SHCTX "${UNINSTALL_KEY}"
  DeleteRegKey SHCTX "${SETTINGS}"
  DeleteRegKey /ifempty SHCTX "Software\Coconowork"
  DeleteRegValue SHCTX "${RUN_KEY}" "${RUN_VALUE}"
  DeleteRegValue HKCU "${RUN_KEY}" "${RUN_VALUE}"
  DeleteRegValue SHCTX "${APPROVED_KEY}" "${RUN_VALUE}"
  DeleteRegValue HKCU "${APPROVED_KEY}" "${RUN_VALUE}"
SectionEnd
