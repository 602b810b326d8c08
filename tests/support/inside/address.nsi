; Check each line of addresses.txt with the setup program's code; write one digit for each.
Unicode true
Target amd64-unicode
RequestExecutionLevel user
SilentInstall silent
OutFile "${OUT}"
!include LogicLib.nsh
!include WordFunc.nsh
!addincludedir "${HERE}"
!include address.nsh

Section
  FileOpen $R8 "$EXEDIR\addresses.txt" r
  FileOpen $R9 "$EXEDIR\verdicts.txt" w
  ${Do}
    ClearErrors
    FileReadUTF16LE $R8 $R7
    ${If} ${Errors}
      ${Break}
    ${EndIf}
    StrCpy $Address $R7 -1 ; without the line break
    Call CheckAddress
    FileWriteUTF16LE $R9 "$Valid $Address$\n"
  ${Loop}
  FileClose $R8
  FileClose $R9
SectionEnd
