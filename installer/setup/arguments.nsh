; The command line. NSIS' own GetOptions takes every slash, so those of an address too, for the
; beginning of an option.

Function ReadArguments
  ${GetParameters} $R0
  StrCpy $R1 "" ; the word so far
  StrCpy $R2 0  ; 1: within quotation marks
  ${Do}
    StrCpy $R3 $R0 1
    StrCpy $R0 $R0 "" 1
    ${If} $R3 == '"'
      IntOp $R2 $R2 ^ 1
    ${ElseIf} $R3 == " "
    ${AndIf} $R2 = 0
    ${OrIf} $R3 == ""
      StrCpy $R4 $R1 3
      ${If} $R4 == "/D="
        ${Break} ; the folder, to the end of the line: NSIS has read it
      ${EndIf}
      ${If} $R1 != ""
        Call ReadArgument
      ${EndIf}
      StrCpy $R1 ""
    ${Else}
      StrCpy $R1 "$R1$R3"
    ${EndIf}
  ${LoopUntil} $R3 == ""
FunctionEnd

; One word, in $R1.
Function ReadArgument
  StrCpy $1 $R1
  StrCpy $2 $R1 8
  ${If} $2 == "/SERVER="
    StrCpy $Server $R1 "" 8
    Push $Server
    Call CheckAddress
    Pop $2
    ${If} $2 = 1
      Return
    ${EndIf}
  ${ElseIf} $R1 == "/ALLUSERS"
    StrCpy $AllUsers 1
    Return
  ${ElseIf} $R1 == "/NOAUTOSTART"
    StrCpy $NoAutostart 1
    Return
  ${ElseIf} $R1 == "/FORCE"
    StrCpy $Force 1
    Return
  ${ElseIf} $R1 == "/START"
    StrCpy $Start 1
    Return
  ${ElseIf} $R1 == "/LANG=ja"
    StrCpy $LANGUAGE ${LANG_JAPANESE}
    Return
  ${ElseIf} $R1 == "/LANG=en"
    StrCpy $LANGUAGE ${LANG_ENGLISH}
    Return
  ${ElseIf} $R1 == "/S"
  ${OrIf} $R1 == "/NCRC"
    Return
  ${EndIf}
  MessageBox MB_OK|MB_ICONSTOP "$(T_ARGUMENT)" /SD IDOK
  SetErrorLevel ${EXIT_ARGUMENT}
  Quit
FunctionEnd
