"""adapters/file"""
