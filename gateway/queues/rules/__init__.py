"""The rules of job queue entries: statuses and their changes, when an entry starts. And those of posting: the kinds of
documents, what keeps one from being posted, amounts. Pure: time comes in as an argument.

Source: batch reference, section 19; posting reference, sections 1 to 3.
"""
