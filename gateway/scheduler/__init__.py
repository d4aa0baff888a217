"""gateway/scheduler"""
