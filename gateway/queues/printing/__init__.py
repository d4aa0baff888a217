"""Prints posted documents: a page a company would send, as a PDF, in a process of its own, to where it is wanted."""
