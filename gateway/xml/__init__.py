"""Everything that knows XML: files are read and checked, faults told in a partner's words, answers written.

A partner's file is read in processes that can do nothing else (`pool`, `reader`): hardened, in bounded memory and
time, envelope by envelope. Each document is judged by the schemas of the site, whatever shape they come in. Promised:
a file counts only when it was read to its end; one bad message fails alone; a partner is told what is wrong, where in
his own file, and what to do, never in a validator's words; nothing is ever fetched.

Read first: `reading` (the way through one file), then `verdict` and `explain` for documents, `catalog` for schemas,
`answer` for what is written, `pool` for who reads. Limits and costs stand in `limits`.
"""
