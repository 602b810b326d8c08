; Checks a server address. The client's own check (agent/address.py) decides and knows more;
; an address that passes here passes there too.

!define LETTERS "abcdefghijklmnopqrstuvwxyz"
!define DIGITS "0123456789"
!define PATH_MARKS "/._~!$$&'()*+,;=:@%-"

; In: text, set of characters. Out: 1 when all of the text is in the set, in either case.
; With "+" in front of the set, letters and digits of all the world's scripts are in it too.
Function OnlyOf
  Exch $R1 ; set
  Exch
  Exch $R0 ; text
  Push $R2
  Push $R3
  Push $R4
  Push $R5
  StrCpy $R5 $R1 1
  ${If} $R5 == "+"
    StrCpy $R1 $R1 "" 1
  ${EndIf}
  ${Do}
    StrCpy $R2 $R0 1
    ${If} $R2 == ""
      ${Break}
    ${EndIf}
    StrCpy $R0 $R0 "" 1
    StrCpy $R3 0
    ${Do}
      StrCpy $R4 $R1 1 $R3
      ${If} $R4 == $R2
      ${OrIf} $R4 == ""
        ${Break}
      ${EndIf}
      IntOp $R3 $R3 + 1
    ${Loop}
    ${If} $R4 == ""
      ${If} $R5 != "+"
        ${Break}
      ${EndIf}
      System::Call "*(&w1 R2) p .R3"
      System::Call "*$R3(&i2 .R4)"
      System::Free $R3
      IntOp $R4 $R4 & 0xFFFF
      ${If} $R4 < 128
        ${Break}
      ${EndIf}
      System::Call "user32::IsCharAlphaNumericW(i R4) i .R4"
      ${If} $R4 = 0
        ${Break}
      ${EndIf}
    ${EndIf}
  ${Loop}
  StrCpy $R0 0
  ${If} $R2 == ""
    StrCpy $R0 1
  ${EndIf}
  Pop $R5
  Pop $R4
  Pop $R3
  Pop $R2
  Exch
  Pop $R1
  Exch $R0
FunctionEnd
!macro OnlyOf TEXT SET RESULT
  Push `${TEXT}`
  Push `${SET}`
  Call OnlyOf
  Pop ${RESULT}
!macroend
!define OnlyOf "!insertmacro OnlyOf"

; In: text, one character. Out: the text before the first such character, and the rest from it on.
Function SplitAt
  Exch $R1 ; character
  Exch
  Exch $R0 ; text
  Push $R2
  Push $R3
  StrCpy $R2 0
  ${Do}
    StrCpy $R3 $R0 1 $R2
    ${If} $R3 == $R1
    ${OrIf} $R3 == ""
      ${Break}
    ${EndIf}
    IntOp $R2 $R2 + 1
  ${Loop}
  StrCpy $R1 $R0 "" $R2
  StrCpy $R0 $R0 $R2
  Pop $R3
  Pop $R2
  Exch $R0
  Exch
  Exch $R1
FunctionEnd
!macro SplitAt TEXT CHARACTER FRONT REST
  Push `${TEXT}`
  Push `${CHARACTER}`
  Call SplitAt
  Pop ${REST}
  Pop ${FRONT}
!macroend
!define SplitAt "!insertmacro SplitAt"

; In: the address. Out: 1 when it is empty or can be used.
Function CheckAddress
  Exch $0
  Push $1 ; host
  Push $2 ; port with its colon
  Push $3 ; path
  Push $4
  Push $5
  StrCpy $5 0
  ${If} $0 == ""
    StrCpy $5 1
    Goto done
  ${EndIf}
  StrCpy $4 $0 6
  ${If} $4 == "wss://"
    StrCpy $0 $0 "" 6
  ${Else}
    StrCpy $4 $0 8
    ${If} $4 == "https://"
      StrCpy $0 $0 "" 8
    ${EndIf}
  ${EndIf}
  ${SplitAt} $0 "/" $1 $3
  ${OnlyOf} $3 "${LETTERS}${DIGITS}${PATH_MARKS}" $4
  StrCmp $4 1 0 done
  StrCpy $4 $1 1
  ${If} $4 == "["
    ${SplitAt} $1 "]" $1 $2
    StrCmp $2 "" done
    StrCpy $2 $2 "" 1
    StrCpy $1 $1 "" 1
    System::Alloc 16
    Pop $5
    System::Call "ws2_32::InetPtonW(i 23, w r1, p r5) i .r4"
    System::Free $5
    StrCpy $5 0
    StrCmp $4 1 0 done
  ${Else}
    ${SplitAt} $1 ":" $1 $2
    Call CheckHost
    StrCmp $4 1 0 done
  ${EndIf}
  ${If} $2 != ""
    StrCpy $4 $2 1
    StrCmp $4 ":" 0 done
    StrCpy $2 $2 "" 1
    StrLen $4 $2
    ${If} $4 = 0
    ${OrIf} $4 > 5
      Goto done
    ${EndIf}
    ${OnlyOf} $2 "${DIGITS}" $4
    StrCmp $4 1 0 done
    ${If} $2 < 1
    ${OrIf} $2 > 65535
      Goto done
    ${EndIf}
  ${EndIf}
  StrCpy $5 1
done:
  StrCpy $0 $5
  Pop $5
  Pop $4
  Pop $3
  Pop $2
  Pop $1
  Exch $0
FunctionEnd

; In $1: the host. Out in $4: 1 when each of its labels is good.
Function CheckHost
  Push $1
  Push $6 ; label
  Push $7
  StrCpy $4 0
  StrLen $7 $1
  ${If} $7 = 0
  ${OrIf} $7 > 253
    Goto done
  ${EndIf}
  ${Do}
    ${SplitAt} $1 "." $6 $1
    StrLen $7 $6
    ${If} $7 = 0
    ${OrIf} $7 > 63
      Goto done
    ${EndIf}
    StrCpy $7 $6 1
    StrCmp $7 "-" done
    StrCpy $7 $6 "" -1
    StrCmp $7 "-" done
    ${OnlyOf} $6 "+${LETTERS}${DIGITS}-_" $7
    StrCmp $7 1 0 done
    ${If} $1 == ""
      ${Break}
    ${EndIf}
    StrCpy $1 $1 "" 1
  ${Loop}
  StrCpy $4 1
done:
  Pop $7
  Pop $6
  Pop $1
FunctionEnd
