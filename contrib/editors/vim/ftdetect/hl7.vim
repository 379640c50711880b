" HL7 v2 messages.
autocmd BufRead,BufNewFile *.hl7 setfiletype hl7
