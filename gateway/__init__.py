"""A file integration gateway: partners drop XML files into folders, every request gets one response file."""
