"""The plug-in points: what an adapter, a service operation and a task must be."""
