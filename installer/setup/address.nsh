; Check a server address and bring it into one form. The client's check (agent/address.py) has the
; last word and knows more; it accepts whatever is accepted here.
;
; Set $Address, call CheckAddress, and read $Address (full-width characters folded) and $Valid.
; Windows does the two hard parts: NormalizeString folds, IdnToAscii knows what a host name is.

!define NORMALIZATION_KC 5
!define IDN_ALLOW_UNASSIGNED 1     ; letters that are newer than this Windows
!define IDN_USE_STD3_ASCII_RULES 2 ; letters, digits and hyphens, labels of 1 to 63 characters
!define AF_INET6 23
!define PATH_MARKS "/._~!$$&'()*+,;=:@%-"

Var Address ; in: what was typed; out: the same, folded
Var Valid   ; out: 1 when the address is empty or can be used
Var Host
Var Port    ; with its colon
Var Path
Var Mark    ; where to split
Var Before_ ; in: a text; out: the part before the first $Mark
Var After_  ; out: the rest, from the first $Mark on
Var Position
Var Number

; Split $Before_ at the first $Mark.
Function Split
  StrCpy $Position 0
  ${Do}
    StrCpy $After_ $Before_ "" $Position
    StrCpy $Number $After_ 1
    ${If} $Number == ""
    ${OrIf} $Number == $Mark
      ${Break}
    ${EndIf}
    IntOp $Position $Position + 1
  ${Loop}
  StrCpy $Before_ $Before_ $Position
FunctionEnd
!macro Split TEXT MARK FRONT REST
  StrCpy $Before_ `${TEXT}`
  StrCpy $Mark `${MARK}`
  Call Split
  StrCpy ${FRONT} $Before_
  StrCpy ${REST} $After_
!macroend
!define Split "!insertmacro Split"

; Bring $Host into ASCII; $Number is its length with the final zero, 0 when it is no host name.
!macro ToAscii FLAGS
  Push $Host
  System::Call "normaliz::IdnToAscii(i ${FLAGS}, w s, i -1, w .s, i ${NSIS_MAX_STRLEN}) i .s"
  Pop $Number
  Pop $Host
!macroend
!define ToAscii "!insertmacro ToAscii"

; Set $Valid to 1 when $Host can be the name or the address of a server.
Function CheckHost
  StrCpy $Valid 0
  StrCpy $Number $Host 1
  ${If} $Number == "["
    StrCpy $Host $Host "" 1
    System::Alloc 16
    Pop $Position
    Push $Position
    Push $Host
    System::Call "ws2_32::InetPtonW(i ${AF_INET6}, w s, p s) i .s"
    Pop $Valid
    System::Free $Position
    Return
  ${EndIf}
  ${If} $Host == ""
    Return
  ${EndIf}
  ; Networks have names with underscores, which the standard does not allow.
  ${WordReplace} "$Host" "_" "x" "+" $Host
  ; In two steps, because Wine does not check letters of other scripts by the standard's rules.
  ${ToAscii} ${IDN_ALLOW_UNASSIGNED}
  ${ToAscii} ${IDN_USE_STD3_ASCII_RULES}
  ${If} $Number > 1
  ${AndIf} $Number <= 254
    StrCpy $Valid 1
  ${EndIf}
FunctionEnd

; Set $Valid to 1 when $Port is empty, or a colon and a number from 1 to 65535.
Function CheckPort
  StrCpy $Valid 0
  ${If} $Port == ""
    StrCpy $Valid 1
    Return
  ${EndIf}
  StrCpy $Number $Port 1
  StrCpy $Port $Port "" 1
  StrLen $Position $Port
  ${If} $Number != ":"
  ${OrIf} $Position = 0
  ${OrIf} $Position > 5
    Return
  ${EndIf}
  ${StrFilter} "$Port" "1" "" "" $Number ; digits only
  ${If} $Number S== $Port
  ${AndIf} $Port >= 1
  ${AndIf} $Port <= 65535
    StrCpy $Valid 1
  ${EndIf}
FunctionEnd

Function CheckAddress
  StrCpy $Valid 0
  Push $Address
  System::Call "normaliz::NormalizeString(i ${NORMALIZATION_KC}, w s, i -1, w .s, i ${NSIS_MAX_STRLEN}) i .s"
  Pop $Number
  Pop $Host
  ${If} $Number <= 0
    Return
  ${EndIf}
  StrCpy $Address $Host
  ${If} $Address == ""
    StrCpy $Valid 1
    Return
  ${EndIf}
  StrCpy $Number $Host 8
  ${If} $Number == "https://"
    StrCpy $Host $Host "" 8
  ${Else}
    StrCpy $Number $Host 6
    ${If} $Number == "wss://"
      StrCpy $Host $Host "" 6
    ${EndIf}
  ${EndIf}
  ${Split} $Host "/" $Host $Path
  ${StrFilter} "$Path" "12" "${PATH_MARKS}" "" $Number ; digits, letters and these marks only
  ${If} $Number S!= $Path
    Return
  ${EndIf}
  StrCpy $Number $Host 1
  ${If} $Number == "["
    ${Split} $Host "]" $Host $Port
    ${If} $Port == ""
      Return
    ${EndIf}
    StrCpy $Port $Port "" 1
  ${Else}
    ${Split} $Host ":" $Host $Port
  ${EndIf}
  Call CheckHost
  ${If} $Valid = 1
    Call CheckPort
  ${EndIf}
FunctionEnd
