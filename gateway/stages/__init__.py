"""gateway/stages"""
