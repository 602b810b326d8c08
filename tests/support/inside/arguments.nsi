; Read the command line as the setup program does, and write the options to a file.
Unicode true
Target amd64-unicode
RequestExecutionLevel user
OutFile "${OUT}"
InstallDir ""
!define EXIT_ARGUMENT 87
!include LogicLib.nsh
!include WordFunc.nsh
LoadLanguageFile "${NSISDIR}\Contrib\Language files\English.nlf"
LoadLanguageFile "${NSISDIR}\Contrib\Language files\Japanese.nlf"
LangString T_ARGUMENT ${LANG_ENGLISH} "$Word"
LangString T_ARGUMENT ${LANG_JAPANESE} "$Word"
!addincludedir "${HERE}"
Var AllUsers
Var Server
Var NoAutostart
Var Force
Var Start
!include "refuse.nsh"
!include "address.nsh"
!include "arguments.nsh"

Function .onInit
  Call ReadArguments
  ${If} ${Silent}
    StrCpy $0 1
  ${EndIf}
  FileOpen $R9 "$EXEDIR\arguments.txt" w
  FileWriteUTF16LE $R9 "server=$Server all=$AllUsers noautostart=$NoAutostart force=$Force start=$Start language=$LANGUAGE silent=$0 folder=$INSTDIR"
  FileClose $R9
  SetErrorLevel 0
  Quit
FunctionEnd

Section
SectionEnd
