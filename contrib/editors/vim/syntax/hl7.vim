" HL7 v2 messages, with the usual delimiters.
if exists('b:current_syntax')
  finish
endif
syntax case match
syntax match hl7Segment /^[A-Z][A-Z0-9]\{2}\ze\(|\|$\)/
syntax match hl7Local /^Z[A-Z0-9]\{2}\ze\(|\|$\)/
syntax match hl7Header /^\(MSH\|FHS\|BHS\)\ze|/ nextgroup=hl7Delimiters
syntax match hl7Delimiters /|[^|]*/ contained
syntax match hl7Field /|/
syntax match hl7Repetition /\~/
syntax match hl7Component /\^/
syntax match hl7Subcomponent /&/
syntax match hl7Number /\([|^~&]\)\@1<=-\=\d\+\(\.\d\+\)\=\ze\([|^~&]\|$\)/
syntax match hl7Time /\([|^~&]\)\@1<=\d\{8}\(\d\{2,6}\)\=\(\.\d\{1,4}\)\=\([+-]\d\{4}\)\=\ze\([|^~&]\|$\)/
syntax match hl7Null /\([|^~&]\)\@1<=""\ze\([|^~&]\|$\)/
syntax match hl7Escape /\\[^\\|]*\\/
highlight default link hl7Header Keyword
highlight default link hl7Segment Statement
highlight default link hl7Local Type
highlight default link hl7Delimiters Constant
highlight default link hl7Field Delimiter
highlight default link hl7Repetition Operator
highlight default link hl7Component Comment
highlight default link hl7Subcomponent Comment
highlight default link hl7Time Number
highlight default link hl7Number Number
highlight default link hl7Null Special
highlight default link hl7Escape SpecialChar
let b:current_syntax = 'hl7'
