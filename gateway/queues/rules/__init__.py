"""The rules of job queue entries: statuses and their changes, when an entry starts. Pure: time comes in as an argument.

Source: batch reference, section 19.
"""
