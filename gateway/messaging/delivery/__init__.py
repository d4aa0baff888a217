"""Answers and messages become files: staging, promising, publishing."""
