"""gateway/xml"""
