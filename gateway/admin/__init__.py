"""What people may ask of a gateway, whichever front end they use."""
