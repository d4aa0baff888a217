"""gateway/contracts"""
