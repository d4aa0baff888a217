"""gateway/runtime"""
