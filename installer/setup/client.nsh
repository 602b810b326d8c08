; End the client, start it, and set whether it starts with Windows.

; Set $0 to 1 when a program runs: its file cannot be opened for writing then.
!macro AskIfRunning FILE
  ${If} ${FileExists} "$INSTDIR\${FILE}"
    ClearErrors
    FileOpen $1 "$INSTDIR\${FILE}" a
    ${If} ${Errors}
      StrCpy $0 1
    ${Else}
      FileClose $1
    ${EndIf}
    ClearErrors
  ${EndIf}
!macroend

!macro QuitClient un OPTION
; Out: 1 when this user's client has ended, and the guard with it.
Function ${un}QuitClient
  Push $0
  Push $1
  StrCpy $0 1
  Call ${un}IsRunning
  Pop $1
  ${If} $1 = 1
    StrCpy $WasRunning 1
    ${For} $0 1 10
      nsExec::Exec /TIMEOUT=20000 '"$INSTDIR\${EXE}" quit ${OPTION}'
      Pop $1
      ${If} $1 != 3 ; a client that has just started does not listen yet
        ${Break}
      ${EndIf}
      Sleep 500
      Call ${un}IsRunning
      Pop $1
      ${If} $1 = 0
        ${Break}
      ${EndIf}
    ${Next}
    ${If} $1 == 2 ; an older client, which does not know the option
      nsExec::Exec /TIMEOUT=20000 '"$INSTDIR\${EXE}" quit'
      Pop $1
    ${EndIf}
    again:
    Call ${un}WaitForEnd
    Pop $0
    ${If} $0 <> 1
      MessageBox MB_RETRYCANCEL|MB_ICONEXCLAMATION "$(T_BUSY)" /SD IDCANCEL IDRETRY again
    ${EndIf}
  ${EndIf}
  Pop $1
  Exch $0
FunctionEnd

; Out: 1 when no client runs. Only its own user may ask a client to quit; killing it loses nothing.
Function ${un}EndClients
  Push $0
  again:
  nsExec::Exec /TIMEOUT=20000 '"$SYSDIR\taskkill.exe" /F /IM "${EXE}"'
  Pop $0
  Call ${un}WaitForEnd
  Pop $0
  ${If} $0 <> 1
    MessageBox MB_RETRYCANCEL|MB_ICONEXCLAMATION "$(T_BUSY)" /SD IDCANCEL IDRETRY again
  ${EndIf}
  Exch $0
FunctionEnd

; Out: 1 when all has ended within 15 seconds.
Function ${un}WaitForEnd
  Push $0
  Push $1
  ${For} $1 1 60
    Call ${un}IsRunning
    Pop $0
    ${If} $0 = 0
      ${Break}
    ${EndIf}
    Sleep 250
  ${Next}
  IntOp $0 $0 ^ 1
  Pop $1
  Exch $0
FunctionEnd

; Out: 1 when any user runs the client, or a guard from its place.
Function ${un}IsRunning
  Push $0
  Push $1
  StrCpy $0 0
  !insertmacro AskIfRunning "${EXE}"
  !insertmacro AskIfRunning "${GUARD}"
  Pop $1
  Exch $0
FunctionEnd
!macroend
!insertmacro QuitClient "" "--update"
!insertmacro QuitClient "un." ""

; Start the client as the signed-in user, not as the administrator who installs.
Function StartClient
  ${If} $AllUsers = 1
  ${AndIfNot} ${Silent}
    Exec '"$WINDIR\explorer.exe" "$SMPROGRAMS\${NAME}.lnk"'
  ${ElseIf} $AllUsers <> 1
  ${OrIf} $Start = 1
    Exec '"$INSTDIR\${EXE}" run'
  ${EndIf}
FunctionEnd

Function WriteAutostart
  ${If} $NoAutostart = 1
    DeleteRegValue SHCTX "${RUN_KEY}" "${RUN_VALUE}"
  ${Else}
    WriteRegStr SHCTX "${RUN_KEY}" "${RUN_VALUE}" '"$INSTDIR\${EXE}" run --autostart'
  ${EndIf}
FunctionEnd

; Remove this user's own copy: the program for all users replaces it.
Function RemoveOwnCopy
  ReadRegStr $0 HKCU "${UNINSTALL_KEY}" "InstallLocation"
  ${If} $0 != ""
    ${If} $Server == ""
      ReadRegStr $Server HKCU "${SETTINGS}" "Server"
    ${EndIf}
    ExecWait '"$0\uninstall.exe" /S _?=$0'
    Delete "$0\uninstall.exe"
    RMDir "$0"
  ${EndIf}
FunctionEnd

; Ask whether the stored password and the settings are to go, too; answer in $Forget.
Function un.AskForget
  ${If} $Forget <> 1
    MessageBox MB_YESNO|MB_ICONQUESTION|MB_DEFBUTTON2 "$(T_FORGET)" /SD IDNO IDNO keep
    StrCpy $Forget 1
    keep:
  ${EndIf}
FunctionEnd
