"""Posting of documents: `form` is their XML, `posting` the one transaction that posts one."""
