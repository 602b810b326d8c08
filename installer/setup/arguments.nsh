; Read the command line of the setup program, and of the uninstaller. Windows splits it into words,
; as for every program.
;
; NSIS itself reads /S, and at the end of the line, without quotation marks, /D=FOLDER or (in the
; uninstaller) _?=FOLDER. It ignores other spellings, so they are refused here.

Var Words     ; the array of CommandLineToArgvW
Var WordCount
Var WordIndex
Var Word

; Call ${un}ReadArgument for each word, up to the option LAST with a folder.
!macro ReadArguments un LAST
Function ${un}ReadArguments
  System::Call "kernel32::GetCommandLineW() p .s"
  System::Call "shell32::CommandLineToArgvW(p s, *i .s) p .s"
  Pop $Words
  Pop $WordCount
  StrCpy $WordIndex 1
  ${While} $WordIndex < $WordCount
    IntOp $Number $WordIndex * ${NSIS_PTR_SIZE}
    IntPtrOp $Number $Words + $Number
    System::Call "*$Number(w .s)"
    Pop $Word
    StrCpy $Number $Word 3
    ${If} $Number S== "${LAST}"
    ${AndIf} $INSTDIR != ""
      ${ExitWhile} ; the folder, which may hold blanks, goes to the end of the line
    ${EndIf}
    Call ${un}ReadArgument
    IntOp $WordIndex $WordIndex + 1
  ${EndWhile}
  System::Call "kernel32::LocalFree(p $Words)"
FunctionEnd
!macroend
!insertmacro ReadArguments "" "/D="

; Act on $Word, or refuse it.
Function ReadArgument
  StrCpy $Number $Word 8
  ${If} $Number == "/SERVER="
    StrCpy $Address $Word "" 8
    Call CheckAddress
    StrCpy $Server $Address
    ${If} $Valid = 1
      Return
    ${EndIf}
  ${ElseIf} $Word == "/ALLUSERS"
    StrCpy $AllUsers 1
    Return
  ${ElseIf} $Word == "/NOAUTOSTART"
    StrCpy $NoAutostart 1
    Return
  ${ElseIf} $Word == "/FORCE"
    StrCpy $Force 1
    Return
  ${ElseIf} $Word == "/START"
    StrCpy $Start 1
    Return
  ${ElseIf} $Word == "/LANG=ja"
    StrCpy $LANGUAGE ${LANG_JAPANESE}
    Return
  ${ElseIf} $Word == "/LANG=en"
    StrCpy $LANGUAGE ${LANG_ENGLISH}
    Return
  ${ElseIf} $Word S== "/S"
  ${OrIf} $Word S== "/NCRC"
    Return
  ${ElseIf} $Word == "/S"
    SetSilent silent ; /s: the caller has no window to read a message in
  ${EndIf}
  ${Refuse} ${EXIT_ARGUMENT} "$(T_ARGUMENT)"
FunctionEnd
